"""Rows of text out of files in the forms that people have: TSV, CSV, JSON lines, Parquet, each plain or packed by gzip.

A cell is text as it stands in the file: `NA`, `1e5`, `007` and spaces are nothing else. Only `\\n` ends a line, so
that a stray `\\r` or U+2028 inside a sentence splits no row. pandas and pyarrow are imported where they are needed:
most files are TSV.
"""

import csv
import io
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from cross_thought.data.definitions import Column
from cross_thought.errors import UserError
from cross_thought.files import CHUNK_BYTES, open_bytes, read_lines
from cross_thought.yaml_text import json_object

TSV, CSV, QUOTED_TSV, JSON_LINES, PARQUET = FORMATS = ("tsv", "csv", "quoted-tsv", "jsonl", "parquet")
_FORMAT_OF_ENDING = {
    ".csv": CSV,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".json": JSON_LINES,
    ".parquet": PARQUET,
    ".pq": PARQUET,
}
_ROWS_AT_ONCE = 10_000

_HALF_PAIR = re.compile(r"[\ud800-\udfff]")
BREAK = re.compile("\r\n|\n|\t")  # what a cell may hold and a prepared file may not


class NoText(str):
    """What stands in a cell and is no text, as a message calls it: an object, a list."""


class Row(NamedTuple):
    """A row: the line that it starts on, of Parquet its number, from 1; and its cells, None where one is not there."""

    number: int
    cells: Sequence[str | None]


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        where: the file, for messages.
        form: one of FORMATS.
        unit: what its rows are numbered by, "line" or "row".
        names: of the columns; none where the file has no header.
        rows: without the header.
        left_out: what was met on the way to these rows that is none, by reason.
    """

    where: str
    form: str
    unit: str
    names: list[str]
    rows: Iterator[Row]
    left_out: Counter[str] = field(default_factory=Counter)

    def index_of(self, column: Column) -> int | None:
        """Return the 0-based place of a column; None if the names lack it."""
        if isinstance(column, int):
            return column - 1
        return self.names.index(column) if column in self.names else None

    def opens_quote(self, row: Row) -> bool:
        """Whether a quote begins in a cell of TSV, where it is text; it may be meant to hold tabs and line breaks."""
        return self.form == TSV and any(cell and cell.startswith('"') for cell in row.cells)


def refuse_shared(where: str, columns: Sequence[Column], indices: Sequence[int], *, remedy: str) -> None:
    """Refuse columns, at these places, of which two are one: the name and the number of it, for example."""
    for index in indices:
        named = [repr(column) for column, place in zip(columns, indices, strict=True) if place == index]
        if len(named) > 1:
            raise UserError(f"{where}: {' and '.join(named)} are one column; {remedy}")


def format_of(path: str) -> str:
    """Return the form that a file's ending tells: TSV, unless it tells another."""
    return _FORMAT_OF_ENDING.get(Path(path.lower().removesuffix(".gz")).suffix, TSV)


def form_hint(cells: Sequence[str | None]) -> str:
    """Say what else a file may be that seems to have one column; "" if it does not look like anything else."""
    text = cells[0] if len(cells) == 1 else None
    if text and text.lstrip().startswith(("{", "[")):
        return "is it JSON lines? set `format: jsonl`, or name it .jsonl"
    if text and text.count(";") > text.count(","):
        return "is it separated by semicolons? save it with commas, as CSV, or with tabs, as TSV"
    if text and "," in text:
        return "is it CSV? set `format: csv`, or name it .csv"
    return ""


