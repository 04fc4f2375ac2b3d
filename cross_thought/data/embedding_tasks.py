"""What embeddings are evaluated on as they are: entries of the config's `embedding_tasks` become `EmbeddingTask`s."""

from collections.abc import Mapping
from typing import Any

from cross_thought.data.definitions import PROBE, RETRIEVAL, SIMILARITY, STS, EmbeddingTask, Task
from cross_thought.data.tasks import is_own, task_from_config
from cross_thought.errors import UserError
from cross_thought.yaml_text import listed


def poolings_of(config: Mapping[str, Any]) -> list[str]:
    """Return the ways in which slot states become the embeddings that are evaluated; `config` is the effective one."""
    return listed(config["embedding"]["pooling"])


def embedding_tasks_of(config: Mapping[str, Any]) -> dict[str, EmbeddingTask]:
    """Return the tasks that embeddings are evaluated on, by name; `config` is the effective config."""
    return {name: embedding_task_from_config(name, config) for name in config["embedding_tasks"]}


def embedding_task_from_config(name: str, config: Mapping[str, Any]) -> EmbeddingTask:
    """Return a task that embeddings are evaluated on; its files are from `tasks` if the name is a key of that as well.

    Returns:
        The task: a probe, if the entry says so; else scores make it a similarity, labels a retrieval of the pairs with
        `positive_label` (by default `entailment` or `1`), and no labels a retrieval of all pairs.

    Raises:
        UserError: if the task is unknown or incomplete, has single sentences, or no such positive label.
    """
    entry, place = config["embedding_tasks"][name], f"embedding_tasks.{name}"
    section = "tasks" if name in config["tasks"] else "embedding_tasks"
    task = task_from_config(name, config[section][name], section=section)
    if entry.get("evaluation") == PROBE:
        return _probe(task, entry, place)
    keys = (*entry, *(f"files.{split}" for split in entry.get("files", ())))
    if only_probe := [key for key in keys if key in ("metrics", "max_train_examples", "files.train")]:
        raise UserError(f"{place}.{only_probe[0]} is of a probe: set evaluation to probe, or leave it out")
    if task.num_sentences != 2:
        kind = "several candidates for a question" if task.selection else "single sentences"
        raise UserError(f"{place} has {kind}: similarity and retrieval need a task of sentence pairs")
    positive_label = entry.get("positive_label")
    labelled, unread = _labelled(task), _unread(task)
    if task.labels is None:
        if positive_label is not None:
            raise UserError(f"{place}.positive_label is {positive_label!r}, but the task has no labels: leave it out")
        if labelled:
            has_parts = all(task.splits[split].format == STS for split in labelled)
            return EmbeddingTask(name=name, evaluation=SIMILARITY, splits=labelled, has_parts=has_parts, unread=unread)
        evaluated = tuple(split for split in task.splits if split != "train")
        return EmbeddingTask(name=name, evaluation=RETRIEVAL, splits=evaluated)
    if not labelled:
        remedy = "take it out"
        if is_own(task):
            remedy = "if one has, say so of it, `files: {test: {path: ..., label_column: ...}}`"
        raise UserError(f"{place}: none of its files but train's is sure to have labels: {remedy}")
    if positive_label is None:
        positive_label = next((label for label in ("entailment", "1") if label in task.labels), None)
    if positive_label not in task.labels:
        raise UserError(
            f"{place}.positive_label is {positive_label!r}: choose from {', '.join(task.labels)} the label of the "
            "pairs that belong together"
        )
    return EmbeddingTask(name=name, evaluation=RETRIEVAL, splits=labelled, positive_label=positive_label, unread=unread)


def _labelled(task: Task) -> tuple[str, ...]:
    """Return the splits whose labels are known, but train, which others learn from."""
    known = (name for name, file in task.splits.items() if file.label_column is not None and not file.labels_optional)
    return tuple(name for name in known if name != "train")


def _unread(task: Task) -> tuple[str, ...]:
    """Return the splits of a task of one's own that may have labels, of which nobody says so."""
    return tuple(
        name for name, file in task.splits.items() if is_own(task) and file.label_column and file.labels_optional
    )


def _probe(task: Task, entry: Mapping[str, Any], place: str) -> EmbeddingTask:
    """Return a probe of a task of classes."""
    lacks = {
        "labels": task.labels is None or task.selection is not None,
        "a train set with labels": "train" not in task.splits or task.splits["train"].label_column is None,
        "another set with labels": not _labelled(task),
    }
    if lacking := [what for what, is_lacking in lacks.items() if is_lacking]:
        raise UserError(f"{place}.evaluation is 'probe', but the task has not {lacking[0]}: probe one of classes")
    if "positive_label" in entry:
        raise UserError(f"{place}.positive_label is of no use to a probe: leave it out")
    return EmbeddingTask(name=task.name, evaluation=PROBE, splits=_labelled(task), probed=task, unread=_unread(task))
