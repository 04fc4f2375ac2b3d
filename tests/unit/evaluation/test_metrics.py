"""GLUE's metrics: by hand for each task, and against scikit-learn and scipy on random predictions."""

import math
import warnings
from dataclasses import replace
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.evaluation.metrics import compute_metrics, majority_metrics, majority_rate, metrics_document
from cross_thought.evaluation.predictions import SplitPredictions

YES, NO = "entailment", "not_entailment"
# (task, labels, predictions, what comes out by hand)
BY_HAND = [
    # tp 2, tn 1, fp 1, fn 1: (2*1 - 1*1) / sqrt(3*3*2*2)
    ("CoLA", "11100", "11010", {"matthews": 1 / 6}),
    ("SST-2", "1100", "1000", {"accuracy": 0.75}),
    # precision 2/3, recall 2/2: F1 = 2*2 / (3 + 2)
    ("MRPC", "1100", "1110", {"accuracy": 0.75, "f1": 0.8}),
    # precision 1/2, recall 1/3
    ("QQP", "11100", "10010", {"accuracy": 0.4, "f1": 0.4}),
    # deviations (-1, 0, 1) and (-2, 1, 1): covariance 3, variances 2 and 6; ranks (1, 2, 3) and (1, 2.5, 2.5)
    ("STS-B", ["1", "2", "3"], ["0", "3", "3"], {"pearson": 3 / math.sqrt(12), "spearman": 1.5 / math.sqrt(3)}),
    ("MNLI", [YES, "neutral", "contradiction"], [YES, "neutral", "neutral"], {"accuracy": 2 / 3}),
    ("QNLI", [YES, NO], [YES, YES], {"accuracy": 0.5}),
    ("RTE", [YES, NO, NO, NO], [NO, NO, NO, NO], {"accuracy": 0.75}),
    ("QNLI-answers", ["3", "1"], ["3 1 2 4", "4 3 2 1"], {"accuracy": 0.5, "mrr": (1 + 1 / 4) / 2}),
    ("WNLI", "10", "01", {"accuracy": 0.0}),
    ("SNLI", [YES, "contradiction"], [YES, "contradiction"], {"accuracy": 1.0}),
]
ANSWERS = TASKS["demo-answer"]


@pytest.mark.parametrize(("task", "labels", "predictions", "expected"), BY_HAND, ids=[case[0] for case in BY_HAND])
def test_by_hand(task: str, labels: list[str], predictions: list[str], expected: dict[str, float]) -> None:
    computed = compute_metrics(TASKS[task], list(labels), list(predictions))
    assert computed == pytest.approx(expected)


def test_every_glue_task_has_an_example_by_hand() -> None:
    glue = {name for name, task in TASKS.items() if (task.folder or "").startswith("glue/")}
    assert glue <= {case[0] for case in BY_HAND}


