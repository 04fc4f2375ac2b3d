"""What a config says of fine-tuning, a task's settings, checked before any job starts."""

from collections.abc import Mapping
from typing import Any

from cross_thought.data.definitions import Task
from cross_thought.data.sweeps import grid, laid_over
from cross_thought.data.tasks import TASKS, task_from_config
from cross_thought.errors import UserError

PUBLISHED_EPOCHS = 10  # of all examples, in batches of the task's size: what its num_updates and warmup_updates are for


def finetuning_settings(task: Task, config: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's settings: its defaults, over them those for all tasks, over them its own entry's.

    Args:
        task: as `task_from_config` returns it.
        config: `finetuning` of the effective config.
        entry: the task's.

    Returns:
        The settings. `num_updates` and `warmup_updates` are None where the config says nothing of them and the
        published ones would not fit: they are for 10 epochs of all published examples in batches of that size.
        What is a list there is one here (`sweeps.grid`).
    """
    given = {"learning_rate": task.learning_rate, "batch_size": task.batch_size, **laid_over(config, entry)}
    schedule: dict[str, Any] = {"num_updates": None, "warmup_updates": None}
    if (
        given["num_epochs"] == PUBLISHED_EPOCHS
        and given["batch_size"] == task.batch_size
        and not {"max_train_examples", "num_updates"} & set(given)
        and given.get("check_rows") is not False
    ):
        schedule = {"num_updates": task.num_updates, "warmup_updates": task.warmup_updates}
    if "warmup_fraction" in given:
        schedule["warmup_updates"] = None
    return schedule | given


def check_finetuning(name: str, entry: Mapping[str, Any], finetuning: Mapping[str, Any]) -> None:
    """Refuse settings that do not fit together, or not the task: what its entry says goes before `finetuning`.

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
