"""Collections to search: from an entry of the config's `retrieval_tasks` to a `RetrievalTask`, and the files of BEIR's.

Those that ship stand in `resources/collections.yaml`, with the keys of one's own. Jobs import `retrieval.py` alone, so
that no other entry is a reason to embed a collection anew.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cross_thought.data.definitions import RANKING_METRICS_TEXT, RETRIEVAL_METRICS, RetrievalTask, ranking_metric
from cross_thought.data.raw_files import own_or_download
from cross_thought.data.retrieval import PASSAGES, QUERIES
from cross_thought.environment import REPOSITORY
from cross_thought.errors import UserError, shown
from cross_thought.yaml_text import listed, read_shipped_yaml

_BEIR_SPLITS = {"dev": "valid", "test": "test"}

COLLECTIONS_FILE = REPOSITORY / "resources" / "collections.yaml"
# a package that is installed without the repository has none
COLLECTIONS = read_shipped_yaml(COLLECTIONS_FILE) if COLLECTIONS_FILE.is_file() else {}
# what an entry of the config may change in one that ships
_CHANGEABLE = ("metrics", "depth", "index", "num_probes", "precision")


def retrieval_tasks_of(config: Mapping[str, Any]) -> dict[str, RetrievalTask]:
    """Return the collections to search, by name; `config` is the effective config.

    Raises:
        UserError: if an entry lacks files, has a metric beyond its depth, or changes the data of one that ships.
    """
    return {
        name: _retrieval_task(name, entry, data_dir=config.get("data_dir"))
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
    if "num_probes" in entry and entry.get("index") != "ivf":
        raise UserError(f"{place}.num_probes is of an index ivf: set index to that, or leave it out")
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
        queries=tuple(listed(entry[QUERIES])),
        passages=tuple(listed(entry[PASSAGES])),
        judgements={
            split: tuple(listed(files)) for split in ("valid", "test") if (files := entry["judgements"].get(split))
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


def beir_files(folder: str, entry: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    """Return the files of a folder of BEIR's layout, as an entry of the config, at `place` there, has them.

    It has `corpus.jsonl` and `queries.jsonl`, packed by gzip or not, and `qrels/dev.tsv`, `qrels/test.tsv`;
    `qrels/train.tsv` is for others to learn from.

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
