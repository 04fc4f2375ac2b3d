"""Rankings of candidate answers: their metrics by trec_eval, what a random order is expected to score, TREC's files.

A label has the numbers of a question's right candidates, `3` or `1 4`; `0` says that none is right. Metrics are means
over the questions that have a right candidate, as WikiQA's paper and those after it count; with `raw_` before the
name, over all of them, a question without one scoring 0. The metrics of a question are trec_eval's own, by its bindings
pytrec_eval: `accuracy` is its P_1, `mrr` recip_rank, `full_recall@k` how often its recall_k is 1.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import comb, fsum, log2
from pathlib import Path
from statistics import fmean
from typing import IO

import numpy as np

from cross_thought.data.definitions import RankingMetric, Task, ranking_metric
from cross_thought.data.prepared import NONE_RIGHT
from cross_thought.errors import UserError
from cross_thought.evaluation.predictions import SplitPredictions
from cross_thought.files import atomic_file

# how trec_eval is asked for a metric; it answers with a _ in place of the dot
_TREC_NAMES = {
    "accuracy": "P.1",
    "mrr": "recip_rank",
    "map": "map",
    "precision": "P.{k}",
    "recall": "recall.{k}",
    "full_recall": "recall.{k}",
    "success": "success.{k}",
    "ndcg": "ndcg_cut.{k}",
}


def right_numbers(label: str) -> frozenset[str]:
    """Return the numbers of the right candidates that a label names."""
    return frozenset(label.split()) - {NONE_RIGHT}


def is_counted(metric: str, label: str) -> bool:
    """Whether a question counts for a metric: it has a right candidate, or the metric is a raw one."""
    return metric.startswith("raw_") or bool(right_numbers(label))


def question_scores(task: Task, metric: str, labels: Sequence[str], rankings: Sequence[str]) -> list[float]:
    """Score each question, those that do not count for the metric as well.

    A UserError says that the metric is none of rankings, or a ranking is none, or lacks a right candidate.

    Args:
        labels: the numbers of the right candidates of each question.
        rankings: the numbers of all candidates of each question, best first, separated by spaces.
    """
    known = _known(task, metric)
    judged: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    for index, (label, ranking) in enumerate(zip(labels, rankings, strict=True)):
        numbers, right = _numbers(task, label, ranking), right_numbers(label)
        judged[str(index)] = {number: int(number in right) for number in numbers}
        run[str(index)] = {number: -float(rank) for rank, number in enumerate(numbers)}
    return list(trec_scores(known, judged, run).values())


def trec_scores(
    metric: RankingMetric, judged: Mapping[str, Mapping[str, int]], run: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    """Score each judged query by trec_eval.

    Args:
        judged: query -> candidate -> relevance; right are those above 0.
        run: query -> candidate -> score, the higher the better; a query without candidates scores 0.
    """
    import pytrec_eval

    name = _TREC_NAMES[metric.name].format(k=metric.cutoff)
    found = pytrec_eval.RelevanceEvaluator(judged, {name}).evaluate(run)
    scores = {query: found[query][name.replace(".", "_")] if query in found else 0.0 for query in judged}
    return {query: float(score == 1) for query, score in scores.items()} if metric.name == "full_recall" else scores


def ranking_value(task: Task, metric: str, labels: Sequence[str], rankings: Sequence[str]) -> float | None:
    """Return a metric of a split; None where no question counts for it."""
    return _mean_of_counted(metric, labels, question_scores(task, metric, labels, rankings))


def chance_value(task: Task, metric: str, labels: Sequence[str], rankings: Sequence[str]) -> float | None:
    """Return what a random order of the candidates is expected to score."""
    known = _known(task, metric)
    sizes = [(len(right_numbers(label)), len(ranking.split())) for label, ranking in zip(labels, rankings, strict=True)]
    return _mean_of_counted(metric, labels, [_chance(known.name, known.cutoff, *size) for size in sizes])


def _mean_of_counted(metric: str, labels: Iterable[str], scores: Iterable[float]) -> float | None:
    counted = [score for label, score in zip(labels, scores, strict=True) if is_counted(metric, label)]
    return fmean(counted) if counted else None


def ranks_of_labels(task: Task, labels: Sequence[str], rankings: Sequence[str]) -> list[float]:
    """Return at which place, from 1, each ranking has its first right candidate; infinite where none is right.

    Raises:
        UserError: if a ranking is none, or lacks a right candidate.
    """
    ranks = []
    for label, ranking in zip(labels, rankings, strict=True):
        numbers, right = _numbers(task, label, ranking), right_numbers(label)
        ranks.append(next((rank for rank, number in enumerate(numbers, start=1) if number in right), float("inf")))
    return ranks


def write_trec_files(folder: Path, predictions: Mapping[str, SplitPredictions], *, tag: str) -> None:
    """Write `SPLIT.run` for each split, and `SPLIT.qrels` where its labels are known, as trec_eval reads them.

    A question's id is its index in `predictions.tsv`, a candidate's its number there. Scores are the attention weights,
    lowered where candidates have the same, as those with the same text. `tag` is the name of the run.
    """
    for split, rows in predictions.items():
        with atomic_file(folder / f"{split}.run") as partial, partial.open("w", encoding="utf-8") as file:
            for place, (index, ranking) in enumerate(zip(rows.indices, rows.predictions, strict=True)):
                weights = [(number, rows.scores[number][place]) for number in ranking.split()]
                write_run_lines(file, index, weights, tag=tag)
        if not rows.has_labels:
            continue
        with atomic_file(folder / f"{split}.qrels") as partial, partial.open("w", encoding="utf-8") as file:
            for index, label, ranking in zip(rows.indices, rows.labels, rows.predictions, strict=True):
                for number in sorted(ranking.split(), key=int):
                    print(index, 0, number, int(number in right_numbers(label)), file=file)


def write_run_lines(file: IO[str], query: str, ranking: Iterable[tuple[str, float]], *, tag: str) -> None:
    """Write the ranking of a query, candidates with their scores, best first, as lines of TREC's run file.

    A score that is no lower than the one before it becomes the next lower number, so that every reader of the file
    finds this order.
    """
    last = np.float32(np.inf)
    for rank, (candidate, score) in enumerate(ranking, start=1):
        last = min(np.float32(score), np.nextafter(last, np.float32(-np.inf)))
        print(query, "Q0", candidate, rank, f"{last:.9g}", tag, file=file)


def _known(task: Task, metric: str) -> RankingMetric:
    known = ranking_metric(metric)
    if known is None:
        raise UserError(f"task {task.name}: metric {metric} does not apply to rankings; use accuracy or mrr")
    return known


def _numbers(task: Task, label: str, ranking: str) -> list[str]:
    """Return the candidates of a ranking, which has every right one."""
    numbers = ranking.split()
    are_candidates = set(numbers) <= set(task.labels) if task.labels else all(map(str.isdecimal, numbers))
    if not numbers or len(set(numbers)) < len(numbers) or not are_candidates or not right_numbers(label) <= {*numbers}:
        raise UserError(
            f"task {task.name}: {ranking!r} is no ranking of candidates with {label!r}, the right one, among them: "
            "evaluate it again"
        )
    return numbers


@cache
def _chance(name: str, cutoff: int, num_right: int, total: int) -> float:
    """Return the expected metric of a question with `num_right` right candidates of `total` in random order."""
    if num_right == 0:
        return 0.0
    return _CHANCE[name](min(cutoff, total), num_right, total, cutoff)


def _gain(places: int) -> float:
    """Return the discounted gain of right candidates in the first places."""
    return fsum(1 / log2(place + 1) for place in range(1, places + 1))


# of k places (no more than there are candidates), r right ones of n, and the cutoff
_CHANCE: dict[str, Callable[[int, int, int, int], float]] = {
    "accuracy": lambda k, r, n, cutoff: r / n,
    "precision": lambda k, r, n, cutoff: r * k / (n * cutoff),
    "recall": lambda k, r, n, cutoff: k / n,
    "full_recall": lambda k, r, n, cutoff: comb(k, r) / comb(n, r),
    "success": lambda k, r, n, cutoff: 1 - comb(n - r, k) / comb(n, k),
    # the first right one stands at place d
    "mrr": lambda k, r, n, cutoff: fsum(comb(n - d, r - 1) / (d * comb(n, r)) for d in range(1, n - r + 2)),
    # at place d stands a right one, and (r - 1) / (n - 1) of those before it are right
    "map": lambda k, r, n, cutoff: fsum((1 + (d - 1) * (r - 1) / max(1, n - 1)) / d for d in range(1, n + 1)) / n,
    "ndcg": lambda k, r, n, cutoff: r / n * _gain(k) / _gain(min(r, cutoff)),
}
