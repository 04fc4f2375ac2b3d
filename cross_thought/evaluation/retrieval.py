"""Retrieval over a collection: rankings as TREC's run files, and what trec_eval makes of them.

Scores that are equal to six decimals are ties, in which wrong passages go before right ones, so that no luck helps. A
passage with the query's own text is not ranked, unless it is judged right. Metrics are means over the queries that have
a right passage; with `raw_` before the name, over all that are judged.

Everything is computed from `run.trec`, the ranked passages of all judged queries, and the judgements.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean

import numpy as np

from cross_thought.data.definitions import RetrievalTask, ranking_metric
from cross_thought.data.prepared import read_summary
from cross_thought.data.retrieval import PASSAGES, QUERIES, Judgements, read_qrels
from cross_thought.evaluation.embeddings import COSINE_DECIMALS, by_bm25
from cross_thought.evaluation.rankings import trec_scores, write_run_lines
from cross_thought.evaluation.result_files import result_file
from cross_thought.evaluation.search import nearest
from cross_thought.files import atomic_file, read_lines

COLLECTION = "collection"  # of all splits

# a query's scores and the places of their passages, in any order
Found = tuple[np.ndarray, np.ndarray]


class Collection:
    """A collection in the folder that `prepare_collection` wrote, but for its texts, which stay on disk.

    Attributes:
        passages, queries: their ids, in order.
        judgements: those of all splits together.
    """

    def __init__(self, folder: Path, task: RetrievalTask) -> None:
        self._folder = folder
        self.passages = list(read_lines(folder / f"{PASSAGES}.ids"))
        self.queries = list(read_lines(folder / f"{QUERIES}.ids"))
        self.judgements: Judgements = {}
        for split in task.splits:
            for query, of_query in read_qrels(folder / f"{split}.qrels").items():
                self.judgements.setdefault(query, {}).update(of_query)

    def texts(self, kind: str) -> Iterator[str]:
        """Yield the texts of the passages or the queries."""
        return read_lines(self._folder / f"{kind}.txt")

    @cached_property
    def left_out(self) -> list[set[int]]:
        """For each query the places of passages that are not ranked: its own text, where it is not right."""
        of_text: dict[str, list[int]] = {}
        for place, text in enumerate(self.texts(QUERIES)):
            of_text.setdefault(text, []).append(place)
        found: list[set[int]] = [set() for _ in self.queries]
        for place, text in enumerate(self.texts(PASSAGES)):
            for query in of_text.get(text, ()):
                if self.judgements[self.queries[query]].get(self.passages[place], 0) <= 0:
                    found[query].add(place)
        return found


def search_embeddings(
    task: RetrievalTask, collection: Collection, queries: np.ndarray, passages: np.ndarray
) -> Iterator[Found]:
    """Yield what is nearest to each query, some passages more than the task's depth where some are left out."""
    depth = task.depth + max(map(len, collection.left_out), default=0)
    scores, places = nearest(queries, passages, depth, index=task.index, num_probes=task.num_probes)
    yield from zip(scores, places, strict=True)


def search_words(task: RetrievalTask, collection: Collection) -> Iterator[Found]:
    """Yield what BM25 finds for each query: passages that share a word with it."""
    depth = task.depth + max(map(len, collection.left_out), default=0)
    for scores in by_bm25(collection.texts(QUERIES), collection.texts(PASSAGES)):
        places = np.flatnonzero(scores)
        if len(places) > depth:
            places = places[np.argpartition(-scores[places], depth - 1)[:depth]]
        yield scores[places], places


def write_run(path: Path, task: RetrievalTask, collection: Collection, found: Iterable[Found], *, tag: str) -> None:
    """Write at most `task.depth` passages of each query as TREC's run file, whole or not at all.

    `found` are those of each query, in order; a place of -1 is none. `tag` is the name of the run.
    """
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for query, left_out, (scores, places) in zip(collection.queries, collection.left_out, found, strict=True):
            judged = collection.judgements[query]
            ranking = sorted(
                (-score, judged.get(collection.passages[place], 0), collection.passages[place])
                for score, place in zip(np.round(scores.astype(float), COSINE_DECIMALS), places.tolist(), strict=True)
                if place >= 0 and place not in left_out
            )
            write_run_lines(file, query, ((name, -score) for score, _, name in ranking[: task.depth]), tag=tag)


def read_run(path: Path) -> dict[str, dict[str, float]]:
    """Read a run file: query -> passage -> score; a UserError says that it is missing or none."""
    run: dict[str, dict[str, float]] = {}
    with result_file(path, "run file"):
        for line in path.read_text(encoding="utf-8").splitlines():
            query, _, passage, _, score, _ = line.split(" ")
            run.setdefault(query, {})[passage] = float(score)
    return run


def retrieval_metrics(
    metrics: Sequence[str], judgements: Judgements, run: Mapping[str, Mapping[str, float]]
) -> dict[str, float | None]:
    """Score a run by one split's judgements; None where no query counts for a metric."""
    has_right = {query: max(of_query.values()) > 0 for query, of_query in judgements.items()}
    found: dict[str, float | None] = {}
    for name in metrics:
        metric = ranking_metric(name)
        if metric is None:
            raise ValueError(f"{name} is no metric of rankings")
        scores = trec_scores(metric, judgements, run)
        counted = [score for query, score in scores.items() if metric.is_raw or has_right[query]]
        found[name] = fmean(counted) if counted else None
    return found


def retrieval_document(
    *,
    model: str,
    task: RetrievalTask,
    seed: int | None,
    pooling: str | None,
    run: Path,
    prepared: Path,
    counts: Mapping[str, int] | None = None,
) -> dict[str, object]:
    """Assemble what `metrics.json` says: each split's metrics, and how much was searched.

    Args:
        model: its name in tables, or `bm25`; then there are no `seed` and `pooling`.
        run: the run file.
        prepared: folder of the prepared collection.
        counts: how many `sentences`, queries and passages, were embedded, how many `cut` at the positions, and how many
            `tokens` were read and `unknown`; None where nothing is embedded.

    Returns:
        The document. Of each split, `num_examples` are the right passages, `num_queries` those that are judged,
        `num_unanswered` those without a right passage, `num_absent` judged passages that are not there, and
        `num_candidates` the passages of the collection.
    """
    ranked, summary = read_run(run), read_summary(prepared)
    splits = {}
    for split in task.splits:
        judgements = read_qrels(prepared / f"{split}.qrels")
        num_right = [sum(relevance > 0 for relevance in of_query.values()) for of_query in judgements.values()]
        splits[split] = {
            "num_examples": sum(num_right),
            "num_queries": len(judgements),
            "num_unanswered": num_right.count(0),
            "num_absent": summary["splits"][split]["absent"],
            "num_candidates": summary["passages"],
            "metrics": retrieval_metrics(task.metrics, judgements, ranked),
        }
    known = {"model": model, "task": task.name, "seed": seed, "pooling": pooling, "splits": splits}
    return known | ({} if counts is None else {"counts": {COLLECTION: counts}})
