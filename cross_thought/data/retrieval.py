"""Collections of passages with queries and judgements, as plain files.

A prepared folder has `passages.ids` and `passages.txt`, `queries.ids` and `queries.txt`, an id or a text a line,
`SPLIT.qrels` as trec_eval reads it, and `summary.json` with what became of the raw files' rows. Queries are those that
a split judges.
"""

import json
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cross_thought.data.definitions import Column, RetrievalTask
from cross_thought.data.input_rows import InputRow, input_rows
from cross_thought.data.prepared import SUMMARY
from cross_thought.data.readers import JSON_LINES, TSV, format_of, json_values, read_table, seems_quoted
from cross_thought.errors import UserError, shown
from cross_thought.files import atomic_directory, read_lines, write_json

logger = logging.getLogger(__name__)

PASSAGES, QUERIES = "passages", "queries"
_TITLE = "title"

# query -> passage -> relevance; right are those above 0
Judgements = dict[str, dict[str, int]]

_QRELS = ("query-id", "corpus-id", "score")  # as BEIR names them


def prepare_collection(task: RetrievalTask, output_dir: Path) -> dict[str, Any]:
    """Write a collection's plain files, in flat memory but for the ids; the folder appears when all is written.

    Returns:
        What `summary.json` has: how many `passages` there are, how many of them `empty`, the `queries` that are judged
        and those `unjudged`, and of each split its `queries`, its `right` passages, and those judged that are `absent`
        from the collection.

    Raises:
        UserError: if a file cannot be read, an id is no word or stands twice, a query is empty, a judgement names a
            query that is not there, or none of a split's right passages is in the collection.
    """
    queries = {}
    quoted: Counter[str] = Counter()
    for row in _texts(task.queries, task.query_columns, task=task, key="query_columns", quoted=quoted):
        query, text = _id_and_text(row)
        if query in queries:
            raise UserError(f"{row.place}: the query {query!r} stands twice; leave one")
        if not text:
            raise UserError(f"{row.place}: the query {query!r} is empty; fill it in, or take it out")
        queries[query] = text
    judged = {split: _read_judgements(paths, queries, task) for split, paths in task.judgements.items()}
    asked = {query: text for query, text in queries.items() if any(query in found for found in judged.values())}
    with atomic_directory(output_dir) as folder:
        passages, num_empty = _write_passages(task, folder, quoted)
        _write(folder, QUERIES, asked.items())
        summary: dict[str, Any] = {"passages": len(passages), "empty": num_empty}
        summary |= {"queries": len(asked), "unjudged": len(queries) - len(asked), "splits": {}}
        for split, found in judged.items():
            write_qrels(folder / f"{split}.qrels", found)
            right = [passage for of_query in found.values() for passage, relevance in of_query.items() if relevance > 0]
            if not any(passage in passages for passage in right):
                raise UserError(
                    f"{task.judgements[split][0]}: none of its right passages is in {task.passages[0]}; give the files "
                    "of one collection"
                )
            absent = {passage for of_query in found.values() for passage in of_query} - passages.keys()
            summary["splits"][split] = {"queries": len(found), "right": len(right), "absent": len(absent)}
        write_json(folder / SUMMARY, summary)
    logger.info("%s: %s", task.name, json.dumps(summary))
    for path, number in quoted.items():
        logger.warning(
            "%s: %d rows have a text that begins and ends with a quote and doubles those inside, as pandas and "
            "csv.writer write it; in TSV these are text: write CSV or JSON lines",
            path,
            number,
        )
    return summary


def _texts(
    paths: Sequence[str], columns: Sequence[Column], *, task: RetrievalTask, key: str, quoted: Counter[str]
) -> Iterator[InputRow]:
    """Yield the rows of files: the id, and the text's columns; count in `quoted` those of TSV that seem quoted."""
    for path in paths:
        file, member = _source(task, path)
        optional = () if columns else (_TITLE,)
        told = columns or _told(path, task, key)
        is_tsv = format_of(path) == TSV
        for row in input_rows(file, told, member=member, header=task.header, optional=optional):
            if is_tsv and any(map(seems_quoted, row.sentences)):
                quoted[path] += 1
            yield row


def _source(task: RetrievalTask, path: str) -> tuple[Path, str | None]:
    """Return where a file of a collection is read from: itself, or the archive and the file inside."""
    return (Path(path), None) if task.archive is None else (Path(task.archive), path)


