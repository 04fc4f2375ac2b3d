"""Readers for the tab-separated files of GLUE, SNLI and tasks of one's own.

No quoting: a `"` is text. Only `\\n` ends a line, so that a stray `\\r` or U+2028 inside a sentence splits no row.
"""

import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cross_thought.data.answers import CandidateRow, check_question, group_candidates
from cross_thought.data.tasks import Column, RawFile, Split, Task, is_own
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, read_lines

logger = logging.getLogger(__name__)

# ASSUME: one fixed sample of the train set for all seeds, so that the seeds' spread is that of training alone
SAMPLE_SEED = 1


class Example(NamedTuple):
    """A row of a task: the label as text (empty where unknown), and its sentences.

    In answer selection, the number of the right candidate, from 1; the question, and its candidates.
    """

    label: str
    sentences: tuple[str, ...]


def read_split(task: Task, split_name: str, raw_file: RawFile) -> list[Example]:
    """Read one split of a task.

    Args:
        task: the task.
        split_name: a key of `task.splits`.
        raw_file: where its rows are.

    Returns:
        The examples in file order, without malformed rows and rows of an ignored label. In answer selection with a
        row for each candidate, the questions.

    Raises:
        UserError: if a row lacks a column, a label is not one of the task's, the number of rows is not as published, or
            a question is not fit for answer selection.
    """
    split = task.splits[split_name]
    where = raw_file.path if raw_file.member is None else f"{raw_file.path}:{raw_file.member}"
    lines = enumerate(read_lines(Path(raw_file.path), member=raw_file.member), start=1)
    num_fields = None  # of the first line, which all of a file of one's own must have; published ones are as they are
    names: Sequence[str] = ()
    if split.header:
        names = next(lines, (0, ""))[1].removesuffix("\r").split("\t")
    inputs = [_column_index(column, names, where=where) for column in split.input_columns]
    label_index = None if split.label_column is None else _column_index(split.label_column, names, where=where)
    ids = None if raw_file.ids_path is None else _read_ids(raw_file.ids_path)

    examples: list[Example] = []
    candidate_rows: list[CandidateRow] = []
    selection = task.selection
    has_candidate_rows = selection is not None and selection.right_label is not None
    num_rows = num_malformed = num_ignored = num_empty = 0
    for line_number, line in lines:
        # a file with Windows line ends: that \r belongs to the line end
        fields = line.removesuffix("\r").split("\t")
        if split.num_fields is not None and len(fields) != split.num_fields:
            num_malformed += 1
            continue
        if ids is not None and (tuple(fields[1:3]) in ids) != raw_file.keep_ids:
            continue
        num_rows += 1
        num_fields = num_fields or len(names) or len(fields)
        if is_own(task) and split.num_fields is None and len(fields) != num_fields:
            raise UserError(
                f"{where}, line {line_number}: {len(fields)} fields where line 1 has {num_fields}; mend the row: is it "
                "cut, or is there a tab in a sentence?"
            )
        try:
            sentences = tuple(fields[index] for index in inputs)
            label = "" if label_index is None else fields[label_index]
        except IndexError as error:
            raise UserError(
                f"{where}, line {line_number}: {len(fields)} fields where columns {_columns_text(split)} are needed; "
                "mend the row or the task's columns"
            ) from error
        if label in task.ignored_labels:
            num_ignored += 1
            continue
        if label_index is not None:
            _check_label(label, task, where=where, line_number=line_number)
        if has_candidate_rows:
            candidate_rows.append(CandidateRow(line_number, label, *sentences))
            continue
        if selection is not None:
            check_question(sentences, label, where=f"{where}, line {line_number}")
        else:
            num_empty += not all(map(str.strip, sentences))
        examples.append(Example(label, sentences))

    counts = {
        "malformed, left out": num_malformed,
        "without an agreed label, left out": num_ignored,
        "with an empty sentence": num_empty,
    }
    notes = "".join(f"; {count} {what}" for what, count in counts.items() if count)
    logger.info("%s %s: %d rows of %s%s", task.name, split_name, num_rows, where, notes)
    if split.expected_rows is not None and num_rows != split.expected_rows:
        raise UserError(
            f"{where} has {num_rows} rows where {task.name}'s published {split_name} has {split.expected_rows}: "
            f"fetch the file again, or set tasks.{task.name}.check_rows to false if yours differs on purpose"
        )
    if selection is not None and has_candidate_rows:
        questions = group_candidates(candidate_rows, task=task.name, selection=selection, split=split_name, where=where)
        examples = [Example(*question) for question in questions]
    if not examples:
        raise UserError(f"{where} has no rows: {task.name} needs a filled {split_name} file")
    return examples


