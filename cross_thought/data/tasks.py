"""From data to tasks: an entry of `resources/tasks.yaml`, or of the config, becomes a `Task`.

Tasks that ship and tasks of one's own are described by the same keys. Needs yaml alone, because the workflow reads this
where nothing else is installed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from cross_thought.data.definitions import (
    CLASS_METRICS,
    RANKING_METRICS,
    RANKING_METRICS_TEXT,
    RESERVED_LABELS,
    SCORE_METRICS,
    TWO_CLASS_METRICS,
    AnswerSelection,
    Column,
    Split,
    Task,
    ranking_metric,
)
from cross_thought.environment import REPOSITORY
from cross_thought.errors import UserError
from cross_thought.yaml_text import listed, read_shipped_yaml

SPLITS = ("train", "valid", "valid1", "test", "test1")
PAIRS_SECTION = "embedding_tuning.pairs"

# the keys that say what a task's data are
DESCRIPTION_KEYS = (
    "folder", "archive", "archive_folder", "files", "format", "header", "extra_columns",
    "input_columns", "label_column", "labels", "label_names", "no_label", "ignored_labels", "score_scale",
    "right_label", "num_candidates", "fill_candidates", "drop_unusable", "question_id_column",
)  # fmt: skip
# what the prepared text depends on; the rest of a task's entry concerns fine-tuning and the tables
DATA_KEYS = (*DESCRIPTION_KEYS, "evaluated_with", "max_train_examples", "check_rows")
# what an entry of the config may change in a task that ships
CHANGEABLE = ("metrics", "best_metric", "in_average", "start_from", "evaluated_with", "check_rows")
_CHANGEABLE_IN_ROWS = ("num_candidates", "drop_unusable")  # in one that has a row for each candidate
_OF_TRAINING = ("start_from", "max_train_examples", "best_metric")  # no use to a task that is not fine-tuned


def task_entries(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the config's descriptions of tasks' data, by their sections; a task's are in the first that has it."""
    return {
        "tasks": config["tasks"],
        "embedding_tasks": config["embedding_tasks"],
        PAIRS_SECTION: config["embedding_tuning"]["pairs"],
    }


def generator(task: Task) -> str | None:
    """Return what makes the task's files, the first part of its name: demo or captions; None where nothing does."""
    return task.name.partition("-")[0] if task.name in REGISTRY and task.folder is None else None


def is_own(task: Task) -> bool:
    """Whether the task is one that the config describes."""
    return task.name not in REGISTRY


def task_from_config(name: str, entry: Mapping[str, Any] | None, *, section: str = "tasks") -> Task:
    """Return a task that ships, or one that an entry of the config describes wholly (one with `files`).

    `section` is the config's key that the entry stands under: of `tasks` alone, a task of one's own needs a train file
    and labels.

    Raises:
        UserError: if the task is unknown or its description is incomplete or contradicts itself.
    """
    entry = dict(entry or {})
    place = f"{section}.{name}"
    known = TASKS if section == "tasks" else TASKS | PAIRS
    if "files" in entry:
        if name in REGISTRY:
            raise UserError(f"{place} has files of its own, but {name} is a known task: choose another name for yours")
        return described_task(name, entry, section=section)
    if name not in known:
        raise UserError(
            f"{place} is unknown: choose from {', '.join(known)}, or describe a task of your own with `files`"
        )
    changeable = {*CHANGEABLE, *(_CHANGEABLE_IN_ROWS if "right_label" in REGISTRY[name] else ())}
    misplaced = [key for key in DESCRIPTION_KEYS if key in entry and key not in changeable]
    if misplaced:
        raise UserError(f"{place}.{misplaced[0]} belongs to a task of your own, which also needs `files`")
    changes = {key: value for key, value in entry.items() if key in changeable}
    return described_task(name, REGISTRY[name] | changes, section="tasks" if name in TASKS else section)