@given(st.lists(st.tuples(st.sampled_from("01"), st.sampled_from("01")), min_size=1, max_size=60))
@settings(deadline=None)
def test_classification_equals_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    labels, predictions = map(list, zip(*pairs, strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert compute_metrics(TASKS["CoLA"], labels, predictions)["matthews"] == sk.matthews_corrcoef(
            labels, predictions
        )
        computed = compute_metrics(TASKS["MRPC"], labels, predictions)
        assert computed["accuracy"] == sk.accuracy_score(labels, predictions)
        if "1" in labels + predictions:
            assert computed["f1"] == sk.f1_score(labels, predictions, pos_label="1")
        else:
            assert computed["f1"] is None


@given(st.lists(st.tuples(st.sampled_from("01"), st.sampled_from("01")), min_size=1, max_size=30))
@settings(deadline=None)
def test_precision_and_recall_equal_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    labels, predictions = map(list, zip(*pairs, strict=True))
    computed = compute_metrics(replace(TASKS["MRPC"], metrics=("precision", "recall")), labels, predictions)
    assert computed["precision"] == (
        sk.precision_score(labels, predictions, pos_label="1") if "1" in predictions else None
    )
    assert computed["recall"] == (sk.recall_score(labels, predictions, pos_label="1") if "1" in labels else None)


@given(st.lists(st.tuples(*2 * [st.sampled_from(TASKS["MNLI"].labels)]), min_size=1, max_size=30))
@settings(deadline=None)
def test_macro_metrics_are_scikit_learns_over_the_labels_that_examples_have(pairs: list[tuple[str, str]]) -> None:
    labels, predictions = map(list, zip(*pairs, strict=True))
    names = ("macro_f1", "macro_precision", "macro_recall")
    computed = compute_metrics(replace(TASKS["MNLI"], metrics=names), labels, predictions)
    scores = [getattr(sk, f"{name.removeprefix('macro_')}_score") for name in names]
    there = [label for label in TASKS["MNLI"].labels if label in labels]
    of_each = [score(labels, predictions, labels=there, average=None, zero_division=0) for score in scores]
    expected = [pytest.approx(fmean(values)) for values in of_each]
    assert list(computed.values()) == expected


def test_who_answers_with_a_label_that_nobody_has_is_scored_over_the_same_labels() -> None:
    task = replace(TASKS["MNLI"], labels=("a", "b", "c"), metrics=("macro_f1",))
    labels = ["a", "a", "b", "b"]
    always, once = (compute_metrics(task, labels, list(answers))["macro_f1"] for answers in ("aaaa", "aabc"))
    assert always == pytest.approx((2 / 3 + 0) / 2)
    assert once == pytest.approx((1 + 2 / 3) / 2)  # over three labels it would be behind half of its lead


def test_macro_f1_by_hand() -> None:
    # a: precision 1, recall 1/2; b: 1/3 and 1; c, which is never predicted: 0
    task = replace(TASKS["MNLI"], labels=("a", "b", "c"), metrics=("macro_f1", "macro_recall"))
    computed = compute_metrics(task, ["a", "a", "b", "c"], ["a", "b", "b", "b"])
    assert computed == pytest.approx({"macro_f1": (2 / 3 + 1 / 2 + 0) / 3, "macro_recall": (1 / 2 + 1 + 0) / 3})


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=3, max_size=40))
@settings(deadline=None)
def test_regression_equals_scipy(pairs: list[tuple[float, float]]) -> None:
    numbers = list(map(list, zip(*pairs, strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        computed = compute_metrics(TASKS["STS-B"], *([repr(x) for x in side] for side in numbers))
        for metric, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
            expected = float(function(*numbers).statistic)
            if computed[metric] is None:
                assert any(max(side) == min(side) for side in numbers)
            else:
                assert computed[metric] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("predictions", [["2", "2", "2"], ["1", "nan", "2"]])
def test_correlation_without_a_value_is_none(predictions: list[str]) -> None:
    computed = compute_metrics(TASKS["STS-B"], ["1", "2", "3"], predictions)
    assert computed == {"pearson": None, "spearman": None}


def test_constant_predictions_score_zero_matthews() -> None:
    assert compute_metrics(TASKS["CoLA"], ["0", "1"], ["1", "1"]) == {"matthews": 0.0}


def test_majority() -> None:
    rows = SplitPredictions([], ["1", "1", "1", "0"], [])
    assert majority_rate(TASKS["MRPC"], rows) == 0.75
    assert majority_metrics(TASKS["MRPC"], rows) == pytest.approx({"accuracy": 0.75, "f1": 6 / 7})
    assert majority_metrics(TASKS["CoLA"], rows) == {"matthews": 0.0}
    scores = SplitPredictions([], ["1", "2"], [])
    assert majority_rate(TASKS["STS-B"], scores) is None
    assert majority_metrics(TASKS["STS-B"], scores) == {"pearson": None, "spearman": None}


def test_rankings() -> None:
    labels, predictions = ["3", "1", "2"], ["3 1 2 4", "4 1 3 2", "1 3 2"]  # the last question has three candidates
    assert compute_metrics(ANSWERS, labels, predictions) == pytest.approx(
        {"accuracy": 1 / 3, "mrr": (1 + 1 / 2 + 1 / 3) / 3}
    )
    rows = SplitPredictions([], labels, predictions)
    chance = (1 / 4 + 1 / 4 + 1 / 3) / 3
    in_four, in_three = (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, (1 + 1 / 2 + 1 / 3) / 3
    assert majority_rate(ANSWERS, rows) == pytest.approx(chance)
    assert majority_metrics(ANSWERS, rows) == pytest.approx({"accuracy": chance, "mrr": (2 * in_four + in_three) / 3})


@pytest.mark.parametrize("ranking", ["1 2 4", "3 3 1", "3 1 5", "3,1", ""])
def test_what_is_no_ranking_is_refused(ranking: str) -> None:
    with pytest.raises(UserError, match="is no ranking of candidates with '3', the right one"):
        compute_metrics(ANSWERS, ["3"], [ranking])


def test_refusals() -> None:
    with pytest.raises(UserError, match=r"RTE: 'maybe' is none of its labels entailment, not_entailment"):
        compute_metrics(TASKS["RTE"], [YES], ["maybe"])
    with pytest.raises(UserError, match="1 predictions for 2 labels"):
        compute_metrics(TASKS["RTE"], [YES, NO], [YES])
    with pytest.raises(UserError, match="STS-B has scores, not labels"):
        compute_metrics(TASKS["STS-B"], ["1", "high"], ["1", "2"])


def test_f1_needs_two_labels() -> None:
    task = replace(TASKS["MNLI"], metrics=("f1",))
    with pytest.raises(UserError, match="needs exactly two labels"):
        compute_metrics(task, [YES, "neutral"], [YES, "contradiction"])


def test_document_holds_only_splits_with_labels() -> None:
    known = SplitPredictions(["0", "1"], [YES, NO], [YES, YES])
    unknown = SplitPredictions(["0"], [""], [YES])
    document = metrics_document(
        model="m", task=TASKS["RTE"], seed=3, predictions={"valid": known, "test": unknown}, num_train_examples=10
    )
    assert document == {
        "model": "m",
        "task": "RTE",
        "seed": 3,
        "num_train_examples": 10,
        "splits": {"valid": {"num_examples": 2, "metrics": {"accuracy": 0.5}, "majority_rate": 0.5}},
    }
