"""Positive pairs that an encoder is tuned on: those of a task, or of files of one's own, maybe with hard negatives."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cross_thought.data.prepared import read_prepared
from cross_thought.data.tasks import PAIRS_SECTION, Task, task_from_config
from cross_thought.errors import UserError


@dataclass(frozen=True, kw_only=True)
class PairTask:
    """What of a task's train set makes an anchor and what it is drawn to.

    Attributes:
        name: of the task, as in the config.
        positive_label: of the pairs that belong together; None: all do.
        negative_label: of pairs whose second sentence is a hard negative of the first; None: there are none.
    """

    name: str
    positive_label: str | None = None
    negative_label: str | None = None


def pair_tasks_of(config: Mapping[str, Any]) -> dict[str, PairTask]:
    """Return what is tuned on, by name; `config` is the effective config.

    Raises:
        UserError: if a task is unknown or incomplete, has no pairs, no train set or no such label.
    """
    return {name: _pair_task(name, config) for name in config["embedding_tuning"]["pairs"]}


def data_of_pairs(name: str, config: Mapping[str, Any]) -> Task:
    """Return the task whose train set the pairs `name` are in: one of the config's tasks, or one of its own files."""
    if name in config["tasks"]:
        return task_from_config(name, config["tasks"][name], section="tasks")
    return task_from_config(name, config["embedding_tuning"]["pairs"][name], section=PAIRS_SECTION)


def _pair_task(name: str, config: Mapping[str, Any]) -> PairTask:
    entry, place = config["embedding_tuning"]["pairs"][name], f"{PAIRS_SECTION}.{name}"
    described = [key for key in entry if key not in ("positive_label", "negative_label")]
    for section in ("tasks", "embedding_tasks"):
        if name in config[section] and (described or (section != "tasks" and config[section][name])):
            raise UserError(
                f"{place}: the data of {name} are those of {section}.{name}; give what is tuned on another name"
            )
    task = data_of_pairs(name, config)
    if task.num_sentences != 2:
        kind = "several candidates for a question" if task.selection else "single sentences"
        raise UserError(f"{place} has {kind}: tuning needs a task of sentence pairs")
    if "train" not in task.splits:
        raise UserError(f"{place} has no train file, which is what is tuned on: give one, or name another task")
    labels = {key: entry[key] for key in ("positive_label", "negative_label") if key in entry}
    if task.labels is None:
        if task.splits["train"].label_column is not None:
            raise UserError(f"{place} has scores: tuning needs labels, or pairs that all belong together")
        given = next((key for key, label in labels.items() if label is not None), None)
        if given is not None:
            raise UserError(f"{place}.{given} is {labels[given]!r}, but the task has no labels: leave it out")
        return PairTask(name=name)
    for key, defaults in (("positive_label", ("entailment", "1")), ("negative_label", ("contradiction",))):
        default = next((label for label in defaults if label in task.labels), None)
        label = labels.setdefault(key, default)
        if label not in (*task.labels, None) or (label is None and key == "positive_label"):
            raise UserError(f"{place}.{key} is {label!r}: choose from {', '.join(task.labels)}")
    if labels["positive_label"] == labels["negative_label"]:
        raise UserError(f"{place}: positive_label and negative_label are both {labels['positive_label']!r}")
    return PairTask(name=name, **labels)


def training_pairs(task: PairTask, train: Path) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Read what an encoder is tuned on from a task's prepared train file.

    Returns:
        The columns `anchor` and `positive`, and `negative` where the task has hard negatives: each positive pair once,
        its anchor's negatives in turn. And how many `pairs` there are, and positive ones that were left out:
        `repeated`, of `equal` sentences, or `unopposed`: without a hard negative that is neither the anchor nor one of
        its positives.

    Raises:
        UserError: if there are fewer than two, or most are unopposed.
    """
    pairs: dict[tuple[str, str], None] = {}
    negatives: dict[str, dict[str, None]] = {}
    counts = {"pairs": 0, "repeated": 0, "equal": 0, "unopposed": 0}
    for label, sentences in read_prepared(train):
        first, second = map(str.strip, sentences)
        if task.positive_label in (None, label):
            counts["equal"] += first == second
            counts["repeated"] += (first, second) in pairs
            if first != second:
                pairs[first, second] = None
        elif label == task.negative_label:
            negatives.setdefault(first, {})[second] = None
    columns: dict[str, list[str]] = {"anchor": [], "positive": []}
    if task.negative_label is not None:
        columns["negative"] = []
    used: dict[str, int] = {}
    for first, second in pairs:
        if task.negative_label is not None:
            # labels contradict each other now and then
            choices = [other for other in negatives.get(first, ()) if other != first and (first, other) not in pairs]
            if not choices:
                counts["unopposed"] += 1
                continue
            columns["negative"].append(choices[used.get(first, 0) % len(choices)])
            used[first] = used.get(first, 0) + 1
        columns["anchor"].append(first)
        columns["positive"].append(second)
    counts["pairs"] = len(columns["anchor"])
    if counts["pairs"] < 2:
        wanted = "" if task.positive_label is None else f" with the label {task.positive_label!r}"
        against = "" if task.negative_label is None else f" that have another with {task.negative_label!r}"
        raise UserError(
            f"{train}: {counts['pairs']} pairs of two different sentences{wanted}{against}, and tuning needs at least "
            f"two, which are each other's negatives: mend the files, or the labels of {PAIRS_SECTION}.{task.name}"
        )
    if counts["unopposed"] > counts["pairs"]:
        raise UserError(
            f"{train}: {counts['unopposed']} of {counts['unopposed'] + counts['pairs']} positive pairs have no hard "
            f"negative, labelled {task.negative_label!r}, and would be left out: set {PAIRS_SECTION}.{task.name}."
            "negative_label to null, to tune on all of them, or add negatives"
        )
    return columns, counts


TUNED = " (tuned on "  # in the name of a tuned model


def tuned_place(model: str, pairs: str) -> str:
    """Return how paths name a tuned model; no name of the config has such a sign."""
    return f"{model}@{pairs}"


def shown_name(place: str) -> str:
    """Return what tables call a model that paths name so."""
    model, _, pairs = place.partition("@")
    return f"{model}{TUNED}{pairs})" if pairs else model


def place_of(shown: str) -> str:
    """Return how paths name a model that tables call so: `shown_name` the other way round."""
    model, _, pairs = shown.removesuffix(")").partition(TUNED)
    return tuned_place(model, pairs) if pairs else shown
