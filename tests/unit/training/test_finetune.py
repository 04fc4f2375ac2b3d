"""A fine-tuning's settings that follow from its data: the length of its schedule, the weights of its classes."""

from pathlib import Path

import numpy as np
import pytest

from cross_thought.config import load_config
from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from workflow_scripts.finetune import class_weights, training_flags, with_schedule

SETTINGS = {"num_epochs": 3, "batch_size": 10, "max_tokens": 1000, "num_updates": None, "warmup_updates": None}


@pytest.mark.parametrize(
    ("changes", "updates", "warmup"),
    [
        ({}, 3 * 20, 4),
        ({"max_tokens": 50}, 3 * 40, 8),
        ({"num_updates": 100}, 100, 6),
        ({"num_updates": 100, "warmup_updates": 0}, 100, 0),
        ({"warmup_updates": 59}, 60, 59),
        ({"warmup_fraction": 0.1}, 60, 6),
        ({"warmup_fraction": 0.1, "num_updates": 101}, 101, 11),
    ],
)
def test_what_is_not_said_follows_from_the_data(changes: dict, updates: int, warmup: int) -> None:
    found = with_schedule(SETTINGS | changes, np.full(200, 10), task=TASKS["RTE"])
    assert (found["num_updates"], found["warmup_updates"]) == (updates, warmup)


def test_a_warm_up_as_long_as_the_epochs_is_refused() -> None:
    with pytest.raises(UserError, match=r"warmup_updates 60 of tasks\.RTE must be less than the 60 updates that its 3"):
        with_schedule(SETTINGS | {"warmup_updates": 60}, np.full(200, 10), task=TASKS["RTE"])


def test_balanced_weights_are_inverse_to_the_counts(tmp_path: Path) -> None:
    dictionary = tmp_path / "dict.txt"
    dictionary.write_text("yes 30\nno, never 10\n")
    assert class_weights(None, tmp_path / "gone") is None
    assert class_weights("balanced", dictionary) == [40 / 60, 40 / 20]  # scikit-learn's rule
    assert class_weights({"no, never": 3, "yes": 0.5}, dictionary) == [0.5, 3.0]
    dictionary.write_text("yes 30\nno 0\n")
    with pytest.raises(UserError, match="cannot be balanced: no training example is 'no'; give weights"):
        class_weights("balanced", dictionary)


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        ({}, {"--criterion": "sentence_prediction"}),
        ({"class_weights": None, "label_smoothing": 0.0}, {"--criterion": "sentence_prediction"}),
        ({"label_smoothing": 0.1}, {"--criterion": "sentence_classification", "--label-smoothing": "0.1"}),
        ({"class_weights": [0.5, 3.0]}, {"--criterion": "sentence_classification", "--class-weights": "0.5,3.0"}),
    ],
)
def test_only_who_asks_for_it_gets_another_loss(settings: dict, flags: dict) -> None:
    config = load_config({})
    given = config["finetuning"] | {"learning_rate": 1e-5, "batch_size": 8, "num_updates": 9, "warmup_updates": 1}
    model, hardware = config["models"]["mlm"], config["hardware"]
    found = training_flags(TASKS["RTE"], model=model, settings=given | settings, seed=1, hardware=hardware)
    assert {name: found[found.index(name) + 1] for name in flags} == flags
    assert {"--class-weights", "--label-smoothing"} & set(found) == set(flags) - {"--criterion"}


def test_patience_and_validation_within_epochs_are_fairseqs_flags() -> None:
    config = load_config({})
    given = config["finetuning"] | {"learning_rate": 1e-5, "batch_size": 8, "num_updates": 90, "warmup_updates": 1}

    def flags(**settings: object) -> list[str]:
        model, hardware = config["models"]["mlm"], config["hardware"]
        return training_flags(TASKS["RTE"], model=model, settings=given | settings, seed=1, hardware=hardware)

    assert flags(patience=None, validate_interval_updates=None) == flags()  # so that runs of before are the same
    assert not {"--patience", "--save-interval-updates", "--keep-interval-updates"} & set(flags())
    found = flags(patience=3, validate_interval_updates=20)
    values = {name: found[found.index(name) + 1] for name in ("--patience", "--save-interval-updates")}
    assert values == {"--patience": "3", "--save-interval-updates": "20"}
    assert found[found.index("--total-num-update") + 1] == "90"


def test_a_schedule_and_batches_that_are_not_as_said_are_told(capsys: pytest.CaptureFixture) -> None:
    with_schedule(SETTINGS | {"num_updates": 20, "max_tokens": 55}, np.full(200, 10), task=TASKS["RTE"])
    assert capsys.readouterr().out == (
        "batches of 5.0 rows on average, for max_tokens 55 lets through no more\n"
        "the learning rate falls over num_updates 20, but the epochs make about 120\n"
    )
    with_schedule(SETTINGS | {"num_updates": 61}, np.full(200, 10), task=TASKS["RTE"])
    assert capsys.readouterr().out == ""
