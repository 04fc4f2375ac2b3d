"""Raw files become a prepared task: GLUE's, SNLI's, and one's own."""

import logging
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from cross_thought.data.answers import questions_of
from cross_thought.data.definitions import STS, Task
from cross_thought.data.prepared import SUMMARY, Example, write_prepared
from cross_thought.data.question_files import QUESTION_FORMS, read_questions
from cross_thought.data.raw_files import RawFile
from cross_thought.data.readers import read_table
from cross_thought.data.sts_files import part_name, read_sts
from cross_thought.data.task_rows import SplitSummary, TaskRow, task_rows
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, write_json

logger = logging.getLogger(__name__)

# ASSUME: one fixed sample of the train set for all seeds, so that the seeds' spread is that of training alone
SAMPLE_SEED = 1

_RARE = ("parts", "in_train", "unlabelled", "labels_without")  # of a summary: not written where there are none


def read_split(task: Task, split_name: str, raw_file: RawFile) -> tuple[list[Example], SplitSummary]:
    """Read one split of a task, a key of `task.splits`.

    Returns:
        The examples in file order, without malformed rows and rows of an ignored label, and what became of the rows. In
        answer selection, the questions, which may have as many sentences each as their candidates are.

    Raises:
        UserError: if a row lacks a column, a label is not one of the task's, the number of rows is not as published, a
            file under `header: true` has none, or a question is not fit for answer selection.
    """
    split = task.splits[split_name]
    summary = SplitSummary(files=list(raw_file.paths))
    rows: list[TaskRow] = []
    for path, member in raw_file.sources:
        if split.format in QUESTION_FORMS:
            questions = None if raw_file.questions_path is None else Path(raw_file.questions_path)
            table = read_questions(Path(path), member=member, form=split.format, questions=questions)
        elif split.format == STS:
            table = read_sts(Path(path), member=member)
        else:
            table = read_table(Path(path), member=member, form=split.format, header=split.header)
        found = list(task_rows(task, split_name, table, raw_file, summary))
        rows += found
        summary.dropped += table.left_out  # by now, all rows have been read
        if split.format == STS:
            _note_part(summary.parts, part_name(member or path), len(found), where=table.where)
    where = raw_file.path if raw_file.member is None else f"{raw_file.path}:{raw_file.member}"
    where += f" and {len(raw_file.sources) - 1} more" if len(raw_file.sources) > 1 else ""
    _log_rows(task, split_name, summary, where)
    if split.expected_rows is not None and summary.rows != split.expected_rows:
        raise UserError(
            f"{where} has {summary.rows} rows where {task.name}'s published {split_name} has {split.expected_rows}: "
            f"fetch the file again, or set tasks.{task.name}.check_rows to false if yours differs on purpose"
        )
    _check_all_or_no_labels(rows)
    if rows and not rows[0].label and split.label_column is not None:
        logger.info("%s %s: no labels in column %r, so not scored", task.name, split_name, split.label_column)
        summary.unlabelled = len(rows)
    if task.selection is None:
        examples = [Example(row.label, row.sentences) for row in rows]
    else:
        questions_found = questions_of(rows, task=task.name, selection=task.selection, split=split_name)
        examples, summary.questions = questions_found.examples, questions_found.notes
        summary.dropped += questions_found.dropped
    if not examples:
        raise UserError(f"{where} has no rows: {task.name} needs a filled {split_name} file")
    summary.examples = len(examples)
    return examples, summary


def _note_part(parts: dict[str, int], name: str, number: int, *, where: str) -> None:
    """Note how many rows a part of a split has, which must be others than those before it, and not none."""
    if name in parts:
        raise UserError(f"{where}: a second part {name!r} of one split; make each year's files a task of their own")
    if not number:
        raise UserError(f"{where} has no pairs with a score; fetch it again, or take it out")
    parts[name] = number


def _log_rows(task: Task, split_name: str, summary: SplitSummary, where: str) -> None:
    """Say in the log what became of a split's rows."""
    counts = {f"{reason}, left out": count for reason, count in summary.dropped.items()}
    counts |= {"with an empty sentence": summary.empty, "cells with a tab or a line break, now a space": summary.breaks}
    notes = "".join(f"; {count} {what}" for what, count in counts.items() if count)
    logger.info("%s %s: %d rows of %s%s", task.name, split_name, summary.rows, where, notes)
    if summary.quoted:
        logger.warning(
            "%s: %d cells begin and end with a quote and double those inside, as pandas and csv.writer write them; "
            "they are text here: set `format: quoted-tsv` to read what was meant",
            where,
            summary.quoted,
        )


