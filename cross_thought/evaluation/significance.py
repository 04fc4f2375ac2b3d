"""Is a difference between two models more than noise? Paired tests over the shared examples, and over seeds.

Two sources of noise are told apart. *Examples*: another development set of the same size would give another
difference; a paired bootstrap over the examples measures that. *Seeds*: fine-tuning again would give another
difference; Welch's t-test over the seeds' values measures that. A difference counts only if it passes both.

The tests are scipy's but for the bootstrap: `scipy.stats.bootstrap` and scikit-learn's metrics score one resample at a
time. For the F1 of two models on 40,430 examples, as QQP has, that took 6.9 s for 200 resamples on one core of an Intel
Xeon, so near six minutes for all 10,000; here a matrix product scores thousands of them at once, all of them in 0.1 s.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from cross_thought.data.definitions import RANKING_METRICS, Task, ranking_metric
from cross_thought.evaluation.metrics import compute_metrics, positive_label
from cross_thought.evaluation.rankings import is_counted, question_scores, ranks_of_labels

SIGNIFICANCE_LEVEL = 0.05
NUM_RESAMPLES = 10_000

# Resamples are drawn in portions of about this many weights, to bound memory.
_WEIGHTS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Comparison:
    """A model's metric less the control's; fractions, None where undefined or not applicable."""

    difference: float | None  # of the means over seeds
    ci_low: float | None  # the bootstrap's 95 % interval over examples
    ci_high: float | None
    p_examples: float | None  # the bootstrap's, two-sided; of n examples at least 2 / 2^n
    p_seeds: float | None  # Welch's over seeds, two-sided; None unless both models have two seeds or more
    p_mcnemar: dict[int, float]  # of each seed that both models have: exact, for accuracy

    @property
    def verdict(self) -> str:
        """Return `ahead`, `behind` or `inside noise`, marked where one seed cannot tell the seeds' noise."""
        if self.difference is None or self.p_examples is None:
            return "n/a"
        if self.p_examples >= SIGNIFICANCE_LEVEL or (self.p_seeds is not None and self.p_seeds >= SIGNIFICANCE_LEVEL):
            return "inside noise"
        word = "ahead" if self.difference > 0 else "behind"
        return word if self.p_seeds is not None else f"{word} (one seed)"


UNDEFINED = Comparison(None, None, None, None, None, {})


def compare(
    task: Task,
    metric: str,
    labels: Sequence[str],
    predictions: Mapping[int, Sequence[str]],
    control_predictions: Mapping[int, Sequence[str]],
    *,
    num_resamples: int = NUM_RESAMPLES,
) -> Comparison:
    """Compare a model with the control on the same examples; all None if the metric is undefined for any seed.

    `predictions` and `control_predictions` have of each seed the model's answers. The bootstrap's generator is seeded,
    so the same input gives the same numbers.
    """
    if task.selection is not None:
        counted = [place for place, label in enumerate(labels) if is_counted(metric, label)]
        if not counted:
            return UNDEFINED
        labels = [labels[place] for place in counted]
        predictions, control_predictions = (
            {seed: [answers[place] for place in counted] for seed, answers in side.items()}
            for side in (predictions, control_predictions)
        )
    models = list(predictions.values()), list(control_predictions.values())
    values = [[compute_metrics(task, labels, answers)[metric] for answers in seeds] for seeds in models]
    defined = [[value for value in side if value is not None] for side in values]
    if defined != values:
        return UNDEFINED
    resampled = resample_differences(task, metric, labels, *models, num_resamples)
    resampled = resampled[np.isfinite(resampled)]
    if not len(resampled):
        return UNDEFINED
    difference = float(np.mean(defined[0]) - np.mean(defined[1]))
    low, high = map(float, np.quantile(resampled, [SIGNIFICANCE_LEVEL / 2, 1 - SIGNIFICANCE_LEVEL / 2]))
    p_mcnemar = {
        seed: mcnemar_p_value(*encode_answers(task, labels, [predictions[seed], control_predictions[seed]]))
        for seed in predictions
        if metric == "accuracy" and seed in control_predictions
    }
    # resamples of a few examples that all say the same agree: no less is granted than by their signs, an exact test
    p_examples = max(bootstrap_p_value(resampled), 2.0 ** (1 - len(labels)))
    return Comparison(difference, low, high, p_examples, welch_p_value(*defined), p_mcnemar)


