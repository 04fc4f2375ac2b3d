"""Collections of passages with queries and judgements: from the config's `retrieval_tasks` to plain files.

Those that ship stand in `resources/collections.yaml`, with the keys of one's own.

A prepared folder has `passages.ids` and `passages.txt`, `queries.ids` and `queries.txt`, an id or a text a line,
`SPLIT.qrels` as trec_eval reads it, and `summary.json` with what became of the raw files' rows. Queries are those that
a split judges.
"""

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cross_thought.data.definitions import (
    RANKING_METRICS_TEXT,
    RETRIEVAL_METRICS,
    Column,
    RetrievalTask,
    ranking_metric,
)
from cross_thought.data.input_rows import InputRow, input_rows
from cross_thought.data.prepared import SUMMARY
from cross_thought.data.raw_files import own_or_download
from cross_thought.data.readers import JSON_LINES, format_of, json_values, read_table
from cross_thought.data.tasks import read_registry
from cross_thought.environment import REPOSITORY
from cross_thought.errors import UserError, shown
from cross_thought.files import atomic_directory, read_lines, write_json

logger = logging.getLogger(__name__)

PASSAGES, QUERIES = "passages", "queries"
_BEIR_SPLITS = {"dev": "valid", "test": "test"}

# query -> passage -> relevance; right are those above 0
Judgements = dict[str, dict[str, int]]


COLLECTIONS_FILE = REPOSITORY / "resources" / "collections.yaml"
# a package that is installed without the repository has none
COLLECTIONS = read_registry(COLLECTIONS_FILE) if COLLECTIONS_FILE.is_file() else {}
# what an entry of the config may change in one that ships
_CHANGEABLE = ("metrics", "depth", "index", "num_probes", "precision")


def retrieval_tasks_of(config: Mapping[str, Any]) -> dict[str, RetrievalTask]:
    """Return the collections to search, by name; `config` is the effective config.

    Raises:
        UserError: if an entry lacks files, has a metric beyond its depth, or changes the data of one that ships.
    """
    return {
        name: _retrieval_task(name, entry, data_dir=config["data_dir"])
        for name, entry in config["retrieval_tasks"].items()
    }


def _retrieval_task(name: str, entry: Mapping[str, Any], *, data_dir: str | None) -> RetrievalTask:
    place = f"retrieval_tasks.{name}"
    if name in COLLECTIONS:
        own = next((key for key in entry if key not in _CHANGEABLE), None)
        if own is not None:
            raise UserError(f"{place} has {own} of its own, but {name} ships: choose another name for yours")
        entry = {**COLLECTIONS[name], **entry}
    for key in (QUERIES, PASSAGES, "judgements"):
        if key not in entry:
            raise UserError(
                f"{place} lacks `{key}`: give queries, passages and judgements, or a folder with all three, or choose "
                f"a collection that ships, {', '.join(COLLECTIONS)}"
            )
    as_given = ("header", "depth", "index", "num_probes", "precision")
    lists = ("query_columns", "passage_columns", "metrics")
    if "depth" in entry and "metrics" not in entry:
        fitting = [
            name for name in RETRIEVAL_METRICS if (known := ranking_metric(name)) and known.cutoff <= entry["depth"]
        ]
        entry = {**entry, "metrics": fitting}
    settings: dict[str, Any] = {key: entry[key] for key in as_given if key in entry}
    settings |= {key: tuple(entry[key]) for key in lists if key in entry}
    task = RetrievalTask(
        name=name,
        queries=_paths(entry[QUERIES]),
        passages=_paths(entry[PASSAGES]),
        judgements={
            split: _paths(entry["judgements"][split]) for split in ("valid", "test") if split in entry["judgements"]
        },
        archive=entry.get("archive"),
        **settings,
    )
    task = _located(task, place, data_dir)
    for key in ("query_columns", "passage_columns"):
        named = next((column for column in getattr(task, key) if isinstance(column, str)), None)
        if named is not None and not task.header:
            raise UserError(f"{place}.{key} names the column {named!r} but has `header: false`: give its number")
    for metric in task.metrics:
        known = ranking_metric(metric)
        if known is None:
            raise UserError(f"{place}.metrics has {metric!r}: choose from {RANKING_METRICS_TEXT}")
        if known.cutoff > task.depth:
            raise UserError(f"{place}.metrics has {metric!r}, but its depth is {task.depth}: raise that")
    return task


def _located(task: RetrievalTask, place: str, data_dir: str | None) -> RetrievalTask:
    """Return a collection that comes in an archive with the files where they lie.

    One's own below `data_dir` go first: unpacked, in the folder that the archive would be in.
    """
    if task.archive is None:
        return task
    if data_dir is not None:
        folder = os.path.join(data_dir, os.path.dirname(task.archive))
        members = replace(task, archive=None).inputs
        lacking = [member for member in members if not os.path.isfile(os.path.join(folder, member))]
        if lacking and len(lacking) < len(members):
            raise UserError(f"{place}: {folder} has no {lacking[0]}, but others of its files: add it, or move those")
        if not lacking:
            (queries, passages, *judgements) = (
                tuple(os.path.join(folder, path) for path in paths)
                for paths in (task.queries, task.passages, *task.judgements.values())
            )
            own = dict(zip(task.splits, judgements, strict=True))
            return replace(task, archive=None, queries=queries, passages=passages, judgements=own)
    return replace(task, archive=own_or_download(task.archive, data_dir=data_dir))