def tasks_of(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Task]:
    """Return the tasks to evaluate on, by name; `entries` is the config's `tasks`.

    Raises:
        UserError: as `task_from_config`, and if a task is evaluated with the model of one that is not there or unlike.
    """
    tasks = {name: task_from_config(name, entry) for name, entry in entries.items()}
    for name, task in tasks.items():
        start = tasks.get(task.start_from) if task.start_from else None
        if start is not None and start.evaluated_with is not None:
            raise UserError(
                f"tasks.{name}.start_from is {task.start_from!r}, which is evaluated with the model of "
                f"{start.evaluated_with}: name that one"
            )
        if task.evaluated_with is None:
            continue
        idle = [key for key in entries[name] or () if key not in (*DATA_KEYS, *CHANGEABLE) or key in _OF_TRAINING]
        if idle:
            raise UserError(f"tasks.{name}.{idle[0]}: {name} is not fine-tuned; say it of {task.evaluated_with}")
        place, other = f"tasks.{name}.evaluated_with is {task.evaluated_with!r}", tasks.get(task.evaluated_with)
        if other is None or other.evaluated_with is not None:
            raise UserError(f"{place}, which is no task that is fine-tuned here: add it to tasks, or name one that is")
        for key in ("labels", "num_sentences", "score_scale"):
            if getattr(task, key) != getattr(other, key):
                raise UserError(
                    f"{place}, whose {key} {getattr(other, key)} are not those of {name}, {getattr(task, key)}: name "
                    "another task"
                )
    return tasks


def setting_of(model: Mapping[str, Any], factor: str) -> Any:
    """Return a model's setting of a factor of an ablation: a key of its entry, or of the `pretraining` there."""
    return model["pretraining"][factor] if factor == "max_updates" else model[factor]


def described_task(name: str, entry: Mapping[str, Any], *, section: str) -> Task:
    """Return the task that an entry describes, of the registry or of the config; see `task_from_config`."""
    place = f"{section}.{name}"
    is_learnt = section == "tasks" and entry.get("evaluated_with") is None
    files = [split for split in SPLITS if entry["files"].get(split) is not None]
    for required in ("train", "valid") if is_learnt else ():
        if required not in files:
            raise UserError(f"{place}.files lacks `{required}`: give a path for train and for valid")
    labels, has_numbers = _labels(place, entry)
    if labels is not None and entry.get("score_scale") is not None:
        raise UserError(f"{place}.score_scale is {entry['score_scale']}, but the task has labels: leave it out")
    in_files = tuple(map(str, range(len(labels or ())))) if has_numbers else labels or ()
    for key in ("no_label", "ignored_labels"):
        if twice := next((label for label in listed(entry.get(key) or ()) if label in in_files), None):
            raise UserError(f"{place}.{key} has {twice!r}, which is one of its labels: take it out of either")
    splits = {split: _split(place, split, entry, section=section, is_learnt=is_learnt) for split in files}
    _check_alike(place, splits)
    if entry.get("evaluated_with") is None and not any(split.label_column for split in splits.values()):
        for key in ("labels", "label_names", "no_label", "ignored_labels"):
            if entry.get(key):
                raise UserError(f"{place}.{key} is set without `label_column`: name the column of the label")
    columns = next(iter(splits.values())).input_columns
    selection = _selection(place, entry, columns, labels)
    num_sentences = len(columns)
    if selection is not None:
        num_sentences = 0 if selection.num_candidates is None else 1 + selection.num_candidates
        labels = tuple(str(number + 1) for number in range(selection.num_candidates or 0))
    if selection is not None and entry.get("score_scale") is not None:
        raise UserError(f"{place}.score_scale is {entry['score_scale']}, but the task has candidates: leave it out")
    if labels is None and entry.get("best_metric") == "accuracy":
        raise UserError(f"{place}.best_metric is 'accuracy', but the task has scores: set it to loss, or leave it out")
    allowed = RANKING_METRICS if selection else CLASS_METRICS if labels else SCORE_METRICS
    no_label = entry.get("no_label", "-1" if has_numbers else None)
    return Task(
        name=name,
        metrics=_metrics(place, entry.get("metrics"), allowed=allowed, labels=labels),
        labels=labels,
        num_sentences=num_sentences,
        splits=splits,
        selection=selection,
        has_numbers=has_numbers,
        no_label=no_label,
        ignored_labels=tuple(entry.get("ignored_labels") or ()),
        score_scale=float(entry.get("score_scale") or 1.0),
        best_metric=entry.get("best_metric") or ("loss" if allowed == SCORE_METRICS else "accuracy"),
        **{key: entry[key] for key in _AS_GIVEN if not isinstance(entry.get(key), list | None)},
    )