def _check_all_or_no_labels(rows: Sequence[TaskRow]) -> None:
    """Refuse a split of which some rows have a label."""
    if any(row.label for row in rows):
        lacking = next((row for row in rows if not row.label), None)
        if lacking is not None:
            raise UserError(f"{lacking.place}: no label, where other rows have one; label all of them, or none")


def _check_classes(task: Task, examples: Sequence[Example], *, where: str) -> None:
    """Refuse to train on examples that lack a class."""
    present = {example.label for example in examples}
    missing = [label for label in task.labels or () if label not in present]
    if missing:
        raise UserError(
            f"{where}: none of the {len(examples)} rows to train on has the label {missing[0]!r}; add such rows, raise "
            f"tasks.{task.name}.max_train_examples, or take the label out of the task's labels"
        )


def _label_figures(task: Task, examples: Sequence[Example]) -> dict[str, float]:
    """Return the examples with each label, of scores the lowest, the mean and the highest; nothing where unknown."""
    labels = [example.label for example in examples if example.label]
    if not labels:
        return {}
    if task.labels is None:
        scores = [float(label) for label in labels]
        return {"min": min(scores), "mean": fmean(scores), "max": max(scores)}
    if task.selection is not None:
        numbers = Counter(number for label in labels for number in label.split())
        return {number: numbers[number] for number in sorted(numbers, key=int)}
    counts = Counter(labels)
    return {label: counts[label] for label in task.labels}


def _count_in_train(task: Task, splits: Mapping[str, tuple[list[Example], SplitSummary]]) -> None:
    """Count, and say in the log, the examples of other splits that train has as well, whatever their labels."""

    def texts(example: Example) -> tuple[str, ...]:
        # of answer selection the question, for its candidates stand in another order in each split
        return tuple(map(str.strip, example.sentences if task.selection is None else example.sentences[:1]))

    trained_on = set(map(texts, splits["train"][0])) if "train" in splits else set()
    for split_name, (examples, summary) in splits.items():
        if split_name == "train":
            continue
        summary.in_train = sum(texts(example) in trained_on for example in examples)
        if summary.in_train:
            logger.warning(
                "%s %s: %d of %d examples stand in train, too", task.name, split_name, summary.in_train, len(examples)
            )


def _with_as_many(examples: Sequence[Example], num_sentences: int) -> list[Example]:
    """Return questions with empty candidates to as many sentences as another split has."""
    return [
        example._replace(sentences=example.sentences + ("",) * (num_sentences - len(example.sentences)))
        for example in examples
    ]


def prepare_task(
    task: Task, raw: Mapping[str, RawFile], output_dir: Path, *, max_train_examples: int | None = None
) -> dict[str, int]:
    """Write a task's splits as `prepared.py` describes, with a summary of what became of the rows.

    With `max_train_examples`, train is a random sample of so many rows, in file order; the same one each time.

    Returns:
        The number of rows written, by split.

    Raises:
        UserError: as `read_split`.
    """
    splits = {}
    for split_name in task.splits:
        examples, summary = read_split(task, split_name, raw[split_name])
        if split_name == "train" and max_train_examples is not None and max_train_examples < len(examples):
            kept = sorted(random.Random(SAMPLE_SEED).sample(range(len(examples)), max_train_examples))
            logger.info("%s train: a sample of %d of %d rows", task.name, len(kept), len(examples))
            examples = [examples[index] for index in kept]
        if split_name == "train" and task.selection is None:
            _check_classes(task, examples, where=raw[split_name].path)
        splits[split_name] = examples, summary
    _count_in_train(task, splits)
    num_sentences = max(len(example.sentences) for examples, _ in splits.values() for example in examples)
    with atomic_directory(output_dir) as folder:
        for split_name, (examples, summary) in splits.items():
            write_prepared(folder / f"{split_name}.tsv", _with_as_many(examples, num_sentences))
            summary.used = len(examples)
            summary.labels = _label_figures(task, examples)
            if task.labels and task.selection is None:
                summary.labels_without = list(summary.labels.values()).count(0)
        write_json(
            folder / SUMMARY,
            {
                split: {
                    key: value
                    for key, value in vars(summary).items()
                    if (key != "questions" or task.selection) and (value or key not in _RARE)
                }
                for split, (_, summary) in splits.items()
            },
        )
    return {split: summary.used for split, (_, summary) in splits.items()}
