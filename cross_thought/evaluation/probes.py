"""Probes: what a linear classifier makes of frozen embeddings, as in SentEval.

A logistic regression is trained on the train set's embeddings, each feature scaled to a variance of 1; the strength of
its L2 penalty is chosen by cross-validation there. Of pairs with the embeddings u and v, the features are u, v, |u - v|
and u * v.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import numpy as np
from scipy import sparse

from cross_thought.data.definitions import EmbeddingTask, Task
from cross_thought.data.prepared import Example
from cross_thought.errors import UserError

NUM_FOLDS, NUM_STRENGTHS = 5, 10
_SEED = 1
_MAX_ITERATIONS = 1000

Matrix: TypeAlias = np.ndarray | sparse.csr_matrix


@dataclass(frozen=True)
class Probes:
    """The examples of one split: the row in the prepared file, its label, what the classifier says."""

    row: list[int]
    label: list[str]
    prediction: list[str]

    def sizes(self) -> dict[str, int]:
        """Return how much was evaluated."""
        return {"num_examples": len(self.row)}


def probe_scores(task: EmbeddingTask, probes: Probes) -> dict[str, Mapping[str, float | None]]:
    """Return a split's `metrics`, and those by `chance`: of always answering its most frequent label."""
    from cross_thought.evaluation.metrics import compute_metrics, majority_metrics
    from cross_thought.evaluation.predictions import SplitPredictions

    probed = cast(Task, task.probed)
    rows = SplitPredictions(list(map(str, probes.row)), probes.label, probes.prediction)
    metrics = compute_metrics(probed, probes.label, probes.prediction)
    return {"metrics": metrics, "chance": majority_metrics(probed, rows)}


def evaluate_probe(
    task: EmbeddingTask, examples: Mapping[str, Sequence[Example]], encode: Callable[[list[str]], Matrix]
) -> dict[str, Probes]:
    """Embed the sentences of all splits, train a classifier on `train` and let it answer the others.

    Raises:
        UserError: if a label has fewer than two examples to train on, or an embedding is not finite.
    """
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = [example.label for example in examples["train"]]
    rarest, number = min(Counter(labels).items(), key=lambda item: item[1])
    if number < 2:
        raise UserError(
            f"{task.name}: one example alone to train on has the label {rarest!r}, and a probe's "
            "cross-validation needs two: add some, or raise max_train_examples"
        )
    texts = (text.strip() for of_split in examples.values() for example in of_split for text in example.sentences)
    places = {sentence: place for place, sentence in enumerate(dict.fromkeys(texts))}
    embeddings = encode(list(places))
    if isinstance(embeddings, np.ndarray) and not np.isfinite(embeddings).all():
        raise UserError(f"{task.name}: an embedding is not finite: the checkpoint is damaged, train the model again")

    def features(of_split: Sequence[Example]) -> Matrix:
        columns = zip(*([places[text.strip()] for text in example.sentences] for example in of_split), strict=True)
        return _features([embeddings[list(column)] for column in columns])

    folds = StratifiedKFold(min(NUM_FOLDS, number), shuffle=True, random_state=_SEED)
    classifier = make_pipeline(
        StandardScaler(with_mean=isinstance(embeddings, np.ndarray)),
        LogisticRegressionCV(
            Cs=NUM_STRENGTHS, cv=folds, scoring="accuracy", l1_ratios=(0,), max_iter=_MAX_ITERATIONS,
            use_legacy_attributes=False,
        ),
    )  # fmt: skip
    classifier.fit(features(examples["train"]), labels)
    found = {}
    for split in task.splits:
        answers = list(map(str, classifier.predict(features(examples[split]))))
        found[split] = Probes(list(range(len(answers))), [example.label for example in examples[split]], answers)
    return found


def _features(sides: Sequence[Matrix]) -> Matrix:
    """Return what is classified: the embeddings of single sentences as they are, shape (n, d); of pairs, (n, 4 d)."""
    if len(sides) == 1:
        return sides[0]
    left, right = sides
    if isinstance(left, np.ndarray):
        return np.hstack([left, right, np.abs(left - right), left * right])
    return sparse.hstack([left, right, abs(left - right), left.multiply(right)]).tocsr()