# what is the same in an entry and in a task, but for lists, which make a sweep
_AS_GIVEN = (
    "folder", "archive", "archive_folder", "extra_columns", "learning_rate", "batch_size", "num_updates",
    "warmup_updates", "in_average", "start_from", "evaluated_with",
)  # fmt: skip


def _check_alike(place: str, splits: Mapping[str, Split]) -> None:
    """Refuse files of which some have other numbers of sentences in a row."""
    first, *others = splits
    for other in others:
        numbers = [len(splits[name].input_columns) for name in (first, other)]
        if numbers[0] != numbers[1]:
            raise UserError(
                f"{place}.files.{other} has {numbers[1]} input_columns, where {first} has {numbers[0]}: name as many"
            )


def _split(place: str, split: str, task_entry: Mapping[str, Any], *, section: str, is_learnt: bool) -> Split:
    """Return one split of a task: what the entry says of its files goes before what it says of all."""
    given = task_entry["files"][split]
    said = given if isinstance(given, Mapping) else {"path": given}
    entry = {**task_entry, **said}
    columns = tuple(entry.get("input_columns") or ())
    if not columns:
        raise UserError(f"{place}.input_columns is missing: name the columns of the sentences")
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise UserError(f"{place}.input_columns names the column {twice!r} twice: name a column for each sentence")
    label_column = entry.get("label_column")
    may_lack_labels = split.startswith("test") or not is_learnt
    if label_column is None and not may_lack_labels:
        raise UserError(f"{place}.label_column is missing: name the column of the label")
    if label_column is not None and label_column in columns:
        raise UserError(f"{place}.label_column {label_column!r} is one of input_columns: name the label's own")
    header = bool(entry.get("header", True))
    named = [column for column in (*columns, label_column, entry.get("question_id_column")) if isinstance(column, str)]
    if named and not header:
        raise UserError(f"{place} names the column {named[0]!r} but has `header: false`: give its number")
    if "questions" in said and entry.get("format") != "quasar-t":
        raise UserError(f"{place}.files.{split}.questions is of the format quasar-t: set that, or leave it out")
    if "keep_ids" in said and "ids" not in said:
        raise UserError(f"{place}.files.{split}.keep_ids needs `ids`, the file that says which rows: add it")
    file, *more_files = listed(entry["path"])
    return Split(
        file=file,
        more_files=tuple(more_files),
        input_columns=columns,
        label_column=label_column,
        labels_optional=section == "tasks" and may_lack_labels and "label_column" not in said,
        header=header,
        format=entry.get("format"),
        expected_rows=None if entry.get("check_rows") is False else entry.get("rows"),
        num_fields=entry.get("num_fields"),
        download=entry.get("download"),
        ids=entry.get("ids"),
        keep_ids=bool(entry.get("keep_ids")),
        question_id_column=entry.get("question_id_column"),
        questions=entry.get("questions"),
    )


