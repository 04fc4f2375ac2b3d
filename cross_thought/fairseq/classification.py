"""fairseq's `sentence_prediction` loss with class weights and label smoothing: importing this module registers it.

It is the criterion `sentence_classification`, torch's `CrossEntropyLoss`. Import it after `bridge.install()`.
"""

import argparse

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.sentence_prediction import SentencePredictionCriterion
from fairseq.models import BaseFairseqModel
from fairseq.tasks import FairseqTask
from torch import Tensor
from torch.nn import functional as F

from cross_thought.errors import UserError


@register_criterion("sentence_classification")
class SentenceClassificationCriterion(SentencePredictionCriterion):
    """Cross-entropy of classes that may count differently, with smoothed labels; accuracy is that of all examples.

    Args:
        task: `sentence_prediction`.
        classification_head_name: the head that scores the classes.
        class_weights: numbers separated by commas, one for each class; None: all are 1.
        label_smoothing: the share of each label that is spread over all classes.

    Raises:
        UserError: if there is not a weight for each class.
    """

    def __init__(
        self, task: FairseqTask, classification_head_name: str, class_weights: str | None, label_smoothing: float
    ) -> None:
        super().__init__(task, classification_head_name, regression_target=False)
        num_classes = task.args.num_classes
        weights = [1.0] * num_classes if class_weights is None else [float(part) for part in class_weights.split(",")]
        if len(weights) != num_classes:
            raise UserError(
                f"--class-weights {class_weights} has {len(weights)} weights: give {num_classes}, one a class"
            )
        self._class_weights = weights
        self._label_smoothing = label_smoothing

    @staticmethod
    def add_args(parser: argparse.ArgumentParser) -> None:
        """Add the flags of the loss."""
        SentencePredictionCriterion.add_args(parser)
        parser.add_argument("--class-weights", metavar="W,W,...", help="weights of the classes, in their order")
        parser.add_argument(
            "--label-smoothing", type=float, default=0.0, metavar="S", help="share of a label spread out"
        )

    def forward(self, model: BaseFairseqModel, sample: dict, reduce: bool = True) -> tuple[Tensor, Tensor, dict]:
        """Return the weighted sum of the losses, the sum of the weights, and what fairseq logs."""
        logits, _ = model(
            **sample["net_input"], features_only=True, classification_head_name=self.classification_head_name
        )
        target = model.get_targets(sample, [logits]).view(-1)
        weights = torch.tensor(self._class_weights, device=logits.device)
        loss = F.cross_entropy(logits.float(), target, weights, reduction="sum", label_smoothing=self._label_smoothing)
        sample_size = weights[target].sum()  # so that an update's mean is torch's
        return (
            loss,
            sample_size,
            {
                "loss": loss.data,
                "ntokens": sample["ntokens"],
                "nsentences": len(target),
                "sample_size": sample_size,
                "ncorrect": (logits.argmax(dim=1) == target).sum(),
            },
        )
