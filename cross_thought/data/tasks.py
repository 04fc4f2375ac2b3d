"""What each fine-tuning task looks like: its files, columns, labels, metrics and published settings.

Standard library only, because the workflow reads this where nothing else is installed. Columns are 1-based or named by
the header. Sizes and columns: the GLUE files themselves; settings: fairseq v0.10.0's "RoBERTa on GLUE".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cross_thought.errors import UserError

CLASS_METRICS = ("accuracy", "f1", "matthews")
SCORE_METRICS = ("pearson", "spearman")
RANKING_METRICS = ("accuracy", "mrr")  # accuracy: how often the right candidate is ranked first
METRICS = tuple(dict.fromkeys((*CLASS_METRICS, *SCORE_METRICS, *RANKING_METRICS)))
RESERVED_LABELS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
OWN_TASK_KEYS = (
    "files", "header", "input_columns", "label_column", "labels", "metrics", "score_scale",
    "right_label", "num_candidates", "fill_candidates",
)  # fmt: skip
OVERRIDABLE = ("best_metric", "in_average", "start_from")
# what the prepared text depends on; the rest of a task's entry concerns fine-tuning
DATA_KEYS = (*OWN_TASK_KEYS, "max_train_examples", "check_rows")

PUBLISHED_EPOCHS = 10  # of all examples, in batches of the task's size: what its num_updates and warmup_updates are for

SIMILARITY, RETRIEVAL = "similarity", "retrieval"
EMBEDDING_METRICS = {
    SIMILARITY: ("spearman", "pearson"),
    RETRIEVAL: ("accuracy@1", "mrr", "recall@1", "recall@5", "recall@10"),
}

Column = int | str


@dataclass(frozen=True, kw_only=True)
class Split:
    """One file of a task.

    Attributes:
        file: name inside the task's folder or archive.
        input_columns: the column of each sentence.
        label_column: the column of the label; None where the file has none.
        header: whether the first line names the columns.
        expected_rows: well-formed rows of the published file; None: not checked.
        num_fields: rows with another number of fields are malformed and left out; None: all rows count.
    """

    file: str
    input_columns: tuple[Column, ...]
    label_column: Column | None = None
    header: bool = True
    expected_rows: int | None = None
    num_fields: int | None = None


@dataclass(frozen=True, kw_only=True)
class AnswerSelection:
    """How the rows of a file become questions with candidate answers.

    Attributes:
        num_candidates: N, the most candidates of a question; where one has fewer, the last are empty.
        row_labels: with a row for each candidate: the labels there; None: a row has a question with all its candidates
            and, in place of a label, the number of the right one.
        right_label: with a row for each candidate: the label of the right one's.
        fill: whether the sentences of other questions make every question's candidates N.
        drop_unusable: whether a question without exactly one right candidate, or with one that stands twice, and wrong
            candidates beyond N, are left out; otherwise they are refused.
    """

    num_candidates: int
    row_labels: tuple[str, ...] | None = None
    right_label: str | None = None
    fill: bool = False
    drop_unusable: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task on single sentences, on sentence pairs, or on questions with candidate answers.

    Attributes:
        name: as in the config.
        metrics: names out of `METRICS`, the main one first.
        labels: label strings as GLUE's submissions want them, in the order of the class indices; None: regression. In
            answer selection, the numbers of the candidates from 1.
        num_sentences: 1 or 2; in answer selection, the question and its candidates.
        selection: the form of an answer selection; None for other tasks.
        splits: the files, by split: train, valid, test, and valid1, test1 for MNLI's mismatched ones.
        folder: where the files lie under `data_dir`.
        downloads: names in `resources/downloads.tsv`: one zip archive, or the sources of MRPC; none for other tasks.
        archive_folder: folder of the files inside the archive.
        ignored_labels: rows with such a label are left out.
        score_scale: what a regression label is divided by before training.
        learning_rate, batch_size, num_updates, warmup_updates: fine-tuning as published, whatever the config says;
            num_updates None: as many as the epochs of the config take.
        best_metric: what the best checkpoint is chosen by, "accuracy" or "loss".
        in_average: whether tables count the task in their average.
        start_from: the task whose fine-tuned model, less its head, this one starts from; None: the pre-trained model.
    """

    name: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] | None
    num_sentences: int
    splits: Mapping[str, Split]
    selection: AnswerSelection | None = None
    folder: str | None = None
    downloads: tuple[str, ...] = ()
    archive_folder: str | None = None
    ignored_labels: tuple[str, ...] = ()
    score_scale: float = 1.0
    learning_rate: float = 1e-5
    batch_size: int = 32
    num_updates: int | None = None
    warmup_updates: int | None = None
    best_metric: str = "accuracy"
    in_average: bool = True
    start_from: str | None = None

    @property
    def is_regression(self) -> bool:
        """Whether the label is a number."""
        return self.labels is None

    @property
    def file_labels(self) -> tuple[str, ...] | None:
        """The labels in the task's files; None where they are any numbers."""
        return self.selection.row_labels if self.selection and self.selection.row_labels else self.labels