def _column_index(column: Column, names: Sequence[str], *, where: str) -> int:
    """Return the 0-based place of a column."""
    if isinstance(column, int):
        return column - 1
    if column not in names:
        raise UserError(
            f"{where}, line 1: no column {column!r} among {', '.join(names)}; mend the header or the task's columns"
        )
    return names.index(column)


def _columns_text(split: Split) -> str:
    """Name the columns that a row must have."""
    columns = (*split.input_columns, *(() if split.label_column is None else (split.label_column,)))
    return ", ".join(map(str, columns))


def _check_label(label: str, task: Task, *, where: str, line_number: int) -> None:
    """Refuse a label that is not the task's."""
    if task.file_labels is not None:
        if label not in task.file_labels:
            raise UserError(
                f"{where}, line {line_number}: label {label!r} is none of {task.name}'s {', '.join(task.file_labels)}; "
                "mend the row or the task's labels"
            )
        return
    try:
        finite = abs(float(label)) < float("inf")
    except ValueError:
        finite = False
    if not finite:
        raise UserError(
            f"{where}, line {line_number}: score {label!r} is not a number, which {task.name} needs; mend the row"
        )


def _check_classes(task: Task, examples: Sequence[Example], *, where: str) -> None:
    """Refuse to train on examples that lack a class."""
    present = {example.label for example in examples}
    missing = [label for label in task.labels or () if label not in present]
    if missing:
        raise UserError(
            f"{where}: none of the {len(examples)} rows to train on has the label {missing[0]!r}; add such rows, raise "
            f"tasks.{task.name}.max_train_examples, or take the label out of the task's labels"
        )


def _read_ids(path: str) -> set[tuple[str, ...]]:
    """Read MRPC's pairs of sentence ids, one a line."""
    return {tuple(line.removesuffix("\r").split("\t")) for line in read_lines(Path(path))}


def prepare_task(
    task: Task, raw: Mapping[str, RawFile], output_dir: Path, *, max_train_examples: int | None = None
) -> dict[str, int]:
    """Write a task's splits in one plain format: a header line, then `label`, `sentence1`, `sentence2`, ..., by tabs.

    Args:
        task: the task.
        raw: where each split is read from.
        output_dir: folder for `train.tsv`, `valid.tsv`, ...; appears when all of them are written.
        max_train_examples: keep a random sample of this many rows of train, in file order; the same one each time.

    Returns:
        The number of rows written, by split.

    Raises:
        UserError: as `read_split`.
    """
    counts = {}
    with atomic_directory(output_dir) as folder:
        for split_name in task.splits:
            examples = read_split(task, split_name, raw[split_name])
            if split_name == "train" and max_train_examples is not None and max_train_examples < len(examples):
                kept = sorted(random.Random(SAMPLE_SEED).sample(range(len(examples)), max_train_examples))
                logger.info("%s train: a sample of %d of %d rows", task.name, len(kept), len(examples))
                examples = [examples[index] for index in kept]
            if split_name == "train" and task.selection is None:
                _check_classes(task, examples, where=raw[split_name].path)
            write_prepared(folder / f"{split_name}.tsv", examples)
            counts[split_name] = len(examples)
    return counts


def write_prepared(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as a prepared file."""
    columns = ["label", *(f"sentence{number + 1}" for number in range(len(examples[0].sentences)))]
    with open(path, "w", encoding="utf-8", newline="\n") as handle:
        handle.write("\t".join(columns) + "\n")
        handle.writelines("\t".join((example.label, *example.sentences)) + "\n" for example in examples)


def read_prepared(path: Path) -> Iterator[Example]:
    """Yield the examples of a prepared file."""
    lines = read_lines(path)
    next(lines)
    for line in lines:
        label, *sentences = line.split("\t")
        yield Example(label, tuple(sentences))