def read_table(
    path: Path,
    *,
    member: str | None = None,
    form: str | None = None,
    header: bool = True,
    keep_empty_texts: bool = False,
    chunk_bytes: int = CHUNK_BYTES,
) -> Table:
    """Read a file of rows.

    Args:
        path: a file, or a zip archive.
        member: the file inside the archive.
        form: one of FORMATS; None: told by the file's ending.
        header: of TSV and CSV, whether the first line names the columns.
        keep_empty_texts: of TSV and CSV whose rows have one column, whether empty ones at the end are rows: of TSV an
            empty line, of CSV `""`.
        chunk_bytes: read at once, of text; as many must have come out of a pipe before the first row is there.

    Returns:
        The table, whose rows are read as they are asked for. Of TSV, the last line's `\\n` may be missing, and a line
        may end in `\\r\\n`. Of JSON lines, the columns are all keys as they come up, or places in lists.

    Raises:
        UserError: then or later, if the file is not there, not UTF-8, or not of that form, with the line.
    """
    where = str(path) if member is None else f"{path}:{member}"
    form = form or format_of(where)
    if form == PARQUET:
        return _read_parquet(path, member, where)
    lines = read_lines(path, member=member, chunk_bytes=chunk_bytes)
    if form == JSON_LINES:
        return _read_json_lines(lines, where)
    rows = _tsv_rows(lines) if form == TSV else _quoted_rows(lines, where, "," if form == CSV else "\t")
    rows = _without_empty_end(rows, keep_empty_texts=keep_empty_texts)
    names = [cell or "" for cell in next(rows, Row(1, ())).cells] if header else []
    return Table(where, form, "line", names, rows)


def _without_empty_end(rows: Iterable[Row], *, keep_empty_texts: bool) -> Iterator[Row]:
    """Leave out the empty lines that a file ends in; with `keep_empty_texts`, not those that are rows of one text."""
    empty: list[Row] = []
    width = 0
    for row in rows:
        width = width or len(row.cells)
        is_text = keep_empty_texts and width == 1 and row.cells[0] is not None
        if len(row.cells) == 1 and not row.cells[0] and not is_text:
            empty.append(row)
            continue
        yield from empty
        empty.clear()
        yield row


def _tsv_rows(lines: Iterable[str]) -> Iterator[Row]:
    """Yield rows as GLUE's files have them: no quoting, a `"` is text."""
    for number, line in enumerate(lines, start=1):
        # a file with Windows line ends: that \r belongs to the line end
        yield Row(number, line.removesuffix("\r").split("\t"))


class _CountedLines:
    """Lines as pandas reads them off a file, with the number of those read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self.number = 0

    def __iter__(self) -> "_CountedLines":
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        return line + "\n"

    def readline(self) -> str:
        return next(self, "")

    def read(self, size: int = -1) -> str:
        return "".join(self) if size < 0 else self.readline()


def _quoted_rows(lines: Iterable[str], where: str, separator: str) -> Iterator[Row]:
    """Yield rows of CSV, whose quoted cells may hold separators, line breaks and doubled quotes.

    pandas' C parser would drop what follows a NUL, and fill short rows up without a word: its Python parser does not.
    """
    import pandas

    csv.field_size_limit(sys.maxsize)
    counted = _CountedLines(lines)
    number = 1
    try:
        frames = pandas.read_csv(
            counted,
            sep=separator,
            engine="python",
            header=None,
            dtype=object,
            na_filter=False,
            skip_blank_lines=False,
            chunksize=_ROWS_AT_ONCE,
        )
        for frame in frames:
            for cells in frame.itertuples(index=False, name=None):
                cells = [cell if isinstance(cell, str) else None for cell in cells]
                while len(cells) > 1 and cells[-1] is None:
                    cells.pop()
                yield Row(number, cells)
                number += 1 + sum(cell.count("\n") for cell in cells if cell)
    except pandas.errors.EmptyDataError:
        return
    except (pandas.errors.ParserError, csv.Error) as error:
        reason = " ".join(str(error).split())
        too_many = re.fullmatch(r"Expected (\d+) fields in line (\d+), saw (\d+).*", reason)
        if too_many:  # pandas numbers rows, which may have line breaks in them
            wanted, row, found = too_many.groups()
            raise UserError(f"{where}, row {row}: {found} fields where row 1 has {wanted}; mend the row") from None
        raise UserError(
            f"{where}, line {counted.number}: not to be read as CSV ({reason}); mend the quotes, or set `format`"
        ) from None


def _read_json_lines(lines: Iterable[str], where: str) -> Table:
    """Read an object, or a list, a line; an empty line is none."""
    values = list(json_values(lines, where))
    names = list(dict.fromkeys(name for _, value in values if isinstance(value, dict) for name in value))
    if names and not all(isinstance(value, dict) for _, value in values):
        raise UserError(f"{where} has objects and lists: write either in all lines")

    def rows() -> Iterator[Row]:
        for number, value in values:
            cells = [value.get(name) for name in names] if isinstance(value, dict) else value
            yield Row(number, [json_cell(cell, f"{where}, line {number}") for cell in cells])

    return Table(where, JSON_LINES, "line", names, rows())


def json_values(lines: Iterable[str], where: str) -> Iterator[tuple[int, Any]]:
    """Yield the value of each line that is not empty; numbers stay text."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        once, constant = partial(json_object, place=place), partial(_no_constant, place=place)
        try:
            value = json.loads(line, parse_int=str, parse_float=str, parse_constant=constant, object_pairs_hook=once)
        except (ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{where}, line {number}: not JSON ({reason}); write an object a line, or set `format`"
            ) from None
        if not isinstance(value, dict | list):
            raise UserError(f"{where}, line {number}: {line[:40]!r} is no JSON object; write one a line")
        if isinstance(value, list) and value and isinstance(value[0], dict):
            raise UserError(
                f"{where}, line {number}: a JSON array of objects; write an object a line (jq -c '.[]' OLD > NEW)"
            )
        yield number, value


