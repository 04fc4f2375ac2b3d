"""Rows of sentences out of a file to predict, in the forms of task files, however many there are."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cross_thought.data.definitions import Column
from cross_thought.data.readers import (
    BREAK,
    JSON_LINES,
    TSV,
    NoText,
    Row,
    Table,
    form_hint,
    format_of,
    json_cell,
    json_values,
    read_table,
    refuse_shared,
)
from cross_thought.errors import UserError
from cross_thought.files import read_lines

_CHUNK_BYTES = 1 << 16  # a pipe may be slow
_REMEDY = "name the columns of the sentences (`--columns`, in a config `input_columns`)"


class InputRow(NamedTuple):
    """A row: the file with the line, for messages; and its sentences."""

    place: str
    sentences: tuple[str, ...]


def input_rows(
    path: Path,
    columns: Sequence[Column],
    *,
    member: str | None = None,
    form: str | None = None,
    header: bool = True,
    optional: Collection[Column] = (),
) -> Iterator[InputRow]:
    """Read the sentences of a file's rows as they are asked for, in flat memory but of a Parquet file that is packed.

    Args:
        path: the file, or an archive; `/dev/stdin` for what comes in.
        columns: of the sentences, by number from 1 or by name.
        member: the file inside the archive.
        form: one of `readers.FORMATS`; None: told by the file's ending.
        header: of TSV and CSV, whether the first line names the columns.
        optional: those of the columns that a JSON object may lack, or have null in: they are empty then.

    Yields:
        The rows, from which no label is read. A tab or line break in a cell is a space, as in a task's prepared files.

    Raises:
        UserError: if the file is not there, not UTF-8 or not of that form, or a row lacks a column or has other fields
            than the first, with the line.
    """
    form = form or format_of(member or str(path))
    if form == JSON_LINES:
        return _json_rows(path, member, columns, optional)
    named = next((column for column in columns if isinstance(column, str)), None)
    if named is not None and not header:
        raise UserError(f"the column {named!r} has a name, but the file has no header: give its number")
    table = read_table(path, member=member, form=form, header=header, keep_empty_texts=True, chunk_bytes=_CHUNK_BYTES)
    return _table_rows(table, columns)


def _table_rows(table: Table, columns: Sequence[Column]) -> Iterator[InputRow]:
    """Yield the rows of a table."""
    width = len(table.names)
    for column in columns:
        if isinstance(column, str) and not table.names:
            raise UserError(f"{table.where} is empty: give a file with a header that names {column!r}")
        if isinstance(column, str) and column not in table.names:
            hint = form_hint(table.names) or _REMEDY
            raise UserError(f"{table.where}: no column {column!r} among {', '.join(table.names)}; {hint}")
        if isinstance(column, str) and table.names.count(column) > 1:
            raise UserError(f"{table.where}: several columns are named {column!r}; give the number of the one meant")
    indices = [table.names.index(column) if isinstance(column, str) else column - 1 for column in columns]
    refuse_shared(table.where, columns, indices, remedy=f"{_REMEDY}, one for each")
    for row in table.rows:
        place, cells = f"{table.where}, {table.unit} {row.number}", row.cells
        width = width or len(cells)
        if len(cells) <= max(indices):
            hint = form_hint(cells) or _quoted_hint(table, row) or f"mend the row, or {_REMEDY}"
            raise UserError(f"{place}: {len(cells)} fields where {max(indices) + 1} are needed; {hint}")
        if len(cells) != width:
            hint = _quoted_hint(table, row) or "mend the row: is it cut, or is there a tab in a sentence?"
            raise UserError(f"{place}: {len(cells)} fields where line 1 has {width}; {hint}")
        yield _row(place, [cells[index] for index in indices], columns, is_tsv=table.form == TSV)


def _quoted_hint(table: Table, row: Row) -> str:
    """Say what may be wrong with a row of TSV in which a quote begins; "" if none does."""
    if table.opens_quote(row):
        return "if a quote may hold tabs and line breaks, give it as CSV, or say that its format is quoted-tsv"
    return ""


def _json_rows(
    path: Path, member: str | None, columns: Sequence[Column], optional: Collection[Column]
) -> Iterator[InputRow]:
    """Yield the rows of JSON lines."""
    where = str(path) if member is None else f"{path}:{member}"
    for number, value in json_values(read_lines(path, member=member, chunk_bytes=_CHUNK_BYTES), where):
        place = f"{where}, line {number}"
        cells = [json_cell(_json_value(value, column, optional, place), place) for column in columns]
        yield _row(place, cells, columns, is_tsv=False)


def _json_value(value: dict | list, column: Column, optional: Collection[Column], place: str) -> Any:
    """Return what stands in a column of a line."""
    if isinstance(value, dict):
        if column in optional and value.get(column) is None:
            return ""
        if column not in value:
            raise UserError(f"{place}: no key {column!r} among {', '.join(value)}; {_REMEDY}")
        return value[column]
    if isinstance(column, str):
        raise UserError(f"{place}: a list, whose columns have no names such as {column!r}; {_REMEDY} by numbers")
    if len(value) < column:
        raise UserError(f"{place}: {len(value)} fields where {column} are needed; mend the line, or {_REMEDY}")
    return value[column - 1]


def _row(place: str, cells: Sequence[str | None], columns: Sequence[Column], *, is_tsv: bool) -> InputRow:
    """Return a row, whose cells must have text."""
    for cell, column in zip(cells, columns, strict=True):
        if cell is None or isinstance(cell, NoText):
            raise UserError(f"{place}: column {column!r} has no text; fill it in, or take the row out")
    texts = [cell or "" for cell in cells]
    return InputRow(place, tuple(texts if is_tsv else (BREAK.sub(" ", text) for text in texts)))
