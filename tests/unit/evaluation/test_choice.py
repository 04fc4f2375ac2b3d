"""Which setting of a sweep is taken: the best median on the development set; the first of equals."""

from pathlib import Path

import pytest

from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.evaluation.choice import choice_document, chosen_setting, setting_and_seed, value_of_run
from cross_thought.evaluation.predictions import SplitPredictions

SETTINGS = {f"learning_rate-{rate}": {"learning_rate": rate} for rate in (0.1, 0.2, 0.3)}
LABELS = ["entailment"] * 10


def answers(*right: int) -> dict[int, dict[str, SplitPredictions]]:
    """Return by seed, from 1, what is answered: so many of ten development examples right, every test example wrong."""
    wrong = "not_entailment"
    return {
        seed: {
            split: SplitPredictions(list("0123456789"), LABELS, LABELS[:number] + [wrong] * (10 - number))
            for split, number in (("valid", number), ("test", 0))
        }
        for seed, number in enumerate(right, start=1)
    }


def choose(*of_settings: dict[int, dict[str, SplitPredictions]], task: str = "RTE") -> dict:
    """Choose among the first settings."""
    settings = dict(list(SETTINGS.items())[: len(of_settings)])
    values = {
        (name, seed): value_of_run(TASKS[task], splits)
        for name, seeds in zip(settings, of_settings, strict=True)
        for seed, splits in seeds.items()
    }
    return choice_document(model="mlm", task=TASKS[task], settings=settings, values=values)


def test_the_best_median_is_taken_not_the_best_mean() -> None:
    found = choose(answers(6, 6, 7), answers(10, 5, 10), answers(10, 10, 0))
    assert found["chosen"] == "learning_rate-0.2"  # means: 6.3, 8.3, 6.7
    assert [entry["median"] for entry in found["settings"].values()] == [0.6, 1.0, 1.0]
    assert found["settings"]["learning_rate-0.3"] == {
        "setting": {"learning_rate": 0.3},
        "values": {"1": 1.0, "2": 1.0, "3": 0.0},
        "median": 1.0,
    }
    assert (found["model"], found["task"], found["split"], found["metric"]) == ("mlm", "RTE", "valid", "accuracy")


def test_the_first_of_equals_is_taken() -> None:
    assert choose(answers(5), answers(7), answers(7))["chosen"] == "learning_rate-0.2"
    assert choose(answers(3, 6), answers(6, 3))["chosen"] == "learning_rate-0.1"


def test_no_value_is_lower_than_any() -> None:
    labels = [str(number) for number in range(6)]

    def scores(*signs: int) -> dict[int, dict[str, SplitPredictions]]:
        """Return by seed predictions that correlate, do not, or are constant and so have no correlation."""
        guesses = {1: labels, -1: labels[::-1], 0: ["2"] * 6}
        return {seed: {"valid": SplitPredictions(labels, labels, guesses[sign])} for seed, sign in enumerate(signs)}

    found = choose(scores(1, 0, 0), scores(-1, -1, 0), scores(0, 0, 0), task="STS-B")
    assert found["chosen"] == "learning_rate-0.2"
    assert [entry["median"] for entry in found["settings"].values()] == [None, pytest.approx(-1), None]
    assert choose(scores(0, 0), scores(1, 0), task="STS-B")["chosen"] == "learning_rate-0.1"


def test_files(tmp_path: Path) -> None:
    assert setting_and_seed(Path("a/learning_rate-0.1/seed-12/predictions.tsv")) == ("learning_rate-0.1", 12)
    (tmp_path / "choice.json").write_text('{"chosen": "a"}')
    with pytest.raises(UserError, match=r"choice\.json is no choice of a setting \('model'\): delete it"):
        chosen_setting(tmp_path / "choice.json")