def _paths(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def beir_files(folder: str, entry: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    """Return the files of a folder of BEIR's layout, as an entry of the config has them.

    Args:
        folder: of `corpus.jsonl` and `queries.jsonl`, packed by gzip or not, and `qrels/dev.tsv`, `qrels/test.tsv`;
            `qrels/train.tsv` is for others to learn from.
        entry: what else the entry says.
        place: its key in the config.

    Raises:
        UserError: if a file is missing, or the entry names it as well.

    Source: github.com/beir-cellar/beir, README.md, and beir/datasets/data_loader.py.
    """
    twice = next((key for key in (QUERIES, PASSAGES, "judgements", "archive") if key in entry), None)
    if twice is not None:
        raise UserError(f"config: {place} has {twice} and a folder, which has the files too: leave either out")
    found: dict[str, Any] = {}
    for key, name in ((PASSAGES, "corpus.jsonl"), (QUERIES, "queries.jsonl")):
        choices = [os.path.join(folder, name), os.path.join(folder, f"{name}.gz")]
        path = next(filter(os.path.isfile, choices), None)
        if path is None:
            raise UserError(f"config: {place}.folder is {shown(folder)}, which has no {name}; correct it")
        found[key] = path
    of_splits = {split: os.path.join(folder, "qrels", f"{name}.tsv") for name, split in _BEIR_SPLITS.items()}
    found["judgements"] = {split: path for split, path in of_splits.items() if os.path.isfile(path)}
    if not found["judgements"]:
        raise UserError(
            f"config: {place}.folder is {shown(folder)}, which has no qrels/test.tsv or qrels/dev.tsv; add one, or "
            "give queries, passages and judgements each"
        )
    return found


def prepare_collection(task: RetrievalTask, output_dir: Path) -> dict[str, Any]:
    """Write a collection's plain files, in flat memory but for the ids.

    Args:
        task: whose files are read.
        output_dir: the folder, which appears when all is written.

    Returns:
        What `summary.json` has: how many `passages` there are, how many of them `empty`, the `queries` that are judged
        and those `unjudged`, and of each split its `queries`, its `right` passages, and those judged that are `absent`
        from the collection.

    Raises:
        UserError: if a file cannot be read, an id is no word or stands twice, a query is empty, a judgement names a
            query that is not there, or none of a split's right passages is in the collection.
    """
    queries = {}
    for row in _texts(task.queries, task.query_columns, task=task, key="query_columns"):
        query, text = _id_and_text(row)
        if query in queries:
            raise UserError(f"{row.place}: the query {query!r} stands twice; leave one")
        if not text:
            raise UserError(f"{row.place}: the query {query!r} is empty; fill it in, or take it out")
        queries[query] = text
    judged = {split: _read_judgements(paths, queries, task) for split, paths in task.judgements.items()}
    asked = {query: text for query, text in queries.items() if any(query in found for found in judged.values())}
    with atomic_directory(output_dir) as folder:
        passages, num_empty = _write_passages(task, folder)
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
    return summary


def _texts(paths: Sequence[str], columns: Sequence[Column], *, task: RetrievalTask, key: str) -> Iterator[InputRow]:
    """Yield the rows of files: the id, and the text's columns."""
    for path in paths:
        file, member = _source(task, path)
        yield from input_rows(file, columns or _told(path, task, key), member=member, header=task.header)


def _source(task: RetrievalTask, path: str) -> tuple[Path, str | None]:
    """Return where a file of a collection is read from: itself, or the archive and the file inside."""
    return (Path(path), None) if task.archive is None else (Path(task.archive), path)


def _told(path: str, task: RetrievalTask, key: str) -> list[Column]:
    """Return the columns of id and text by their names, or the first two where they have none."""
    file, member = _source(task, path)
    if format_of(path) == JSON_LINES:
        _, first = next(json_values(read_lines(file, member=member), path), (0, []))
        names = list(first)
    else:
        names = read_table(file, member=member, header=task.header).names
        if not task.header and not names:
            return [1, 2]
    name = next((name for name in ("id", "_id") if name in names), None)
    if name is None or "text" not in names:
        raise UserError(
            f"{path}: no columns `id` and `text` among {', '.join(map(str, names)) or 'none'}; name those meant in "
            f"retrieval_tasks.{task.name}.{key}"
        )
    return [name, *(["title"] if "title" in names else []), "text"]


def _id_and_text(row: InputRow) -> tuple[str, str]:
    """Return a row's id, which must be a word, for TREC's files separate by spaces, and its texts, joined."""
    name, *texts = row.sentences
    if not name or re.search(r"\s", name):
        raise UserError(f"{row.place}: the id {name!r} is {'no word' if name else 'empty'}; give ids without spaces")
    return name, " ".join(filter(None, map(str.strip, texts)))


def _write_passages(task: RetrievalTask, folder: Path) -> tuple[dict[str, None], int]:
    """Write the passages as they are read; return their ids, and how many are empty."""
    ids: dict[str, None] = {}
    num_empty = 0

    def rows() -> Iterator[tuple[str, str]]:
        nonlocal num_empty
        for row in _texts(task.passages, task.passage_columns, task=task, key="passage_columns"):
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
        for number, line in enumerate(read_lines(file, member=member), start=1):
            fields = line.split()
            if not fields or (number == 1 and len(fields) > 2 and not _is_integer(fields[-1])):  # a header
                continue
            place = f"{path}, line {number}"
            if len(fields) not in (3, 4):
                raise UserError(
                    f"{place}: {shown(line)} is no judgement, which has query, passage and relevance; mend the line"
                )
            query, passage, relevance = fields[0], fields[-2], fields[-1]
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
