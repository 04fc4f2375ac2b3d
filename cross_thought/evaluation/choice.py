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


def setting_and_seed(path: Path) -> tuple[str, int]:
    """Return what the run is of that a file in `SETTING/seed-N/` belongs to."""
    return path.parent.parent.name, int(path.parent.name.removeprefix("seed-"))


def value_of_run(task: Task, predictions: Mapping[str, SplitPredictions]) -> float | None:
    """Return what a run is judged by, a fraction, from its predictions by split; None where that has no value."""
    rows = predictions[SPLIT]
    return compute_metrics(task, rows.labels, rows.predictions)[task.metrics[0]]


def choice_document(
    *, model: str, task: Task, settings: Mapping[str, Setting], values: Mapping[tuple[str, int], float | None]
) -> dict[str, Any]:
    """Assemble what `choice.json` says of one model on one task.

    `settings` is the grid, in order; `values` has of (setting's name, seed) the run's value.

    Returns:
        `chosen`, the name of the best setting; under `settings`, for each its keys, the value of each seed, and the
        median.
    """
    found: dict[str, dict[str, Any]] = {}
    medians: dict[str, float] = {}
    for name, setting in settings.items():
        of_seeds = {str(seed): value for (of, seed), value in values.items() if of == name}
        medians[name] = middle = median(-inf if value is None else value for value in of_seeds.values())
        found[name] = {"setting": dict(setting), "values": of_seeds, "median": None if middle == -inf else middle}
    # rounded, for equal models are equally good whatever the order of their seeds
    chosen = max(medians, key=lambda name: round(medians[name], 9))
    known = {"model": model, "task": task.name, "split": SPLIT, "metric": task.metrics[0]}
    return known | {"chosen": chosen, "settings": found}


def read_choices(paths: Iterable[Path | str]) -> list[dict[str, Any]]:
    """Read `choice.json` files; a UserError says that one is missing or is none."""
    return read_documents(paths, "choice of a setting", keys=_KEYS)


def chosen_setting(path: Path) -> str:
    """Return the name of the setting that a `choice.json` says."""
    (choice,) = read_choices([path])
    return choice["chosen"]
