"""What fine-tuning adds to the encoder: the classification head, and what of its task a user of the model must know.

Exports carry this file.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CLASSIFICATION, REGRESSION, SELECTION = KINDS = ("classification", "regression", "answer_selection")
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "gelu": F.gelu,
    "linear": nn.Identity(),
}
# what the transformers library calls the kinds that have a head
PROBLEM_TYPES = {CLASSIFICATION: "single_label_classification", REGRESSION: "regression"}
HEAD_PREFIX = "classification_heads.sentence_classification_head."  # of its weights' names, as published
SCORE_NAME = "score"  # of a regression's output, where a library wants a label's name


Head = TypeVar("Head", bound=nn.Module)


def load_head(head: Head, weights: Mapping[str, Tensor], *, about: str, prefix: str) -> Head:
    """Give a head its weights, in float32.

    Args:
        head: of whatever weights.
        weights: by their names in it.
        about: what messages call it.
        prefix: of the weights' names in a model's files.

    Raises:
        ValueError: if one is missing, too many, of a wrong shape or not finite.
    """
    expected = {name: tuple(weight.shape) for name, weight in head.state_dict().items()}
    found = {name: tuple(weight.shape) for name, weight in weights.items()}
    if found != expected:
        raise ValueError(f"the {about} has weights of the shapes {found} where {expected} are called for")
    for name, weight in weights.items():
        if not weight.isfinite().all():
            raise ValueError(f"{prefix}{name} is not finite: the training diverged")
    head.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return head.eval().requires_grad_(False)


class ClassificationHead(nn.Module):
    """fairseq's head of RoBERTa, parameter names as published: a layer, its activation, and the projection to classes.

    Args:
        embed_dim: width of what it reads, d.
        inner_dim: width of the layer.
        num_classes: outputs; 1 for a regression.
        activation: one of `ACTIVATIONS`.
        dropout: probability before both projections.
    """

    def __init__(
        self, embed_dim: int, inner_dim: int, num_classes: int, *, activation: str = "tanh", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(embed_dim, inner_dim)
        self.activation = activation
        self.dropout = dropout
        self.out_proj = nn.Linear(inner_dim, num_classes)

    def forward(self, slot_states: Tensor) -> Tensor:
        """Score the classes.

        Args:
            slot_states: of `encode_sentences`, shape (batch, k, d), of which the head reads slot 0.

        Returns:
            Scores before the softmax, shape (batch, num_classes).
        """
        hidden = F.dropout(slot_states[:, 0], self.dropout, self.training)
        hidden = ACTIVATIONS[self.activation](self.dense(hidden))
        return self.out_proj(F.dropout(hidden, self.dropout, self.training))


@dataclass(frozen=True, kw_only=True)
class FineTunedTask:
    """What a model was fine-tuned on.

    Attributes:
        task: its name.
        kind: one of `KINDS`.
        labels: of a classification, their names in the order of the head's outputs; else None.
        num_sentences: in a row, 1 or 2, None if that is not known; of answer selection, the question and its
            candidates, as many as there were to learn from.
        score_scale: what a regression's scores were divided by: its output, times this, is a score of the task.
        max_sentence_tokens: of a sentence, `</s>` included and `<s>` not; longer ones were cut. None: as the positions
            allow.
        columns: of the sentences in the task's files, by number from 1 or by name.
        header: whether the first line of these files names the columns.
        metrics: figures of the model, by split and by metric, as fractions; none where none are known.

    Raises:
        ValueError: if a value is none of its kind.
    """

    task: str
    kind: str
    labels: tuple[str, ...] | None = None
    num_sentences: int | None = None
    score_scale: float = 1.0
    max_sentence_tokens: int | None = None
    columns: tuple[int | str, ...] = ()
    header: bool = True
    metrics: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        is_selection, longest = self.kind == SELECTION, self.max_sentence_tokens
        is_fit = {
            "task": isinstance(self.task, str),
            "kind": self.kind in KINDS,
            "labels": _are_labels(self.labels) if self.kind == CLASSIFICATION else self.labels is None,
            "num_sentences": self.num_sentences in (1, 2, None)
            or (is_selection and _is_integer(self.num_sentences, least=2)),
            "score_scale": _is_finite(self.score_scale) and self.score_scale > 0,
            "max_sentence_tokens": longest is None or _is_integer(longest, least=2),
            "columns": all(isinstance(column, str) or _is_integer(column, least=1) for column in self.columns),
            "header": isinstance(self.header, bool),
            "metrics": _are_metrics(self.metrics),
        }
        for name, fits in is_fit.items():
            if not fits:
                raise ValueError(f"{name} is {getattr(self, name)!r}, which is no {name} of a fine-tuned model")

    @classmethod
    def from_document(cls, document: Any) -> "FineTunedTask":
        """Read what `document` wrote, out of a file that may hold anything.

        Raises:
            ValueError: if it is no such thing.
        """
        try:
            given = dict(document)
            for name in ("labels", "columns"):
                if isinstance(given.get(name), list):
                    given[name] = tuple(given[name])
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"what it was fine-tuned on is not described by the known keys ({error})") from None

    def document(self) -> dict[str, Any]:
        """Return the same as what JSON can hold."""
        return {
            "task": self.task,
            "kind": self.kind,
            "labels": None if self.labels is None else list(self.labels),
            "num_sentences": self.num_sentences,
            "score_scale": self.score_scale,
            "max_sentence_tokens": self.max_sentence_tokens,
            "columns": list(self.columns),
            "header": self.header,
            "metrics": {split: dict(figures) for split, figures in self.metrics.items()},
        }


def head_document(task: FineTunedTask, head: ClassificationHead | None) -> dict[str, Any]:
    """Return what config.json says of a fine-tuned model; labels and kind of problem are named as transformers does."""
    about = task.document()
    labels = about.pop("labels") or [SCORE_NAME]
    if head is None:
        return {"fine_tuned_on": about}
    return {
        "fine_tuned_on": about,
        "classifier_activation": head.activation,
        "classifier_dim": head.dense.out_features,
        "problem_type": PROBLEM_TYPES[task.kind],
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }


def task_of_config(document: Mapping[str, Any]) -> FineTunedTask | None:
    """Return what config.json says that a model was fine-tuned on; None if it says nothing.

    Raises:
        ValueError: if that is damaged, or its head is for another kind of problem.
    """
    about = document.get("fine_tuned_on")
    if about is None:
        return None
    if not isinstance(about, dict) or "labels" in about:
        raise ValueError("fine_tuned_on is not as an export has it")
    problem = document.get("problem_type")
    for kind, name in PROBLEM_TYPES.items():
        if about.get("kind") == kind and problem not in (None, name):
            raise ValueError(f"its problem_type is {problem!r}, where a {kind} has {name!r}")
    labels = None
    if about.get("kind") == CLASSIFICATION:
        names = document.get("id2label")
        if not isinstance(names, dict) or set(names) != {str(number) for number in range(len(names))}:
            raise ValueError(f"id2label is {names!r}, not a name for each number from 0")
        labels = tuple(names[str(number)] for number in range(len(names)))
    return FineTunedTask.from_document({**about, "labels": labels})


def check_head(task: FineTunedTask | None, head: ClassificationHead | None, *, embed_dim: int) -> None:
    """Refuse a head that does not fit the task, or the encoder.

    Raises:
        ValueError: saying how.
    """
    if task is None:
        if head is not None:
            raise ValueError("it has a classification head, and nothing says what it was fine-tuned on")
        return
    if (head is None) != (task.kind == SELECTION):
        raise ValueError(
            f"it was fine-tuned on {task.kind}, and has {'no' if head is None else 'a'} classification head"
        )
    if head is None:
        return
    if head.dense.in_features != embed_dim:
        raise ValueError(f"its head reads {head.dense.in_features} numbers, its encoder gives {embed_dim}")
    num_outputs = 1 if task.labels is None else len(task.labels)
    if head.out_proj.out_features != num_outputs:
        raise ValueError(f"its head has {head.out_proj.out_features} outputs for {num_outputs} labels")


def _is_integer(value: Any, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_finite(value: Any) -> bool:
    largest = sys.float_info.max  # of an integer out of a file, too, which may have any number of digits
    return isinstance(value, int | float) and not isinstance(value, bool) and -largest <= value <= largest


def _are_labels(labels: Any) -> bool:
    """Whether these are two or more different names that fit into a column."""
    return (
        isinstance(labels, Sequence)
        and len(labels) >= 2
        and all(isinstance(label, str) and label and not set("\t\n") & set(label) for label in labels)
        and len(set(labels)) == len(labels)
    )


def _are_metrics(metrics: Any) -> bool:
    """Whether these are numbers by split and name."""
    if not isinstance(metrics, Mapping) or not all(isinstance(figures, Mapping) for figures in metrics.values()):
        return False
    figures = [item for by_name in metrics.values() for item in by_name.items()]
    names = [*metrics, *(name for name, _ in figures)]
    return all(isinstance(name, str) for name in names) and all(
        value is None or _is_finite(value) for _, value in figures
    )
