"""Paired tests against known answers, and the bootstrap's weighted metrics against plain ones."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from cross_thought.data.definitions import METRICS
from cross_thought.data.tasks import TASKS
from cross_thought.evaluation.metrics import compute_metrics
from cross_thought.evaluation.significance import (
    Comparison,
    bootstrap_p_value,
    compare,
    encode_answers,
    mcnemar_p_value,
    resample_differences,
    weighted_metric,
    welch_p_value,
)

CASES = [
    ("RTE", "accuracy"),
    ("MRPC", "f1"),
    ("CoLA", "matthews"),
    ("STS-B", "pearson"),
    ("STS-B", "spearman"),
    ("demo-answer", "accuracy"),
    ("demo-answer", "mrr"),
    *(("MRPC", metric) for metric in ("precision", "recall")),
    *((name, f"macro_{metric}") for name in ("MRPC", "MNLI") for metric in ("f1", "precision", "recall")),
]


def test_every_metric_that_the_config_knows_is_weighted() -> None:
    assert {metric for _, metric in CASES} == {*METRICS}


def draw(task_name: str, size: int, seed: int) -> tuple[list[str], list[str]]:
    """Draw labels and predictions that agree about half the time, with ties for regression."""
    generator, task = np.random.default_rng(seed), TASKS[task_name]
    if task.labels is None:
        labels = generator.integers(0, 6, size)
        predictions = np.round(labels + generator.normal(0, 2, size))
        return [str(x) for x in labels], [str(x) for x in predictions]
    labels = generator.choice(task.labels, size)
    if task.selection is not None:
        return labels.tolist(), [" ".join(generator.permutation(task.labels)) for _ in range(size)]
    guesses = generator.choice(task.labels, size)
    return labels.tolist(), np.where(generator.random(size) < 0.4, labels, guesses).tolist()


@pytest.mark.parametrize(("task_name", "metric"), CASES)
def test_weights_count_examples(task_name: str, metric: str) -> None:
    """An example of weight 3 is three examples; one of weight 0 is none."""
    task = replace(TASKS[task_name], metrics=(metric,))
    labels, predictions = draw(task_name, 40, seed=1)
    weights = np.random.default_rng(2).multinomial(40, np.full(40, 1 / 40), size=5).astype(float)
    codes = encode_answers(task, labels, [predictions])
    values = weighted_metric(task, metric)(codes[0], codes[1][None], weights)[0]
    for row, value in zip(weights.astype(int), values, strict=True):
        repeated = [np.repeat(side, row).tolist() for side in (labels, predictions)]
        assert value == pytest.approx(compute_metrics(task, *repeated)[metric], abs=1e-12)


def test_mcnemar_by_hand() -> None:
    # 8 examples only the model gets right, 2 only the control, 5 both: 2 * P(X <= 2 | 10, 1/2) = 2 * 56 / 1024.
    labels = ["1"] * 15
    ours, control = ["1"] * 8 + ["0"] * 2 + ["1"] * 5, ["0"] * 8 + ["1"] * 7
    assert mcnemar_p_value(labels, ours, control) == pytest.approx(112 / 1024)
    assert mcnemar_p_value(labels, labels, labels) == 1.0


def test_welch() -> None:
    values, control = [0.70, 0.72, 0.74], [0.60, 0.66, 0.63]
    # t = 0.09 / sqrt(0.0004/3 + 0.0009/3); df by Welch and Satterthwaite.
    a, b = 0.0004 / 3, 0.0009 / 3
    expected = 2 * stats.t.sf(0.09 / (a + b) ** 0.5, (a + b) ** 2 / (a**2 / 2 + b**2 / 2))
    assert welch_p_value(values, control) == pytest.approx(expected)
    assert welch_p_value([0.7], control) is None
    assert welch_p_value([0.7, 0.7], [0.7, 0.7]) == 1.0
    assert welch_p_value([0.7, 0.7], [0.6, 0.6]) == 0.0


def test_bootstrap_p_value() -> None:
    assert bootstrap_p_value(np.array([1.0] * 999)) == pytest.approx(2 / 1000)
    assert bootstrap_p_value(np.array([1.0] * 89 + [-1.0] * 10)) == pytest.approx(22 / 100)
    assert bootstrap_p_value(np.zeros(99)) == 1.0


def test_bootstrap_has_the_variance_of_the_paired_difference() -> None:
    task = TASKS["SST-2"]
    labels, ours = draw("SST-2", 400, seed=3)
    theirs = draw("SST-2", 400, seed=4)[1]
    scores = (np.array(ours) == labels).astype(float) - (np.array(theirs) == labels)
    drawn = resample_differences(task, "accuracy", labels, [ours], [theirs], 20_000)
    assert drawn.shape == (20_000,)
    assert drawn.mean() == pytest.approx(scores.mean(), abs=0.002)
    assert drawn.std() == pytest.approx(scores.std() / 20, rel=0.03)


@pytest.mark.parametrize(("task_name", "metric"), CASES)
def test_the_same_predictions_are_inside_noise(task_name: str, metric: str) -> None:
    labels, predictions = draw(task_name, 50, seed=5)
    answers = {1: predictions, 2: predictions}
    task = replace(TASKS[task_name], metrics=(metric,))
    comparison = compare(task, metric, labels, answers, answers, num_resamples=200)
    assert (comparison.difference, comparison.ci_low, comparison.ci_high) == (0, 0, 0)
    assert (comparison.p_examples, comparison.p_seeds) == (1.0, 1.0)
    assert comparison.verdict == "inside noise"


def test_a_clear_difference_is_called_ahead_and_behind() -> None:
    task = TASKS["SST-2"]
    labels = ["0", "1"] * 100
    right = {seed: labels[:-seed] + ["0"] * seed for seed in (1, 2, 3)}
    chance = {seed: ["0"] * 200 for seed in (1, 2, 3)}
    ahead = compare(task, "accuracy", labels, right, chance, num_resamples=500)
    assert ahead.verdict == "ahead"
    assert ahead.difference == pytest.approx((199 + 199 + 198) / 600 - 0.5)
    assert ahead.ci_low < ahead.difference < ahead.ci_high
    assert set(ahead.p_mcnemar) == {1, 2, 3}
    assert compare(task, "accuracy", labels, chance, right, num_resamples=500).verdict == "behind"
    one = compare(task, "accuracy", labels, {1: right[1]}, {1: chance[1]}, num_resamples=500)
    assert (one.p_seeds, one.verdict) == (None, "ahead (one seed)")


@pytest.mark.parametrize(("number", "p", "verdict"), [(1, 1, "inside"), (5, 1 / 16, "inside"), (6, 1 / 32, "ahead")])
def test_a_few_examples_prove_no_more_than_their_signs(number: int, p: float, verdict: str) -> None:
    """All resamples of examples that one model alone gets right say the same, be it a single example."""
    right, wrong = {seed: ["1"] * number for seed in (1, 2)}, {seed: ["0"] * number for seed in (1, 2)}
    comparison = compare(TASKS["SST-2"], "accuracy", right[1], right, wrong, num_resamples=500)
    assert (comparison.difference, comparison.p_examples) == (1, p)
    assert comparison.p_examples >= comparison.p_mcnemar[1]  # the exact test
    assert comparison.verdict.startswith(verdict)


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 1e9])
def test_correlations_are_compared_on_any_scale(scale: float) -> None:
    task = TASKS["STS-B"]
    labels, ours = draw("STS-B", 40, seed=8)
    theirs = draw("STS-B", 40, seed=9)[1]
    expected = compare(task, "pearson", labels, {1: ours}, {1: theirs}, num_resamples=100)
    scaled = [[repr(float(score) * scale) for score in side] for side in (labels, ours, theirs)]
    found = compare(task, "pearson", scaled[0], {1: scaled[1]}, {1: scaled[2]}, num_resamples=100)
    for name in ("difference", "ci_low", "ci_high", "p_examples"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), abs=1e-9)


def test_noise_of_the_seeds_alone_withholds_the_verdict() -> None:
    """One lucky seed of three: clear over examples, not over seeds."""
    labels = ["0", "1"] * 200
    chance = ["0"] * 400
    comparison = compare(
        TASKS["SST-2"],
        "accuracy",
        labels,
        {1: labels, 2: chance, 3: chance},
        {1: chance, 2: chance, 3: chance},
        num_resamples=500,
    )
    assert comparison.p_examples < 0.05 < comparison.p_seeds
    assert comparison.verdict == "inside noise"


def test_undefined_metric_has_no_verdict() -> None:
    constant, varied = ["1", "1", "1"], ["1", "2", "3"]
    comparison = compare(TASKS["STS-B"], "pearson", varied, {1: constant}, {1: varied}, num_resamples=50)
    assert comparison == Comparison(None, None, None, None, None, {})
    assert comparison.verdict == "n/a"


def test_the_same_input_gives_the_same_numbers() -> None:
    labels, ours = draw("CoLA", 60, seed=6)
    theirs = draw("CoLA", 60, seed=7)[1]
    first, second = (
        compare(TASKS["CoLA"], "matthews", labels, {1: ours}, {1: theirs}, num_resamples=300) for _ in range(2)
    )
    assert first == second
