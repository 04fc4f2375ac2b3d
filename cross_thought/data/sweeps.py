"""Sweeps: fine-tuning settings that are lists in the config. All their combinations run, and each model takes one.

Needs the standard library alone, for the workflow reads it.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from cross_thought.data.definitions import Task

# what may be a list, in the order of the grid: the last one varies fastest
SWEPT = ("learning_rate", "batch_size", "num_epochs", "weight_decay", "warmup_updates", "warmup_fraction")

Setting = dict[str, float]  # key -> value: one combination


def grid(finetuning: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the combinations of a task's lists by their names, in order; none where nothing is a list.

    What its entry says goes before `finetuning` of the effective config.
    """
    given = laid_over(finetuning, entry)
    lists = {key: given[key] for key in SWEPT if isinstance(given.get(key), list)}
    settings = [dict(zip(lists, values, strict=True)) for values in product(*lists.values())] if lists else []
    return {setting_name(setting): setting for setting in settings}


def grids_of(tasks: Mapping[str, Task], config: Mapping[str, Any]) -> dict[str, dict[str, Setting]]:
    """Return the grids of the tasks that have one, by task; `config` is the effective one.

    A task that is evaluated with another's model has none.
    """
    tuned = [name for name, task in tasks.items() if task.evaluated_with is None]
    grids = {name: grid(config.get("finetuning", {}), config["tasks"][name] or {}) for name in tuned}
    return {name: settings for name, settings in grids.items() if settings}


def kept_tasks(tasks: Mapping[str, Task], config: Mapping[str, Any]) -> list[str]:
    """Return the tasks whose fine-tuned checkpoints are kept: by the config, or because something goes on from them.

    Another is deleted once it is evaluated. That of a sweep's chosen setting is kept for tasks that are evaluated with
    it, too: to have it again, the whole sweep runs.
    """
    needed = {task.start_from for task in tasks.values()}
    needed |= {tasks[entry["task"]].evaluated_with or entry["task"] for entry in config["predict"].values()}
    needed |= {task.evaluated_with for task in tasks.values()} & set(grids_of(tasks, config))
    needed |= set(kept_by_config(tasks, config))
    return [name for name in tasks if name in needed]


def kept_by_config(tasks: Mapping[str, Task], config: Mapping[str, Any]) -> list[str]:
    """Return the tasks with a checkpoint that the config says to keep."""
    keeps = config["finetuning"]["keep_checkpoints"]
    own = [name for name, task in tasks.items() if task.evaluated_with is None]
    return [name for name in own if config["tasks"][name].get("keep_checkpoints", keeps)]


def laid_over(finetuning: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a task's entry says of fine-tuning, over what is said of all; a warm-up is updates or a share."""
    warmups = {"warmup_updates", "warmup_fraction"}
    own = warmups & set(entry)
    return {key: value for key, value in finetuning.items() if not own or key not in warmups} | dict(entry)


def without_lists(finetuning: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `finetuning` says of a training that has a setting, or whose task says all that is a list there."""
    return {key: value for key, value in finetuning.items() if not (key in SWEPT and isinstance(value, list))}


def setting_name(setting: Mapping[str, float]) -> str:
    """Return the name of a setting in paths: `learning_rate-1e-05--batch_size-16`."""
    return "--".join(f"{key}-{value}" for key, value in setting.items())


def shown_setting(name: str) -> str:
    """Return the name of a setting for people: `learning_rate 1e-05, batch_size 16`."""
    return ", ".join(part.replace("-", " ", 1) for part in name.split("--"))
