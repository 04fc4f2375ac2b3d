"""Dropout as the encoder does it on a CPU."""

import pytest
import torch

from cross_thought.encoder.layers import dropout


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_elements_are_dropped_at_the_rate_and_scaled(probability: float) -> None:
    torch.manual_seed(1)
    states = torch.ones(1001, 999, requires_grad=True)
    dropped = dropout(states, probability, training=True)
    kept = dropped != 0
    assert kept.float().mean().item() == pytest.approx(1 - probability, abs=2e-3)
    # rows and columns are dropped alike: neighbours share a random word, not their bits
    assert kept.float().mean(0).std().item() == pytest.approx((probability * (1 - probability) / 1001) ** 0.5, rel=0.1)
    assert (kept[:, 1:] == kept[:, :-1]).float().mean().item() == pytest.approx(
        probability**2 + (1 - probability) ** 2, abs=2e-3
    )
    torch.testing.assert_close(dropped[kept], torch.full_like(dropped[kept], 1 / (1 - probability)))
    dropped.sum().backward()
    torch.testing.assert_close(states.grad, dropped.detach())


def test_in_bfloat16_the_scale_is_not_rounded_before_it_is_used() -> None:
    torch.manual_seed(1)
    states = torch.rand(1001, 999).bfloat16().requires_grad_()
    dropped = dropout(states, 0.1, training=True)
    kept = dropped != 0
    assert kept.float().mean().item() == pytest.approx(0.9, abs=2e-3)
    assert (kept[:, 1:] == kept[:, :-1]).float().mean().item() == pytest.approx(0.82, abs=2e-3)
    # 1 / 0.9 in bfloat16 is 0.16 % too small: the mean of a million states shows it
    ratio = dropped.detach()[kept].double().sum() / states.detach()[kept].double().sum()
    assert ratio.item() == pytest.approx(1 / 0.9, rel=2e-4)
    gradient = torch.rand(states.shape).bfloat16()
    dropped.backward(gradient)
    assert torch.equal(states.grad, torch.where(kept, gradient / 0.9, 0))


def test_the_seed_decides() -> None:
    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return dropout(torch.ones(7, 5), 0.5, training=True)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_nothing_is_dropped_without_need() -> None:
    states = torch.ones(3, 2)
    assert dropout(states, 0.5, training=False) is states
    assert dropout(states, 0.0, training=True) is states
