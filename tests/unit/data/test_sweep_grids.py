"""Lists among fine-tuning settings: which combinations they make, and what they are called."""

from cross_thought.config import load_config
from cross_thought.data.finetuning import finetuning_settings
from cross_thought.data.sweeps import grid, grids_of, setting_name, shown_setting, without_lists
from cross_thought.data.tasks import tasks_of


def test_a_grid_has_every_combination_the_last_key_fastest() -> None:
    finetuning = {"num_epochs": 10, "batch_size": [32, 16], "learning_rate": [3e-5, 1e-5], "extra_args": ["--a", "b"]}
    assert list(grid(finetuning, {})) == [
        "learning_rate-3e-05--batch_size-32",
        "learning_rate-3e-05--batch_size-16",
        "learning_rate-1e-05--batch_size-32",
        "learning_rate-1e-05--batch_size-16",
    ]
    assert grid(finetuning, {"batch_size": 8, "weight_decay": [0.1]}) == {
        "learning_rate-3e-05--weight_decay-0.1": {"learning_rate": 3e-5, "weight_decay": 0.1},
        "learning_rate-1e-05--weight_decay-0.1": {"learning_rate": 1e-5, "weight_decay": 0.1},
    }
    assert grid(finetuning, {"batch_size": 8, "learning_rate": 1e-5}) == {}
    assert without_lists(finetuning) == {"num_epochs": 10, "extra_args": ["--a", "b"]}


def test_names() -> None:
    name = setting_name({"learning_rate": 1e-5, "num_epochs": 3, "warmup_fraction": 0.06})
    assert name == "learning_rate-1e-05--num_epochs-3--warmup_fraction-0.06"
    assert shown_setting(name) == "learning_rate 1e-05, num_epochs 3, warmup_fraction 0.06"


def test_a_task_evaluated_with_anothers_model_has_no_grid() -> None:
    tasks = {"MNLI": {}, "AX": {}, "RTE": {"learning_rate": 2e-5, "start_from": "MNLI"}}
    config = load_config({"finetuning": {"learning_rate": [1e-5, 2e-5]}, "tasks": tasks})
    assert list(grids_of(tasks_of(config["tasks"]), config)) == ["MNLI"]


def test_a_warm_up_is_updates_or_a_share() -> None:
    config = load_config({"finetuning": {"warmup_fraction": [0.06, 0.1], "num_epochs": 10}, "tasks": {"RTE": {}}})
    task = tasks_of(config["tasks"])["RTE"]
    assert (task.num_updates, task.warmup_updates) == (2036, 122)
    given = config["finetuning"]
    (first, _) = grid(given, {}).values()
    of_share = finetuning_settings(task, given, first)
    assert (of_share["num_updates"], of_share["warmup_updates"], of_share["warmup_fraction"]) == (2036, None, 0.06)
    of_updates = finetuning_settings(task, given, {"warmup_updates": 10})
    assert (of_updates["warmup_updates"], "warmup_fraction" in of_updates) == (10, False)
    assert grid(given, {"warmup_updates": [10, 20]}).keys() == {"warmup_updates-10", "warmup_updates-20"}