def _metrics(
    place: str, names: Sequence[str] | None, *, allowed: tuple[str, ...], labels: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return a task's metrics, or say which one does not fit its labels."""
    metrics = tuple(names or (("accuracy",) if allowed == CLASS_METRICS else allowed))
    for metric in metrics:
        if allowed == RANKING_METRICS:
            if ranking_metric(metric) is None:
                raise UserError(f"{place}.metrics has {metric!r}: choose from {RANKING_METRICS_TEXT}")
            continue
        if metric not in allowed:
            raise UserError(f"{place}.metrics has {metric!r}: choose from {', '.join(allowed)} for such labels")
        if metric in TWO_CLASS_METRICS and labels is not None and len(labels) > 2:
            raise UserError(
                f"{place}.metrics has {metric!r}, which is for two labels, not {len(labels)}: choose accuracy, "
                f"matthews or macro_{metric}"
            )
    return metrics


def _selection(
    place: str, entry: Mapping[str, Any], columns: Sequence[Column], labels: tuple[str, ...] | None
) -> AnswerSelection | None:
    """Return the form of answer selection that an entry describes; None if it describes no such task.

    With `right_label`, a row has a question, a candidate and whether it is right; with three columns or more, a
    question with all its candidates and the numbers of the right ones.
    """
    right_label, num_candidates = entry.get("right_label"), entry.get("num_candidates")
    if right_label is None:
        is_in_a_row = len(columns) > 2
        said = {*entry, *(key for file in entry["files"].values() if isinstance(file, Mapping) for key in file)}
        for key in ("num_candidates", "fill_candidates", "question_id_column", "drop_unusable"):
            if key in said and not (is_in_a_row and key == "drop_unusable"):
                raise UserError(f"{place}.{key} needs `right_label`, the label of a question's right candidate")
        if not is_in_a_row:
            return None
        if labels is not None:
            raise UserError(
                f"{place}.labels is of no use with {len(columns)} input_columns, a question and its candidates: "
                "the label is the number of the right one; leave it out"
            )
        return AnswerSelection(num_candidates=len(columns) - 1, drop_unusable=bool(entry.get("drop_unusable")))
    if len(columns) != 2:
        raise UserError(f"{place}.input_columns names {len(columns)} columns: give question and candidate")
    if right_label not in (labels or ()):
        raise UserError(f"{place}.right_label is {right_label!r}, which is none of its labels: list it there too")
    if num_candidates is None and entry.get("fill_candidates"):
        raise UserError(f"{place}.fill_candidates needs num_candidates: say how many every question is to have")
    return AnswerSelection(
        num_candidates=num_candidates,
        row_labels=labels,
        right_label=right_label,
        fill=bool(entry.get("fill_candidates")),
        drop_unusable=bool(entry.get("drop_unusable")),
    )


def _labels(place: str, entry: Mapping[str, Any]) -> tuple[tuple[str, ...] | None, bool]:
    """Return the labels as strings, None for numbers, and whether files have their numbers; or say what is wrong."""
    labels, names = entry.get("labels"), entry.get("label_names")
    if labels is not None and names is not None:
        raise UserError(f"{place} has labels and label_names: give labels as they stand in the files, or their names")
    if labels is None and names is None:
        return None, False
    key = "labels" if names is None else "label_names"
    texts = tuple(str(label) for label in (labels or names or ()))
    if len(texts) < 2 or len(set(texts)) < len(texts):
        raise UserError(f"{place}.{key} {list(texts)} must be two or more different labels, or null for regression")
    for text in texts:
        if text != text.strip() or not text or set(text) & set("\t\n\r") or text in RESERVED_LABELS:
            raise UserError(f"{place}.{key} has {text!r}, which cannot be a label: rename it in files and config")
    return texts, names is not None


REGISTRY_FILE = REPOSITORY / "resources" / "tasks.yaml"
# a package that is installed without the repository has none; what works with tasks then says so (`repository_file`)
REGISTRY: dict[str, dict[str, Any]] = read_shipped_yaml(REGISTRY_FILE) if REGISTRY_FILE.is_file() else {}
# what has neither a train set with labels nor a model of another task is pairs without labels, for embeddings alone
_LEARNT = {
    name
    for name, entry in REGISTRY.items()
    if ("train" in entry["files"] and "label_column" in entry) or "evaluated_with" in entry
}
TASKS = {name: described_task(name, REGISTRY[name], section="tasks") for name in REGISTRY if name in _LEARNT}
PAIRS = {name: described_task(name, REGISTRY[name], section="embedding_tasks") for name in REGISTRY.keys() - _LEARNT}
