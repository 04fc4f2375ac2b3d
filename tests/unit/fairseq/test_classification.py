"""The loss with class weights and label smoothing: torch's, over an update of several batches."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from cross_thought.errors import UserError
from cross_thought.fairseq import bridge

bridge.install()

from fairseq.logging import metrics  # noqa: E402

from cross_thought.fairseq.classification import SentenceClassificationCriterion  # noqa: E402

NUM_CLASSES = 3


class Scores(nn.Module):
    """Stands where the model does: its scores are its parameters."""

    classification_heads = ("head",)

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = nn.Parameter(scores)

    def forward(self, rows: Tensor, **_: object) -> tuple[Tensor, None]:
        return self.scores[rows], None

    def get_targets(self, sample: dict, _: object) -> Tensor:
        return sample["target"]


def criterion(weights: str | None, smoothing: float) -> SentenceClassificationCriterion:
    task = SimpleNamespace(args=SimpleNamespace(num_classes=NUM_CLASSES))
    return SentenceClassificationCriterion(task, "head", weights, smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, "0.5,3.0,1.25"])
def test_loss_and_gradient_are_torchs(weights: str | None, smoothing: float) -> None:
    torch.manual_seed(1)
    scores, target = torch.randn(10, NUM_CLASSES) * 3, torch.randint(NUM_CLASSES, (10, 1))
    model, logs, total = Scores(scores), [], torch.zeros(())
    for rows in (torch.arange(4), torch.arange(4, 10)):  # an update of two batches
        sample = {"net_input": {"rows": rows}, "target": target[rows], "ntokens": 7 * len(rows)}
        loss, _, log = criterion(weights, smoothing)(model, sample)
        logs, total = [*logs, log], total + loss
    size = sum(log["sample_size"] for log in logs)
    (total / size).backward()  # as fairseq's trainer divides

    expected_scores = scores.clone().requires_grad_()
    numbers = None if weights is None else torch.tensor([float(part) for part in weights.split(",")])
    expected = nn.CrossEntropyLoss(numbers, label_smoothing=smoothing)(expected_scores, target.view(-1))
    expected.backward()
    torch.testing.assert_close(total / size, expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(model.scores.grad, expected_scores.grad, rtol=0, atol=1e-6)
    with metrics.aggregate() as logged:
        SentenceClassificationCriterion.reduce_metrics(logs)
    assert logged["loss"].avg * torch.log(torch.tensor(2.0)) == pytest.approx(expected.item(), abs=1e-6)
    assert logged["accuracy"].avg == pytest.approx(100 * (scores.argmax(1) == target.view(-1)).float().mean().item())


def test_a_weight_too_few_is_refused() -> None:
    with pytest.raises(UserError, match="--class-weights 1,2 has 2 weights: give 3, one a class"):
        criterion("1,2", 0.0)
