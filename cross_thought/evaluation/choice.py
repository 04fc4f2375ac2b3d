"""Which setting of a sweep a model takes: the best on the development set, by the median over its seeds.

The protocol is RoBERTa's. A seed's value is the task's main metric on `valid`; where it has none (constant predictions
have no correlation), it counts as lower than any. Of equals, the first of the grid is taken.
"""

from collections.abc import Iterable, Mapping
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

from cross_thought.data.definitions import Task
from cross_thought.data.sweeps import Setting
from cross_thought.evaluation.metrics import compute_metrics
from cross_thought.evaluation.predictions import SplitPredictions
from cross_thought.evaluation.result_files import read_documents

SPLIT = "valid"
_KEYS = ("model", "task", "split", "metric", "chosen", "settings")
_DIGITS = 9  # equal models are equally good whatever the order of their seeds

# (setting, seed) -> split -> what was answered
Runs = Mapping[tuple[str, int], Mapping[str, SplitPredictions]]


def setting_and_seed(path: Path) -> tuple[str, int]:
    """Return what a run is of, whose files lie in `SETTING/seed-N/`."""
    return path.parent.parent.name, int(path.parent.name.removeprefix("seed-"))


def choice_document(*, model: str, task: Task, settings: Mapping[str, Setting], predictions: Runs) -> dict[str, Any]:
    """Assemble what `choice.json` says of one model on one task.

    Args:
        model: whose runs.
        task: what is answered.
        settings: the grid, by name, in order.
        predictions: those of every run.

    Returns:
        `chosen`, the name of the best setting; under `settings`, for each its keys, the metric (a fraction; None where
        it has no value) of each seed, and the median.
    """
    metric = task.metrics[0]
    found: dict[str, dict[str, Any]] = {}
    for name, setting in settings.items():
        runs = {seed: splits[SPLIT] for (of, seed), splits in predictions.items() if of == name}
        values = {
            str(seed): compute_metrics(task, rows.labels, rows.predictions)[metric] for seed, rows in runs.items()
        }
        middle = median(-inf if value is None else value for value in values.values())
        found[name] = {"setting": dict(setting), "values": values, "median": None if middle == -inf else middle}
    chosen = max(found, key=lambda name: _rank(found[name]["median"]))
    known = {"model": model, "task": task.name, "split": SPLIT, "metric": metric}
    return known | {"chosen": chosen, "settings": found}


def _rank(value: float | None) -> float:
    return -inf if value is None else round(value, _DIGITS)


def read_choices(paths: Iterable[Path | str]) -> list[dict[str, Any]]:
    """Read `choice.json` files; a UserError says that one is missing or is none."""
    return read_documents(paths, "choice of a setting", keys=_KEYS)


def chosen_setting(path: Path) -> str:
    """Return the name of the setting that a `choice.json` says."""
    (choice,) = read_choices([path])
    return choice["chosen"]