def bootstrap_p_value(differences: np.ndarray) -> float:
    """Return the two-sided p value of resampled differences: twice the smaller tail, ties with 0 in both."""
    count = len(differences)
    tail = min((differences <= 0).sum(), (differences >= 0).sum())
    # The added one keeps p above 0: with 10,000 resamples nothing below 1/10,000 can be told.
    return float(min(1.0, 2 * (tail + 1) / (count + 1)))


def welch_p_value(values: Sequence[float], control_values: Sequence[float]) -> float | None:
    """Return Welch's two-sided p value over seeds; None below two seeds on either side."""
    if min(len(values), len(control_values)) < 2:
        return None
    if np.ptp(values) == 0 and np.ptp(control_values) == 0:
        return 1.0 if values[0] == control_values[0] else 0.0
    from scipy import stats  # late, as in `metrics`

    # from the moments: `ttest_ind` warns of lost precision where the seeds of one side agree
    moments = [(np.mean(side), np.std(side, ddof=1), len(side)) for side in (values, control_values)]
    return float(stats.ttest_ind_from_stats(*moments[0], *moments[1], equal_var=False).pvalue)


def mcnemar_p_value(labels: Sequence | np.ndarray, *answers: Sequence | np.ndarray) -> float:
    """Return the exact McNemar p value of two: a sign test on the examples that only one of them gets right."""
    from scipy import stats

    right, control_right = (np.asarray(labels) == np.asarray(side) for side in answers)
    only, control_only = int((right & ~control_right).sum()), int((~right & control_right).sum())
    return float(stats.binomtest(only, only + control_only).pvalue) if only + control_only else 1.0


