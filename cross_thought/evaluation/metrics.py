"""GLUE's metrics of a split, computed from label strings and predictions; all but accuracy by scikit-learn and scipy.

These are imported where they are needed: it takes a second, and most jobs score by accuracy alone.

Values are fractions (0.91, not 91). A metric that has no value, such as the correlation with constant predictions, is
`None` (`null` in JSON, `n/a` in tables): a made-up zero would look like a result.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import eq

import numpy as np

from cross_thought.data.definitions import CLASS_METRICS, Task
from cross_thought.errors import UserError
from cross_thought.evaluation.predictions import SplitPredictions
from cross_thought.evaluation.rankings import chance_value, ranking_value

Metrics = dict[str, float | None]


def compute_metrics(task: Task, labels: Sequence[str], predictions: Sequence[str]) -> Metrics:
    """Score predictions with the task's own metrics: fractions, None where a metric is undefined.

    Args:
        labels: the right answers, one string an example (a number's text for regression; see `rankings.py`).
        predictions: the model's answers in the same form and order; rankings in answer selection.

    Raises:
        UserError: if there is no example, the lengths differ, a label is not one of the task's, or a ranking lacks it.
    """
    if not labels or len(labels) != len(predictions):
        raise UserError(f"task {task.name}: {len(predictions)} predictions for {len(labels)} labels: evaluate it again")
    if task.selection is not None:
        return {metric: ranking_value(task, metric, labels, predictions) for metric in task.metrics}
    if task.labels is None:
        return {metric: _regression_metric(task, metric, labels, predictions) for metric in task.metrics}
    for values in (labels, predictions):
        for unknown in sorted(set(values) - set(task.labels)):
            raise UserError(f"task {task.name}: {unknown!r} is none of its labels {', '.join(task.labels)}")
    return {metric: _classification_metric(task, metric, labels, predictions) for metric in task.metrics}


def positive_label(task: Task, *, metric: str = "f1") -> str:
    """Return the label whose F1, precision and recall count: the last of the two, which is `1` in MRPC and QQP."""
    if task.labels is None or len(task.labels) != 2:
        raise UserError(f"task {task.name}: metric {metric} needs exactly two labels; use accuracy or macro_{metric}")
    return task.labels[-1]


def majority_metrics(task: Task, rows: SplitPredictions) -> Metrics:
    """Score always answering the split's most frequent label; None throughout for regression.

    In answer selection a candidate's number means nothing: there, score what a random order is expected to.
    """
    if task.labels is None:
        return dict.fromkeys(task.metrics)
    if task.selection is not None:
        return {metric: chance_value(task, metric, rows.labels, rows.predictions) for metric in task.metrics}
    # of equally frequent labels the first in the alphabet
    majority = max(Counter(sorted(rows.labels)).items(), key=lambda item: item[1])[0]
    return compute_metrics(task, rows.labels, [majority] * len(rows.labels))


def majority_rate(task: Task, rows: SplitPredictions) -> float | None:
    """Return the share of the most frequent label, None for regression; the accuracy of chance in answer selection."""
    return majority_metrics(replace(task, metrics=("accuracy",)), rows)["accuracy"]


def metrics_document(
    *,
    model: str,
    task: Task,
    seed: int,
    predictions: Mapping[str, SplitPredictions],
    num_train_examples: int | None,
    counts: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, object]:
    """Assemble what `metrics.json` says of one fine-tuned model: each split whose labels are known.

    `num_train_examples` and `counts` (of `prepared.read_counts`) are facts about the data, which no prediction tells;
    None where they are not known.
    """
    splits = {
        split: {
            "num_examples": len(rows.labels),
            "metrics": compute_metrics(task, rows.labels, rows.predictions),
            "majority_rate": majority_rate(task, rows),
        }
        for split, rows in predictions.items()
        if rows.has_labels
    }
    known = {"model": model, "task": task.name, "seed": seed, "num_train_examples": num_train_examples}
    return known | {"splits": splits} | ({} if counts is None else {"counts": counts})


def _classification_metric(task: Task, metric: str, labels: Sequence[str], predictions: Sequence[str]) -> float | None:
    if metric == "accuracy":
        return float(sum(map(eq, labels, predictions)) / len(labels))
    from sklearn import metrics as sklearn

    if metric == "matthews":
        # Constant predictions score 0 by convention, in scikit-learn, which warns of it, and on the leaderboard.
        if len({*labels, *predictions}) == 1:
            return 0.0
        return float(sklearn.matthews_corrcoef(labels, predictions))
    counted = {"f1": sklearn.f1_score, "precision": sklearn.precision_score, "recall": sklearn.recall_score}
    score = counted.get(metric.removeprefix("macro_"))
    if score is None:
        raise UserError(f"task {task.name}: metric {metric} does not apply to labels; use {', '.join(CLASS_METRICS)}")
    if metric not in counted:
        # over the labels that examples have, whatever is predicted, else models would be scored over other ones each
        return float(score(labels, predictions, labels=sorted(set(labels)), average="macro", zero_division=0))
    positive = [positive_label(task, metric=metric)]
    value = float(score(labels, predictions, labels=positive, average=None, zero_division=np.nan)[0])
    return None if np.isnan(value) else value


def _regression_metric(task: Task, metric: str, labels: Sequence[str], predictions: Sequence[str]) -> float | None:
    from scipy import stats

    correlations = {"pearson": stats.pearsonr, "spearman": stats.spearmanr}
    if metric not in correlations:
        raise UserError(f"task {task.name}: metric {metric} does not apply to scores; use pearson or spearman")
    try:
        sides = [np.asarray(list(map(float, side))) for side in (labels, predictions)]
    except ValueError as error:
        raise UserError(f"task {task.name} has scores, not labels: {error}") from None
    if not all(len(side) > 1 and np.isfinite(side).all() and np.ptp(side) > 0 for side in sides):
        return None
    value = float(correlations[metric](*sides).statistic)
    return value if np.isfinite(value) else None
