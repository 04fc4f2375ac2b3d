"""Adam in one pass makes the updates of fairseq's own."""

from argparse import Namespace

import pytest
import torch

from cross_thought.fairseq import bridge

bridge.install()

from fairseq.optim.adam import FairseqAdam  # noqa: E402
from fairseq.optim.fp16_optimizer import FP16Optimizer  # noqa: E402

from cross_thought.fairseq.optimizer import FusedAdam  # noqa: E402

FLAGS = {"lr": [1e-3], "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-6, "weight_decay": 0.1}
SHAPES = [(30, 20), (20,), (7, 7), (5,)]


def make(kind: type) -> FairseqAdam:
    """Return an optimizer of weights that are the same each time."""
    generator = torch.Generator().manual_seed(1)
    weights = [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]
    return kind(Namespace(**FLAGS, use_old_adam=False, tpu=False), weights)


def update(optimizer: FairseqAdam, numbers: range, *, clip_norm: float) -> list[float]:
    """Make the updates of some numbers as fairseq's trainer does; return the gradients' norms."""
    norms = []
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        optimizer.zero_grad()
        optimizer.set_lr(1e-3 * (number % 50 + 1) / 50)
        for place, weight in enumerate(optimizer.params):
            # gradients as small as epsilon too; a weight that now and then has none, and one that never has
            gradient = torch.randn(weight.shape, generator=generator) * 10.0 ** -(number % 7)
            if not (place == 2 and number % 3 == 0) and place != 3:
                weight.grad = gradient
        optimizer.multiply_grads(torch.tensor(1 / 37))
        norms.append(float(optimizer.clip_grad_norm(clip_norm)))
        optimizer.step()
    return norms


@pytest.mark.parametrize("clip_norm", [0.0, 1e-3])
def test_two_hundred_updates_are_fairseqs_to_rounding(clip_norm: float) -> None:
    ours, theirs = make(FusedAdam), make(FairseqAdam)
    norms = [update(optimizer, range(200), clip_norm=clip_norm) for optimizer in (ours, theirs)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)
    for our, their, start in zip(ours.params, theirs.params, make(FusedAdam).params, strict=True):
        torch.testing.assert_close(our.detach(), their.detach(), rtol=1e-5, atol=2e-6)
        assert torch.equal(our, start) == (our.shape == (5,))


@pytest.mark.parametrize("kinds", [(FairseqAdam, FusedAdam), (FusedAdam, FairseqAdam)])
def test_a_run_goes_on_from_a_checkpoint_of_the_other(kinds: tuple[type, type]) -> None:
    whole, first, second = make(kinds[0]), make(kinds[0]), make(kinds[1])
    update(whole, range(60), clip_norm=0.0)
    update(first, range(30), clip_norm=0.0)
    assert kinds[0].__name__ == kinds[1].__name__  # what fairseq holds a checkpoint against
    with torch.no_grad():
        for old, new in zip(first.params, second.params, strict=True):
            new.copy_(old)
    second.load_state_dict(first.state_dict())
    update(second, range(30, 60), clip_norm=0.0)
    for expected, weight in zip(whole.params, second.params, strict=True):
        torch.testing.assert_close(weight.detach(), expected.detach(), rtol=1e-5, atol=2e-6)


def test_the_gradients_scale_is_forgotten_with_the_gradients() -> None:
    optimizer = make(FusedAdam)
    optimizer.multiply_grads(7.0)
    optimizer.zero_grad()
    (weight, *_) = optimizer.params
    weight.grad = torch.full_like(weight, 2.0)
    assert float(optimizer.clip_grad_norm(0.0)) == pytest.approx(2.0 * weight.numel() ** 0.5)


def test_in_float16_each_update_has_a_scale_of_its_own() -> None:
    """fairseq's wrapper for float16 drops the gradients itself, and scales them by the loss's scale."""
    flags = {
        "update_freq": [1], "distributed_world_size": 1, "model_parallel_size": 1, "fp16_init_scale": 128,
        "fp16_scale_window": None, "fp16_scale_tolerance": 0.0, "threshold_loss_scale": None, "min_loss_scale": 1e-4,
        "fp16_no_flatten_grads": True, "use_old_adam": False, "tpu": False,
    }  # fmt: skip
    norms, weights = {}, {}
    for name in ("adam", "fused_adam"):
        weight = torch.nn.Parameter(torch.ones(6, 4, dtype=torch.float16))
        optimizer = FP16Optimizer.build_optimizer(Namespace(**FLAGS, **flags, optimizer=name), [weight])
        for number in range(20):
            optimizer.zero_grad()
            generator = torch.Generator().manual_seed(number)
            optimizer.backward((weight * torch.randn(6, 4, generator=generator).half()).sum())
            optimizer.multiply_grads(0.5)
            norms[name] = float(optimizer.clip_grad_norm(0.0))
            optimizer.step()
        weights[name] = weight.detach()
    assert norms["fused_adam"] == pytest.approx(norms["adam"])
    torch.testing.assert_close(weights["fused_adam"], weights["adam"])