def json_cell(value: Any, place: str) -> str | None:
    """Return a value as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return NoText("an object" if isinstance(value, dict) else "a list")
    if value is not None and _HALF_PAIR.search(value):
        raise UserError(f"{place}: half a surrogate pair in {value[:40]!r}, which is no character; mend the text")
    return value


def _parquet_source(path: Path, member: str | None) -> Path | io.BytesIO:
    """Return what Arrow reads a Parquet file from: the file, so that it need not be in memory, unless it is packed."""
    with open_bytes(path, member=member) as handle:
        if path.is_file() and isinstance(handle, io.BufferedReader):
            return path
        return io.BytesIO(handle.read())


def _read_parquet(path: Path, member: str | None, where: str) -> Table:
    """Read a Parquet file; numbers become the shortest text that gives them again."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(
            f"{where} is a Parquet file, which needs pyarrow: run `pip install pyarrow`, or save it as CSV"
        ) from None

    def damaged(error: Exception) -> UserError:
        reason = " ".join(str(error).split())
        return UserError(f"{where} is no sound Parquet file ({reason}): make it again, or set `format`")

    faults = (pyarrow.ArrowException, OSError, ValueError)  # as Arrow finds damage
    try:
        file = pyarrow.parquet.ParquetFile(_parquet_source(path, member))
    except faults as error:
        raise damaged(error) from None

    def rows() -> Iterator[Row]:
        number = 1
        batches = file.iter_batches(_ROWS_AT_ONCE)
        while True:
            try:
                batch = next(batches, None)
                columns = [] if batch is None else [_as_text(column) for column in batch.columns]
            except faults as error:
                raise damaged(error) from None
            if batch is None:
                return
            for cells in zip(*columns, strict=True):
                yield Row(number, cells)
                number += 1

    def _as_text(column: Any) -> list[str | None]:
        try:
            return column.cast(pyarrow.string()).to_pylist()
        except (pyarrow.ArrowException, UnicodeDecodeError):  # lists, structures, bytes: no text
            said = NoText(f"of the type {column.type}")
            return [said if is_there else None for is_there in column.is_valid().to_pylist()]

    return Table(where, PARQUET, "row", file.schema_arrow.names, rows())


def _no_constant(name: str, *, place: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python writes and JSON does not have."""
    raise UserError(f"{place}: {name} is no JSON: a cell that was missing? fill it in, or take the row out")


def seems_quoted(cell: str) -> bool:
    """Whether a cell was written with quotes: it begins and ends with one, and doubles those inside."""
    inside = cell[1:-1]
    return cell[:1] == cell[-1:] == '"' and '""' in inside and '"' not in inside.replace('""', "")
