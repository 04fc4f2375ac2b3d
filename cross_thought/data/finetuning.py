"""What a config says of fine-tuning, checked task by task before any job starts."""

from collections.abc import Mapping
from typing import Any

from cross_thought.data.sweeps import grid
from cross_thought.data.tasks import TASKS, finetuning_settings, task_from_config
from cross_thought.errors import UserError


def check_finetuning(name: str, entry: Mapping[str, Any], finetuning: Mapping[str, Any]) -> None:
    """Refuse settings that do not fit together, or not the task.

    Args:
        name: the task's key in the config.
        entry: its value.
        finetuning: that key of the effective config, which a task's entry goes before.

    Raises:
        UserError: as `task_from_config`, and naming the key, its value and the remedy.
    """
    for place, given in (("finetuning", finetuning), (f"tasks.{name}", entry)):
        if {"warmup_updates", "warmup_fraction"} <= set(given):
            raise UserError(
                f"config: {place} has warmup_updates and warmup_fraction, which both say how long the warm-up is: "
                "leave one of them out"
            )
    for setting in grid(finetuning, entry).values() or [{}]:
        _check_updates(name, {**entry, **setting}, finetuning)
    _check_loss(name, entry, finetuning)


def _check_updates(name: str, entry: Mapping[str, Any], finetuning: Mapping[str, Any]) -> None:
    """Refuse a warm-up that takes as long as the fine-tuning, as far as that is known before there are data."""
    settings = finetuning_settings(TASKS[name], finetuning, entry) if name in TASKS else {**finetuning, **entry}
    updates, warmup = settings.get("num_updates"), settings.get("warmup_updates")
    if updates is not None and warmup is not None and warmup >= updates:
        raise UserError(f"config: warmup_updates {warmup} of tasks.{name} must be less than its num_updates {updates}")


def _check_loss(name: str, entry: Mapping[str, Any], finetuning: Mapping[str, Any]) -> None:
    """Refuse class weights and label smoothing where a task has no labels, or other ones."""
    settings = {**finetuning, **entry}
    unset = {"class_weights": None, "label_smoothing": 0}
    given = [key for key, nothing in unset.items() if settings.get(key, nothing) != nothing]
    if not given or entry.get("evaluated_with"):
        return
    task = task_from_config(name, entry)
    if task.labels is None or task.selection:
        kind = "candidate answers" if task.selection else "scores"
        remedy = "null" if unset[given[0]] is None else "0"
        raise UserError(
            f"config: {given[0]} is for tasks with labels, but {name} has {kind}: set tasks.{name}.{given[0]} to "
            f"{remedy}"
        )
    weights = settings.get("class_weights")
    if isinstance(weights, Mapping):
        labels = [str(label) for label in weights]
        odd = next(
            (label for label in (*labels, *task.labels) if labels.count(label) != task.labels.count(label)), None
        )
        if odd is not None:
            raise UserError(
                f"config: class_weights of tasks.{name} has {', '.join(labels)}, but its labels are "
                f"{', '.join(task.labels)}: give each of these a weight, in quotes"
            )
