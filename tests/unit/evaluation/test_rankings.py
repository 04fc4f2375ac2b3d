"""Rankings: trec_eval's metrics, a random order's, and TREC's files, which trec_eval reads as we scored them."""

from itertools import permutations
from pathlib import Path
from statistics import fmean

import pytest
import pytrec_eval

from cross_thought.data.tasks import task_from_config
from cross_thought.evaluation.metrics import compute_metrics, majority_metrics, majority_rate
from cross_thought.evaluation.predictions import SplitPredictions
from cross_thought.evaluation.rankings import write_trec_files
from cross_thought.evaluation.significance import compare

METRICS = [
    *("accuracy", "mrr", "map", "precision@2", "recall@2", "full_recall@3", "success@2", "ndcg@3", "ndcg@20"),
    *("raw_map", "raw_mrr", "raw_full_recall@3"),
]
TASK = task_from_config(
    "mine",
    {
        "files": {"train": "a.tsv", "valid": "b.tsv"},
        "input_columns": [1, 2],
        "label_column": 3,
        "labels": ["0", "1"],
        "right_label": "1",
        "metrics": METRICS,
    },
)
# right at places 1 and 4; at 2; none; the only candidate
LABELS, RANKINGS = ["2 5", "1", "0", "1"], ["2 1 3 5 4", "3 1 2", "1 2", "1"]


def test_metrics_by_hand() -> None:
    found = compute_metrics(TASK, LABELS, RANKINGS)
    gain = [1, 1 / 1.584962500721156, 1 / 2]  # 1 / log2(1 + place)
    assert found == pytest.approx(
        {
            "accuracy": 2 / 3,
            "mrr": (1 + 1 / 2 + 1) / 3,
            "map": ((1 + 2 / 4) / 2 + 1 / 2 + 1) / 3,
            "precision@2": (1 / 2 + 1 / 2 + 1 / 2) / 3,
            "recall@2": (1 / 2 + 1 + 1) / 3,
            "full_recall@3": (0 + 1 + 1) / 3,
            "success@2": 1.0,
            "ndcg@3": (1 / (1 + gain[1]) + gain[1] + 1) / 3,
            "ndcg@20": ((1 + 0.43067655807339306) / (1 + gain[1]) + gain[1] + 1) / 3,
            "raw_map": ((1 + 2 / 4) / 2 + 1 / 2 + 0 + 1) / 4,
            "raw_mrr": (1 + 1 / 2 + 0 + 1) / 4,
            "raw_full_recall@3": (0 + 1 + 0 + 1) / 4,
        }
    )
    none = compute_metrics(TASK, ["0"], ["1 2"])
    assert (none["map"], none["raw_map"]) == (None, 0.0)


def test_a_random_order_scores_the_mean_of_all_orders() -> None:
    labels, sizes = ["2 5", "1", "0", "1", "1 2 3"], [5, 3, 2, 1, 3]
    rankings = [" ".join(str(number + 1) for number in range(size)) for size in sizes]
    expected = majority_metrics(TASK, SplitPredictions([], labels, rankings))
    of_question = [
        [compute_metrics(TASK, [label], [" ".join(order)]) for order in permutations(ranking.split())]
        for label, ranking in zip(labels, rankings, strict=True)
    ]
    for metric in METRICS:
        counted = [
            fmean(scores[metric] for scores in orders) for orders in of_question if orders[0][metric] is not None
        ]
        assert expected[metric] == pytest.approx(fmean(counted)), metric
    assert majority_rate(TASK, SplitPredictions([], labels, rankings)) == expected["accuracy"]


def test_trec_eval_reads_the_order_that_was_scored(tmp_path: Path) -> None:
    # candidates of equal weight, as those of the same text have, in the order of the ranking
    weights = {"1": [0.2, 0.5, 0.5, 1.0], "2": [0.2, 0.1, 0.5, 0.0], "3": [0.2, 0.5, 0.0, 0.0]}
    weights |= {"4": [0.2, 0.0, 0.0, 0.0], "5": [0.2, 0.0, 0.0, 0.0]}
    rows = SplitPredictions(["0", "1", "2", "3"], LABELS, RANKINGS, weights)
    unlabelled = SplitPredictions(["0"], [""], ["2 1"], {"1": [0.25], "2": [0.75]})
    write_trec_files(tmp_path, {"valid": rows, "test": unlabelled}, tag="mine")
    assert not (tmp_path / "test.qrels").exists()
    assert (tmp_path / "test.run").read_text() == "0 Q0 2 1 0.75 mine\n0 Q0 1 2 0.25 mine\n"
    with open(tmp_path / "valid.run") as run, open(tmp_path / "valid.qrels") as qrels:
        ranked, judged = pytrec_eval.parse_run(run), pytrec_eval.parse_qrel(qrels)
    orders = [" ".join(sorted(scores, key=scores.get, reverse=True)) for scores in ranked.values()]
    assert orders == RANKINGS
    assert all(abs(ranked["0"][number] - 0.2) < 1e-6 for number in "12345")
    found = pytrec_eval.RelevanceEvaluator(judged, {"map", "recip_rank"}).evaluate(ranked)
    ours = compute_metrics(TASK, LABELS, RANKINGS)
    assert ours["raw_map"] == fmean(question["map"] for question in found.values())
    assert ours["raw_mrr"] == fmean(question["recip_rank"] for question in found.values())
    assert ours["map"] == fmean(found[index]["map"] for index in "013")


def test_a_difference_is_over_the_questions_that_count() -> None:
    labels, rankings = LABELS * 8, RANKINGS * 8
    worse = [" ".join(reversed(ranking.split())) for ranking in rankings]
    for metric, expected in (("map", 1 / 3 * (0.75 - 0.45)), ("raw_map", 1 / 4 * (0.75 - 0.45))):
        found = compare(TASK, metric, labels, {1: rankings}, {1: worse}, num_resamples=500)
        assert found.difference == pytest.approx(expected)
        assert found.ci_low < found.difference < found.ci_high
    assert compare(TASK, "map", ["0"], {1: ["1 2"]}, {1: ["2 1"]}).difference is None