@dataclass(frozen=True, kw_only=True)
class EmbeddingTask:
    """What embeddings are evaluated on as they are, without fine-tuning: the sentence pairs of a task.

    Attributes:
        name: of the task, as in the config.
        evaluation: SIMILARITY (cosines against scores) or RETRIEVAL (the second sentence is to be found by the first).
        splits: those that can be scored: all whose labels are known, but train, which others learn from.
        positive_label: of retrieval, the label of the pairs that belong together; None: all do.
    """

    name: str
    evaluation: str
    splits: tuple[str, ...]
    positive_label: str | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what is measured, the main one first."""
        return EMBEDDING_METRICS[self.evaluation]


@dataclass(frozen=True, kw_only=True)
class RawFile:
    """Where the rows of a split are read from.

    Attributes:
        path: a file, or a zip archive.
        member: the file inside the archive.
        ids_path: a file of id pairs that select rows by their 2nd and 3rd column (MRPC's dev set).
        keep_ids: whether the rows with these ids are kept, or the others.
    """

    path: str
    member: str | None = None
    ids_path: str | None = None
    keep_ids: bool = False


def _glue_splits(
    rows: tuple[int, int, int],
    inputs: tuple[int, ...],
    label: int,
    *,
    test_inputs: tuple[int, ...] | None = None,
    **kwargs: Any,
) -> dict[str, Split]:
    """Return train, valid and test of a GLUE task; `kwargs` hold for train and valid."""
    labelled = {
        split: Split(file=file, input_columns=inputs, label_column=label, expected_rows=count, **kwargs)
        for split, file, count in (("train", "train.tsv", rows[0]), ("valid", "dev.tsv", rows[1]))
    }
    return {**labelled, "test": Split(file="test.tsv", input_columns=test_inputs or inputs, expected_rows=rows[2])}


def _glue(name: str, *, archive: str | None = None, **kwargs: Any) -> Task:
    """Return a GLUE task, whose files lie in the folder of its name."""
    return Task(
        name=name,
        folder=f"glue/{name}",
        downloads=kwargs.pop("downloads", (f"glue/{archive or name}.zip",)),
        archive_folder=name,
        num_sentences=kwargs.pop("num_sentences", 2),
        **kwargs,
    )


def _selection(selection: AnswerSelection) -> dict[str, Any]:
    """Return what follows for a task from its form of answer selection."""
    return {
        "selection": selection,
        "num_sentences": 1 + selection.num_candidates,
        "labels": tuple(str(number + 1) for number in range(selection.num_candidates)),
    }


_MNLI_PAIR = (9, 10)
_ENTAILMENT = ("entailment", "not_entailment")
_INFERENCE = ("entailment", "neutral", "contradiction")

_SNLI_COLUMNS: dict[str, Any] = {"input_columns": ("sentence1", "sentence2"), "label_column": "gold_label"}

_ALL_TASKS = (
    _glue(
        "CoLA",
        num_sentences=1,
        metrics=("matthews",),
        labels=("0", "1"),
        splits=_glue_splits((8551, 1043, 1063), (4,), 2, test_inputs=(2,), header=False),
        learning_rate=1e-5,
        batch_size=16,
        num_updates=5336,
        warmup_updates=320,
    ),
    _glue(
        "SST-2",
        num_sentences=1,
        metrics=("accuracy",),
        labels=("0", "1"),
        splits=_glue_splits((67349, 872, 1821), (1,), 2, test_inputs=(2,)),
        learning_rate=1e-5,
        batch_size=32,
        num_updates=20935,
        warmup_updates=1256,
    ),
    _glue(
        "MRPC",
        metrics=("accuracy", "f1"),
        labels=("0", "1"),
        splits=_glue_splits((3668, 408, 1725), (4, 5), 1),
        downloads=("glue/MRPC/msr_paraphrase_train.txt", "glue/MRPC/msr_paraphrase_test.txt", "glue/MRPC/dev_ids.tsv"),
        learning_rate=1e-5,
        batch_size=16,
        num_updates=2296,
        warmup_updates=137,
    ),
    _glue(
        "QQP",
        archive="QQP-clean",
        metrics=("accuracy", "f1"),
        labels=("0", "1"),
        splits=_glue_splits((363846, 40430, 390965), (4, 5), 6, test_inputs=(2, 3), num_fields=6),
        learning_rate=1e-5,
        batch_size=32,
        num_updates=113272,
        warmup_updates=28318,
    ),
    _glue(
        "STS-B",
        metrics=("pearson", "spearman"),
        labels=None,
        splits=_glue_splits((5749, 1500, 1379), (8, 9), 10),
        score_scale=5.0,
        learning_rate=2e-5,
        batch_size=16,
        num_updates=3598,
        warmup_updates=214,
        best_metric="loss",
    ),
    _glue(
        "MNLI",
        metrics=("accuracy",),
        labels=_INFERENCE,
        splits={
            "train": Split(file="train.tsv", input_columns=_MNLI_PAIR, label_column=12, expected_rows=392702),
            "valid": Split(file="dev_matched.tsv", input_columns=_MNLI_PAIR, label_column=16, expected_rows=9815),
            "valid1": Split(file="dev_mismatched.tsv", input_columns=_MNLI_PAIR, label_column=16, expected_rows=9832),
            "test": Split(file="test_matched.tsv", input_columns=_MNLI_PAIR, expected_rows=9796),
            "test1": Split(file="test_mismatched.tsv", input_columns=_MNLI_PAIR, expected_rows=9847),
        },
        learning_rate=1e-5,
        batch_size=32,
        num_updates=123873,
        warmup_updates=7432,
    ),
    _glue(
        "QNLI",
        archive="QNLIv2",
        metrics=("accuracy",),
        labels=_ENTAILMENT,
        splits=_glue_splits((104743, 5463, 5463), (2, 3), 4),
        learning_rate=1e-5,
        batch_size=32,
        num_updates=33112,
        warmup_updates=1986,
    ),
    _glue(
        "RTE",
        metrics=("accuracy",),
        labels=_ENTAILMENT,
        splits=_glue_splits((2490, 277, 3000), (2, 3), 4),
        learning_rate=2e-5,
        batch_size=16,
        num_updates=2036,
        warmup_updates=122,
    ),
    # ASSUME: QNLI's rows of one question are its candidates. Most questions have one or two rows, so sentences of other
    # questions make them 8; questions without one right candidate are left out. The test set's labels are not public.
    Task(
        name="QNLI-answers",
        folder="glue/QNLI",
        downloads=("glue/QNLIv2.zip",),
        archive_folder="QNLI",
        metrics=RANKING_METRICS,
        splits={split: value for split, value in _glue_splits((104743, 5463, 0), (2, 3), 4).items() if split != "test"},
        **_selection(
            AnswerSelection(
                num_candidates=8, row_labels=_ENTAILMENT, right_label="entailment", fill=True, drop_unusable=True
            )
        ),
        learning_rate=1e-5,
        batch_size=32,
        in_average=False,
    ),
    # no settings were published for WNLI and SNLI: RTE's and MNLI's, with 10 epochs of updates and 6 % of warm-up
    _glue(
        "WNLI",
        metrics=("accuracy",),
        labels=("0", "1"),
        splits=_glue_splits((635, 71, 146), (2, 3), 4),
        learning_rate=2e-5,
        batch_size=16,
        num_updates=397,
        warmup_updates=24,
        in_average=False,
    ),
    Task(
        name="SNLI",
        metrics=("accuracy",),
        labels=_INFERENCE,
        num_sentences=2,
        splits={
            "train": Split(file="snli_1.0_train.txt", expected_rows=550152, **_SNLI_COLUMNS),
            "valid": Split(file="snli_1.0_dev.txt", expected_rows=10000, **_SNLI_COLUMNS),
            "test": Split(file="snli_1.0_test.txt", expected_rows=10000, **_SNLI_COLUMNS),
        },
        folder="snli_1.0",
        downloads=("snli_1.0.zip",),
        archive_folder="snli_1.0",
        ignored_labels=("-",),  # the annotators did not agree
        learning_rate=1e-5,
        batch_size=32,
        num_updates=171677,
        warmup_updates=10301,
        in_average=False,  # no GLUE task
    ),
    Task(
        name="demo-match",
        metrics=("accuracy",),
        labels=_ENTAILMENT,
        num_sentences=2,
        splits={
            "train": Split(file="train.tsv", input_columns=(2, 3), label_column=4),
            "valid": Split(file="dev.tsv", input_columns=(2, 3), label_column=4),
            "test": Split(file="test.tsv", input_columns=(2, 3)),
        },
        learning_rate=5e-4,
    ),
    Task(
        name="demo-overlap",
        metrics=("pearson", "spearman"),
        labels=None,
        num_sentences=2,
        splits={
            "train": Split(file="train.tsv", input_columns=(8, 9), label_column=10),
            "valid": Split(file="dev.tsv", input_columns=(8, 9), label_column=10),
            "test": Split(file="test.tsv", input_columns=(8, 9)),
        },
        score_scale=5.0,
        learning_rate=5e-4,
        best_metric="loss",
    ),
    Task(
        name="demo-job",
        metrics=("accuracy",),
        labels=("0", "1"),
        num_sentences=1,
        splits={
            "train": Split(file="train.tsv", input_columns=(1,), label_column=2),
            "valid": Split(file="dev.tsv", input_columns=(1,), label_column=2),
            "test": Split(file="test.tsv", input_columns=(2,)),
        },
        learning_rate=5e-4,
    ),
    Task(
        name="demo-answer",
        metrics=RANKING_METRICS,
        splits={
            "train": Split(file="train.tsv", input_columns=(2, 3, 4, 5, 6), label_column=7),
            "valid": Split(file="dev.tsv", input_columns=(2, 3, 4, 5, 6), label_column=7),
            "test": Split(file="test.tsv", input_columns=(2, 3, 4, 5, 6)),
        },
        **_selection(AnswerSelection(num_candidates=4)),
        learning_rate=7e-4,
        batch_size=16,
    ),
)

TASKS: dict[str, Task] = {task.name: task for task in _ALL_TASKS}

# pairs without labels, for embeddings alone
PAIRS: dict[str, Task] = {
    "demo-find": Task(
        name="demo-find",
        metrics=(),
        labels=None,
        num_sentences=2,
        splits={"valid": Split(file="pairs.tsv", input_columns=(1, 2))},
    )
}


def is_demo(task: Task) -> bool:
    """Whether the task's files are generated."""
    return task.folder is None and task.name in TASKS | PAIRS


def is_own(task: Task) -> bool:
    """Whether the task is one that the config describes."""
    return task.name not in TASKS | PAIRS


def task_from_config(name: str, entry: Mapping[str, Any] | None, *, section: str = "tasks") -> Task:
    """Return a task of the registry, or one that the config describes wholly (an entry with `files`).

    Args:
        name: the task's key in the config.
        entry: its value: fine-tuning settings that replace the defaults, `check_rows: false` to accept files with other
            row counts than the published ones, and for a task of one's own `files` ({train, valid, test} to paths),
            `header`, `input_columns`, `label_column`, `labels` (null: regression), `metrics`, `score_scale`, and for
            answer selection `right_label`, `num_candidates`, `fill_candidates`.
        section: the config's key that the entry stands under. Under `embedding_tasks`, a task of one's own needs no
            train file and no labels, and those of its test file are read.

    Raises:
        UserError: if the task is unknown or its description is incomplete or contradicts itself.
    """
    entry = dict(entry or {})
    place = f"{section}.{name}"
    known = TASKS if section == "tasks" else TASKS | PAIRS
    if "files" in entry:
        task = _own_task(name, entry, section=section)
    elif name in known:
        task = known[name]
        changeable = {"num_candidates"} if task.selection and task.selection.right_label else set()
        misplaced = sorted(set(entry) & set(OWN_TASK_KEYS) - changeable)
        if misplaced:
            raise UserError(f"{place}.{misplaced[0]} belongs to a task of your own, which also needs `files`")
        if task.selection and "num_candidates" in entry:
            task = replace(task, **_selection(replace(task.selection, num_candidates=entry["num_candidates"])))
    else:
        raise UserError(
            f"{place} is unknown: choose from {', '.join(known)}, or describe a task of your own with `files`"
        )
    if entry.get("check_rows") is False:
        splits = {split: replace(value, expected_rows=None) for split, value in task.splits.items()}
        task = replace(task, splits=splits)
    return replace(task, **{key: entry[key] for key in OVERRIDABLE if entry.get(key) is not None})


def tasks_of(entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Task]:
    """Return the tasks to fine-tune on, by name; `entries` is the config's `tasks`."""
    return {name: task_from_config(name, entry) for name, entry in entries.items()}


def embedding_tasks_of(config: Mapping[str, Any]) -> dict[str, EmbeddingTask]:
    """Return the tasks that embeddings are evaluated on, by name; `config` is the effective config."""
    return {name: embedding_task_from_config(name, config) for name in config["embedding_tasks"]}


def finetuning_settings(task: Task, config: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's settings: its defaults, over them those for all tasks, over them its own entry's.

    Args:
        task: as `task_from_config` returns it.
        config: `finetuning` of the effective config.
        entry: the task's.

    Returns:
        The settings. `num_updates` and `warmup_updates` are None where the config says nothing of them and the
        published ones would not fit: they are for 10 epochs of all examples in batches of the published size.
    """
    given = {"learning_rate": task.learning_rate, "batch_size": task.batch_size, **config, **entry}
    schedule: dict[str, Any] = {"num_updates": None, "warmup_updates": None}
    if (
        given["num_epochs"] == PUBLISHED_EPOCHS
        and given["batch_size"] == task.batch_size
        and not {"max_train_examples", "num_updates"} & set(given)
    ):
        schedule = {"num_updates": task.num_updates, "warmup_updates": task.warmup_updates}
    return schedule | given


def _own_task(name: str, entry: Mapping[str, Any], *, section: str) -> Task:
    """Return the task that a config entry describes."""
    place, is_learnt = f"{section}.{name}", section == "tasks"
    if name in TASKS | PAIRS:
        raise UserError(f"{place} has files of its own, but {name} is a known task: choose another name for yours")
    files = {split: path for split, path in entry["files"].items() if path is not None}
    for required in ("train", "valid") if is_learnt else ():
        if required not in files:
            raise UserError(f"{place}.files lacks `{required}`: give a path for train and for valid")
    columns = tuple(entry.get("input_columns") or ())
    if not columns:
        raise UserError(f"{place}.input_columns is missing: name the columns of the sentences")
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise UserError(f"{place}.input_columns names the column {twice!r} twice: name a column for each sentence")
    label_column = entry.get("label_column")
    if label_column is None and is_learnt:
        raise UserError(f"{place}.label_column is missing: name the column of the label")
    if label_column is not None and label_column in columns:
        raise UserError(f"{place}.label_column {label_column!r} is one of input_columns: name the label's own")
    header = bool(entry.get("header", True))
    named = [column for column in (*columns, label_column) if isinstance(column, str)]
    if named and not header:
        raise UserError(f"{place} names the column {named[0]!r} but has `header: false`: give its number")
    labels = entry.get("labels")
    if labels is not None:
        labels = _checked_labels(place, labels)
    selection = _own_selection(place, entry, columns, labels)
    form = {"labels": labels, "num_sentences": len(columns)} if selection is None else _selection(selection)
    allowed = RANKING_METRICS if selection else CLASS_METRICS if labels else SCORE_METRICS
    metrics = tuple(entry.get("metrics") or (("accuracy",) if allowed == CLASS_METRICS else allowed))
    for metric in metrics:
        if metric not in allowed:
            raise UserError(f"{place}.metrics has {metric!r}: choose from {', '.join(allowed)} for such labels")
        if metric == "f1" and labels is not None and len(labels) > 2:
            raise UserError(
                f"{place}.metrics has 'f1', which is for two labels, not {len(labels)}: choose accuracy or matthews"
            )
    return Task(
        name=name,
        metrics=metrics,
        splits={
            split: Split(
                file=path,
                input_columns=columns,
                label_column=None if split.startswith("test") and is_learnt else label_column,
                header=header,
            )
            for split, path in files.items()
        },
        score_scale=float(entry.get("score_scale") or 1.0),
        best_metric="loss" if allowed == SCORE_METRICS else "accuracy",
        **form,
    )


def _own_selection(
    place: str, entry: Mapping[str, Any], columns: Sequence[Column], labels: tuple[str, ...] | None
) -> AnswerSelection | None:
    """Return the form of answer selection that a config entry describes; None if it describes no such task.

    With `right_label`, a row has a question, a candidate and whether it is right; with three columns or more, a
    question with all its candidates and the number of the right one.
    """
    right_label, num_candidates = entry.get("right_label"), entry.get("num_candidates")
    if right_label is None:
        for key in ("num_candidates", "fill_candidates"):
            if key in entry:
                raise UserError(f"{place}.{key} needs `right_label`, the label of a question's right candidate")
        if len(columns) <= 2:
            return None
        if labels is not None:
            raise UserError(
                f"{place}.labels is of no use with {len(columns)} input_columns, a question and its candidates: "
                "the label is the number of the right one; leave it out"
            )
        return AnswerSelection(num_candidates=len(columns) - 1)
    if len(columns) != 2:
        raise UserError(f"{place}.input_columns names {len(columns)} columns: give question and candidate")
    if right_label not in (labels or ()):
        raise UserError(f"{place}.right_label is {right_label!r}, which is none of its labels: list it there too")
    if num_candidates is None:
        raise UserError(f"{place}.num_candidates is missing: give the most candidates that a question has")
    return AnswerSelection(
        num_candidates=num_candidates,
        row_labels=labels,
        right_label=right_label,
        fill=bool(entry.get("fill_candidates")),
    )


def _checked_labels(place: str, labels: Sequence[Any]) -> tuple[str, ...]:
    """Return the labels as strings, or say what is wrong with them."""
    texts = tuple(str(label) for label in labels)
    if len(texts) < 2 or len(set(texts)) < len(texts):
        raise UserError(f"{place}.labels {list(texts)} must be two or more different labels, or null for regression")
    for text in texts:
        if text != text.strip() or not text or "\t" in text or "\n" in text or text in RESERVED_LABELS:
            raise UserError(f"{place}.labels has {text!r}, which cannot be a label: rename it in files and config")
    return texts


def embedding_task_from_config(name: str, config: Mapping[str, Any]) -> EmbeddingTask:
    """Return a task that embeddings are evaluated on.

    Args:
        name: a key of the config's `embedding_tasks`. What is a key of `tasks` as well has its files from there.
        config: the effective config.

    Returns:
        The task; scores make it a similarity, labels a retrieval of the pairs with `positive_label` (by default
        `entailment` or `1`), and no labels a retrieval of all pairs.

    Raises:
        UserError: if the task is unknown or incomplete, has single sentences, or no such positive label.
    """
    entry, place = config["embedding_tasks"][name], f"embedding_tasks.{name}"
    section = "tasks" if name in config["tasks"] else "embedding_tasks"
    task = task_from_config(name, config[section][name], section=section)
    if task.num_sentences != 2:
        kind = "several candidates for a question" if task.selection else "single sentences"
        raise UserError(f"{place} has {kind}: similarity and retrieval need a task of sentence pairs")
    positive_label = entry.get("positive_label")
    labelled = tuple(split for split, file in task.splits.items() if split != "train" and file.label_column is not None)
    if task.labels is None:
        if positive_label is not None:
            raise UserError(f"{place}.positive_label is {positive_label!r}, but the task has no labels: leave it out")
        if labelled:
            return EmbeddingTask(name=name, evaluation=SIMILARITY, splits=labelled)
        return EmbeddingTask(name=name, evaluation=RETRIEVAL, splits=tuple(task.splits))
    if not labelled:
        raise UserError(f"{place}.labels is set without `label_column`: name the column of the label")
    if positive_label is None:
        positive_label = next((label for label in ("entailment", "1") if label in task.labels), None)
    if positive_label not in task.labels:
        raise UserError(
            f"{place}.positive_label is {positive_label!r}: choose from {', '.join(task.labels)} the label of the "
            "pairs that belong together"
        )
    return EmbeddingTask(name=name, evaluation=RETRIEVAL, splits=labelled, positive_label=positive_label)


def own_or_download(name: str, *, data_dir: str | None, downloads_dir: str = "results/downloads") -> str:
    """Return the path of a file of `resources/downloads.tsv`: one's own under `data_dir` if it is there."""
    if data_dir is not None and Path(data_dir, name).is_file():
        return str(Path(data_dir, name))
    return f"{downloads_dir}/{name}"


def raw_files(task: Task, *, data_dir: str | None, downloads_dir: str = "results/downloads") -> dict[str, RawFile]:
    """Return where each split of a task is read from, by split; one's own files under `data_dir` go first."""
    if is_demo(task):
        return {
            name: RawFile(path=f"{downloads_dir}/demo/{task.name}/{split.file}") for name, split in task.splits.items()
        }
    if task.folder is None:
        return {name: RawFile(path=split.file) for name, split in task.splits.items()}
    sources = [own_or_download(source, data_dir=data_dir, downloads_dir=downloads_dir) for source in task.downloads]
    if task.name == "MRPC":
        train_and_dev, test, dev_ids = sources
        published = {
            # GLUE cut its dev set out of the published train set, by ids
            "train": RawFile(path=train_and_dev, ids_path=dev_ids, keep_ids=False),
            "valid": RawFile(path=train_and_dev, ids_path=dev_ids, keep_ids=True),
            "test": RawFile(path=test),
        }
    else:
        published = {
            name: RawFile(path=sources[0], member=f"{task.archive_folder}/{split.file}")
            for name, split in task.splits.items()
        }
    return {name: _own_file(task, split, data_dir) or published[name] for name, split in task.splits.items()}


def _own_file(task: Task, split: Split, data_dir: str | None) -> RawFile | None:
    """Return the split's own file under `data_dir` if it is there."""
    if data_dir is None:
        return None
    folder = Path(data_dir, task.folder or "")
    # MRPC's cut files are made by everybody's own script, and copies that lack a row are about: the sources go first
    if task.name == "MRPC" and all(Path(data_dir, name).is_file() for name in task.downloads):
        return None
    return RawFile(path=str(folder / split.file)) if (folder / split.file).is_file() else None