def _told(path: str, task: RetrievalTask, key: str) -> list[Column]:
    """Return the columns of id, title and text by their names, or the first two where they have none.

    Of JSON lines, any may have a title, though the first has none.
    """
    file, member = _source(task, path)
    is_json = format_of(path) == JSON_LINES
    if is_json:
        _, first = next(json_values(read_lines(file, member=member), path), (0, {}))
        names = list(first) if isinstance(first, dict) else []
    else:
        names = read_table(file, member=member, header=task.header).names
        if not task.header and not names:
            return [1, 2]
    name = next((name for name in ("id", "_id") if name in names), None)
    if name is None or "text" not in names:
        raise UserError(
            f"{path}: no columns `id` and `text` among {', '.join(names) or 'none'}; name those meant in "
            f"retrieval_tasks.{task.name}.{key}"
        )
    return [name, *([_TITLE] if is_json or _TITLE in names else []), "text"]


def _id_and_text(row: InputRow) -> tuple[str, str]:
    """Return a row's id, which must be a word, for TREC's files separate by spaces, and its texts, joined."""
    name, *texts = row.sentences
    if not name or re.search(r"\s", name):
        raise UserError(f"{row.place}: the id {name!r} is {'no word' if name else 'empty'}; give ids without spaces")
    return name, " ".join(filter(None, map(str.strip, texts)))


def _write_passages(task: RetrievalTask, folder: Path, quoted: Counter[str]) -> tuple[dict[str, None], int]:
    """Write the passages as they are read; return their ids, and how many are empty. `quoted`: as of `_texts`."""
    ids: dict[str, None] = {}
    num_empty = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal num_empty
        for row in _texts(task.passages, task.passage_columns, task=task, key="passage_columns", quoted=quoted):
            name, text = _id_and_text(row)
            if name in ids:
                raise UserError(f"{row.place}: the passage {name!r} stands twice; leave one")
            ids[name] = None
            num_empty += not text
            yield name, text

    _write(folder, PASSAGES, rows())
    if not ids:
        raise UserError(f"{task.passages[0]} has no passages; give a file that has some")
    return ids, num_empty


def _write(folder: Path, kind: str, rows: Iterable[tuple[str, str]]) -> None:
    as_lines: dict[str, Any] = {"mode": "w", "encoding": "utf-8", "newline": "\n"}
    with open(folder / f"{kind}.ids", **as_lines) as names, open(folder / f"{kind}.txt", **as_lines) as texts:
        for name, text in rows:
            print(name, file=names)
            print(text, file=texts)


def _read_judgements(paths: Sequence[str], queries: Mapping[str, str], task: RetrievalTask) -> Judgements:
    """Read lines of query, passage and relevance, or TREC's, which have a field between query and passage."""
    found: Judgements = {}
    for path in paths:
        file, member = _source(task, path)
        names: list[str] = []
        places: Sequence[int] = ()  # of `_QRELS`, where the first line names them
        for number, line in enumerate(read_lines(file, member=member), start=1):
            fields = line.split()
            is_named = number == 1 and len(fields) > 2 and not _is_integer(fields[-1])
            if is_named and fields[0] not in queries:
                names = fields
                places = [names.index(name) for name in _QRELS] if {*_QRELS} <= {*names} else ()
                continue
            if not fields:
                continue
            place = f"{path}, line {number}"
            if len(fields) not in (3, 4):
                raise UserError(
                    f"{place}: {shown(line)} is no judgement, which has query, passage and relevance; mend the line"
                )
            if names and len(fields) > len(names):
                raise UserError(
                    f"{place}: {shown(line)} has {len(fields)} fields where the first line names {len(names)}; write "
                    "no index before them"
                )
            if places and len(fields) < len(names):
                raise UserError(f"{place}: {shown(line)} has no {names[len(fields)]}; mend the line")
            query, passage, relevance = (fields[index] for index in places or (0, -2, -1))
            if not _is_integer(relevance):
                raise UserError(f"{place}: the relevance {relevance!r} is no whole number; mend the line")
            if query not in queries:
                raise UserError(f"{place}: the query {query!r} is none of {task.queries[0]}; give files of one set")
            if found.setdefault(query, {}).setdefault(passage, int(relevance)) != int(relevance):
                raise UserError(f"{place}: query {query!r} and passage {passage!r} are judged twice; leave one")
    if not any(relevance > 0 for of_query in found.values() for relevance in of_query.values()):
        raise UserError(f"{paths[0]} judges no passage right, by a relevance above 0; give a file that does")
    return found


def _is_integer(text: str) -> bool:
    return re.fullmatch(r"-?[0-9]+", text) is not None


def write_qrels(path: Path, judgements: Judgements) -> None:
    """Write judgements as trec_eval reads them."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for query, of_query in judgements.items():
            for passage, relevance in of_query.items():
                print(query, 0, passage, relevance, file=file)


def read_qrels(path: Path) -> Judgements:
    """Read judgements that `write_qrels` wrote."""
    found: Judgements = {}
    for line in read_lines(path):
        query, _, passage, relevance = line.split(" ")
        found.setdefault(query, {})[passage] = int(relevance)
    return found
