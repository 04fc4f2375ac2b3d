"""What a task needs out of the rows of a file: label and sentences, checked; what is left out is counted."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cross_thought.data.definitions import STS, Column, Split, Task
from cross_thought.data.prepared import NONE_RIGHT
from cross_thought.data.raw_files import RawFile
from cross_thought.data.readers import (
    BREAK,
    CSV,
    JSON_LINES,
    QUOTED_TSV,
    TSV,
    NoText,
    Row,
    Table,
    form_hint,
    refuse_shared,
    seems_quoted,
)
from cross_thought.data.tasks import is_own
from cross_thought.errors import UserError
from cross_thought.files import read_lines

UNLABELLED = "without a label or score"  # why rows are left out

_WITH_HEADER = (TSV, CSV, QUOTED_TSV)  # others name their columns in each row, or in no line


@dataclass
class SplitSummary:
    """What became of the rows of a split's files.

    Attributes:
        files: their paths.
        rows: well-formed rows.
        examples: what they became, before a sample is drawn of train; in answer selection, questions.
        used: what was written.
        dropped: examples that were left out, by reason.
        empty: examples with an empty sentence.
        quoted: cells of a TSV file that begin and end with a quote and double those inside.
        breaks: cells in which a tab or a line break became a space.
        labels: examples written with each label; of scores, the lowest, the mean and the highest.
        parts: of a split of the form STS, how many examples each part has, in the order of the files.
        questions: in answer selection, how many have which oddity, and candidates that were added or left out.
        in_train: of another split than train, examples that train has, too; in answer selection, by their question.
        unlabelled: rows of a test file that has no label in the label's column, or no such column.
        labels_without: of a task of classes, labels that no example has, where others have one.
    """

    files: list[str]
    rows: int = 0
    examples: int = 0
    used: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    empty: int = 0
    quoted: int = 0
    breaks: int = 0
    labels: dict[str, float] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    questions: Counter[str] = field(default_factory=Counter)
    in_train: int = 0
    unlabelled: int = 0
    labels_without: int = 0


class TaskRow(NamedTuple):
    """A row of a task's file.

    Attributes:
        place: the file and the line, for messages.
        label: "" where it is unknown.
        sentences: in the order of the task's columns.
        question_id: of answer selection, what tells the row's question from others; "" where its text does.
    """

    place: str
    label: str
    sentences: tuple[str, ...]
    question_id: str = ""


def task_rows(task: Task, split_name: str, table: Table, raw_file: RawFile, summary: SplitSummary) -> Iterator[TaskRow]:
    """Yield a file's rows but for those that are malformed, have an ignored label or are none of the split's ids.

    `summary` counts what becomes of them.

    Raises:
        UserError: if a row lacks a column, a label is not one of the task's, or the first row is no header.
    """
    split = task.splits[split_name]
    ids = None if raw_file.ids_path is None else _read_ids(raw_file.ids_path)
    rows = iter(table.rows)
    first = next(rows, None)
    width = len(table.names) or len(first.cells if first else ())
    inputs = [_column_index(column, table) for column in split.input_columns]
    label_index = _label_index(split, table, width=width)
    places = inputs if label_index is None else [*inputs, label_index]
    remedy = "name another for each sentence and the label"
    refuse_shared(table.where, _columns(split)[: len(places)], places, remedy=remedy)
    id_index = None if split.question_id_column is None else _column_index(split.question_id_column, table)
    if split.header and table.form in _WITH_HEADER:
        _check_header(task, label_index, table)
    last_index = max(index for index in (*inputs, label_index, id_index) if index is not None)
    must_match = is_own(task) and split.num_fields is None and not task.extra_columns
    for row in chain(() if first is None else (first,), rows):
        cells, place = row.cells, f"{table.where}, {table.unit} {row.number}"
        if split.num_fields is not None and len(cells) != split.num_fields:
            summary.dropped["malformed"] += 1
            continue
        if ids is not None and (tuple(cells[1:3]) in ids) != raw_file.keep_ids:
            continue
        summary.rows += 1
        if must_match and len(cells) != width:
            raise UserError(f"{place}: {_field_count_fault(task, split, row, table, width)}")
        if len(cells) <= last_index:
            hint = form_hint(cells) or "mend the row or the task's columns"
            needed = ", ".join(map(str, _columns(split)))
            raise UserError(f"{place}: {len(cells)} fields where columns {needed} are needed; {hint}")
        label = "" if label_index is None else cells[label_index] or ""
        if isinstance(label, NoText):
            raise UserError(f"{place}: the label is {label}, which is no text; mend the row")
        if label in task.ignored_labels or (table.form == STS and not label):
            summary.dropped[f"labelled {label}" if label else UNLABELLED] += 1
            continue
        label = _checked_label(task, split_name, label, place) if label_index is not None else ""
        found = [None if isinstance(cells[index], NoText) else cells[index] for index in inputs]
        texts = [text for text in found if text is not None]
        if len(texts) < len(inputs):
            lacking = split.input_columns[found.index(None)]
            raise UserError(f"{place}: column {lacking!r} has no text; fill it in, or take the row out")
        if table.form == TSV:
            summary.quoted += sum(map(seems_quoted, texts))
        else:
            summary.breaks += sum(BREAK.search(text) is not None for text in texts)
            texts = [BREAK.sub(" ", text) for text in texts]
        sentences = tuple(texts)
        summary.empty += task.selection is None and not all(map(str.strip, sentences))
        # space around an id does not count, as around a question's text
        question_id = "" if id_index is None else (cells[id_index] or "").strip()
        if id_index is not None and (not question_id or isinstance(cells[id_index], NoText)):
            raise UserError(f"{place}: no question id in column {split.question_id_column!r}; fill it in")
        yield TaskRow(place, label, sentences, question_id)


def _column_index(column: Column, table: Table) -> int:
    """Return the 0-based place of a column."""
    index = table.index_of(column)
    if isinstance(column, int) and table.form == JSON_LINES and table.names:
        raise UserError(
            f"{table.where}: column {column} of objects, whose keys have no order: name it, as one of "
            f"{', '.join(table.names)}"
        )
    place = f"{table.where}, line 1" if table.form in _WITH_HEADER else table.where
    if index is None and not table.names and table.form == JSON_LINES:
        raise UserError(f"{table.where}: lists, whose columns have no names such as {column!r}: give numbers")
    if index is None and not table.names:
        raise UserError(f"{table.where} is empty: give a file with a header that names {column!r}, and rows")
    if index is None:
        hint = form_hint(table.names) or "mend the header or the task's columns"
        raise UserError(f"{place}: no column {column!r} among {', '.join(table.names)}; {hint}")
    if isinstance(column, str) and table.names.count(column) > 1:
        raise UserError(f"{place}: several columns are named {column!r}; give the number of the one meant")
    return index


def _label_index(split: Split, table: Table, *, width: int) -> int | None:
    """Return the place of the label; None if there is none in this file."""
    if split.label_column is None:
        return None
    if split.labels_optional:
        index = table.index_of(split.label_column)
        if index is None or index >= width:
            return None
    return _column_index(split.label_column, table)


def _check_header(task: Task, label_index: int | None, table: Table) -> None:
    """Refuse a first line that is an example."""
    if label_index is None or label_index >= len(table.names):
        return
    value = table.names[label_index]
    known = task.file_labels
    if (value in known or value in (task.no_label, *task.ignored_labels)) if known is not None else _is_number(value):
        raise UserError(
            f"{table.where}, line 1: {value!r} stands where the header should name the label's column, so the line is "
            f"an example; set tasks.{task.name}.header to false, or add a header"
        )


def _field_count_fault(task: Task, split: Split, row: Row, table: Table, width: int) -> str:
    """Say that a row has another number of fields than the first line, and what to do."""
    found = f"{len(row.cells)} fields where line 1 has {width}"
    if hint := form_hint(row.cells):
        return f"{found}; {hint}"
    if table.opens_quote(row):
        return f"{found}; mend the row, or set `format: quoted-tsv` if a quote may hold tabs and line breaks"
    remedy = f"{found}; mend the row: is it cut, or is there a tab in a sentence?"
    if len(row.cells) > width and all((table.index_of(column) or 0) < width for column in _columns(split)):
        remedy += f" If what follows field {width} is of no use, set tasks.{task.name}.extra_columns to true"
    return remedy


def _columns(split: Split) -> tuple[Column, ...]:
    """Return the columns that a row must have."""
    return (*split.input_columns, *(() if split.label_column is None else (split.label_column,)))


def _checked_label(task: Task, split_name: str, label: str, place: str) -> str:
    """Return a label by its name, "" where it is unknown and may be; refuse one that is not the task's."""
    split, known = task.splits[split_name], task.file_labels
    says_none = bool(label) and label == task.no_label
    if (says_none and split_name != "train") or (not label and split.labels_optional):
        return ""
    if known is None:
        if not _is_number(label):
            raise UserError(f"{place}: score {label!r} is not a number, which {task.name} needs; mend the row")
        return label
    if label in known:
        return _named(task, label)
    numbers = label.split()
    is_numbers = task.selection is not None and task.selection.right_label is None and len({*numbers}) == len(numbers)
    if is_numbers and numbers and (label == NONE_RIGHT or {*numbers} <= {*known}):  # none, or several, are right
        return " ".join(numbers)
    remedy = "mend the row or the task's labels"
    if split.labels_optional:
        remedy += f"; for files without labels, set files.{split_name} to {{path: ..., label_column: null}}"
    if len(label) > 2 and label[0] == label[-1] == '"':
        remedy = "is the file quoted? set `format: quoted-tsv`"
    raise UserError(f"{place}: label {label!r} is none of {task.name}'s {', '.join(known)}; {remedy}")


def _named(task: Task, label: str) -> str:
    """Return the name of a label that files may have by its number."""
    names = task.selection.row_labels if task.selection and task.selection.row_labels else task.labels
    return names[int(label)] if names is not None and task.has_numbers else label


def _is_number(text: str) -> bool:
    """Whether a text is a finite number, as everyone writes it."""
    try:
        return "_" not in text and abs(float(text)) < float("inf")
    except ValueError:
        return False


def _read_ids(path: str) -> set[tuple[str, ...]]:
    """Read MRPC's pairs of sentence ids, one a line."""
    return {tuple(line.removesuffix("\r").split("\t")) for line in read_lines(Path(path))}