def resample_differences(
    task: Task,
    metric: str,
    labels: Sequence[str],
    answers: Sequence[Sequence[str]],
    control_answers: Sequence[Sequence[str]],
    num_resamples: int,
) -> np.ndarray:
    """Draw the paired bootstrap's differences of the metric's mean over seeds.

    Examples that have the same label and got the same answers from every seed of both models are interchangeable,
    so a resample is a multinomial draw over such kinds of example: the same distribution, and for classification
    thousands of examples become a few dozen kinds. The result, shape (num_resamples,), is NaN where a resample leaves
    the metric undefined.
    """
    columns = np.stack(encode_answers(task, labels, [*answers, *control_answers], metric=metric), axis=1)
    kinds, counts = np.unique(columns, axis=0, return_counts=True)
    metric_of = weighted_metric(task, metric)
    generator = np.random.default_rng(0)
    portions = []
    for start in range(0, num_resamples, size := max(1, _WEIGHTS_AT_ONCE // len(kinds))):
        count = min(size, num_resamples - start)
        weights = generator.multinomial(len(labels), counts / len(labels), size=count).astype(float)
        values = metric_of(kinds[:, 0], kinds[:, 1:].T, weights)
        portions.append(values[: len(answers)].mean(axis=0) - values[len(answers) :].mean(axis=0))
    return np.concatenate(portions)


def weighted_metric(task: Task, metric: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return the metric as a function of labels (P,), answers (M, P) and weights (R, P), with results (M, R).

    P are kinds of example, M sets of answers, R resamples; a weight is the number of times an example counts. Labels
    and answers are coded as by `encode_answers`.
    """
    if metric == "accuracy":
        return lambda labels, answers, weights: (answers == labels) @ weights.T / weights.sum(axis=1)
    if metric == "mrr":
        return lambda labels, answers, weights: (1 / answers) @ weights.T / weights.sum(axis=1)
    if ranking_metric(metric) is not None:
        return lambda labels, answers, weights: answers @ weights.T / weights.sum(axis=1)
    if metric == "matthews" or metric.removeprefix("macro_") in _SHARES:
        return partial(_classification, task, metric)
    if metric in ("pearson", "spearman"):
        return partial(_correlation, metric == "spearman")
    raise ValueError(f"no weighted form of metric {metric!r}")


def encode_answers(
    task: Task, labels: Sequence[str], answers: Sequence[Sequence[str]], *, metric: str = "accuracy"
) -> list[np.ndarray]:
    """Code labels and each seed's answers as numbers that are equal where the answer is right.

    They are places in `task.labels`, or scores; in answer selection the place of the first right candidate in the
    ranking, 1 for the labels, or, for other metrics than accuracy and mrr, the question's metric.
    """
    sides = [labels, *answers]
    if task.selection is not None and metric in RANKING_METRICS:
        return [np.asarray(ranks_of_labels(task, labels, rankings)) for rankings in sides]
    if task.selection is not None:
        scores = [np.asarray(question_scores(task, metric, labels, rankings)) for rankings in answers]
        return [np.ones(len(labels)), *scores]
    code = float if task.labels is None else {label: place for place, label in enumerate(task.labels)}.__getitem__
    return [np.asarray(list(map(code, side))) for side in sides]


# how often an example counts for which that a label is right, and that it is answered; of each, what is both of them
_SHARES = {"f1": (0.5, 0.5), "precision": (0.0, 1.0), "recall": (1.0, 0.0)}


def _classification(
    task: Task, metric: str, labels: np.ndarray, answers: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    classes = np.arange(len(task.labels or ()))[:, None, None]
    is_label, is_answer = labels == classes, answers == classes
    # how often each label is right, answered, and both; shape (classes, M or 1, R)
    of_labels, of_answers, both = (found @ weights.T for found in (is_label, is_answer, is_label & is_answer))
    if metric == "matthews":
        total = weights.sum(axis=1)
        covariance = both.sum(axis=0) * total - (of_labels * of_answers).sum(axis=0)
        variances = (total**2 - (of_labels**2).sum(axis=0)) * (total**2 - (of_answers**2).sum(axis=0))
        # As in scikit-learn, a constant side scores 0.
        return np.divide(covariance, np.sqrt(variances), out=np.zeros(covariance.shape), where=variances > 0)
    label_share, answer_share = _SHARES[metric.removeprefix("macro_")]
    whole = label_share * of_labels + answer_share * of_answers
    if metric in _SHARES:
        positive = (task.labels or ()).index(positive_label(task, metric=metric))
        return np.divide(both, whole, out=np.full(both.shape, np.nan), where=whole > 0)[positive]
    # the mean over the labels that examples have; of any other, the value is 0
    values = np.divide(both, whole, out=np.zeros(both.shape), where=whole > 0)
    return values.sum(axis=0) / (of_labels > 0).sum(axis=0)


def _correlation(of_ranks: bool, labels: np.ndarray, answers: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlate the labels, or their ranks, with each set of answers; NaN where a side is constant but for rounding."""
    total = weights.sum(axis=1, keepdims=True)
    shares = weights / total
    # at most 1, so that what is constant but for rounding is so on any scale
    centred = (_ranks(side, weights) / total if of_ranks else _scaled(side) for side in [labels, *answers])
    first, *others = (side - (shares * side).sum(axis=1, keepdims=True) for side in centred)
    variance, *variances = ((shares * side**2).sum(axis=1) for side in [first, *others])
    product = variance * np.stack(variances)
    covariance = np.stack([(shares * first * side).sum(axis=1) for side in others])
    return np.divide(covariance, np.sqrt(product), out=np.full(product.shape, np.nan), where=product > 1e-24)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Centre scores, and scale them to at most 1."""
    centred = values - values.mean()
    largest = np.abs(centred).max()
    return centred / largest if largest > 0 else centred


def _ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Rank `values` (P,) where each counts `weights` (R, P) times; ties share their mean rank. Shape (R, P)."""
    _, group_of, sizes = np.unique(values, return_inverse=True, return_counts=True)
    of_groups = np.add.reduceat(weights[:, np.argsort(group_of, kind="stable")], np.cumsum(sizes) - sizes, axis=1)
    return (np.cumsum(of_groups, axis=1) - (of_groups - 1) / 2)[:, group_of]
