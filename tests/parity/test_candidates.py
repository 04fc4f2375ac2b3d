"""Answer selection: the weights of candidates are cross layer 0's, with masks, gradients and shared candidates."""

import math

import pytest
import reference
import torch
from comparison import assert_within, compare, random_state, random_streams, small_config
from torch import Tensor

from cross_thought.encoder import CrossThoughtEncoder
from cross_thought.evaluation.cross_attention import cross_attention

Q, N, K, D = 3, 4, 5, 16


@pytest.fixture
def encoder() -> CrossThoughtEncoder:
    encoder = CrossThoughtEncoder(small_config()).double().eval()
    encoder.load_state_dict(random_state(encoder, seed=1))
    return encoder


@pytest.fixture
def slots() -> tuple[Tensor, Tensor]:
    """Slot states of questions and of their candidates."""
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(shape, generator=generator).double() for shape in ((Q, K, D), (Q, N, K, D)))


def reference_log_weights(encoder: CrossThoughtEncoder, state: dict[str, Tensor], *slots: Tensor) -> Tensor:
    return torch.stack(
        [
            reference.answer_weights(state, question, candidates, num_heads=encoder.config.num_heads).log()
            for question, candidates in zip(*slots, strict=True)
        ]
    )


def test_weights_and_gradients_are_those_of_cross_layer_0(
    encoder: CrossThoughtEncoder, slots: tuple[Tensor, Tensor]
) -> None:
    errors = compare(
        encoder,
        dict(encoder.state_dict()),
        lambda: encoder.attend_to_candidates(*slots),
        lambda state: reference_log_weights(encoder, state, *slots),
        seed=3,
    )
    assert_within(errors, 1e-10)
    assert errors.keys() > {f"crossthought_layers.0.self_attn.{name}_proj.weight" for name in "qk"}
    torch.testing.assert_close(encoder.attend_to_candidates(*slots).exp().sum(1), torch.ones(Q).double())


def test_weights_are_those_of_a_forward_whose_segments_are_the_candidates(encoder: CrossThoughtEncoder) -> None:
    stream = random_streams([4 * 64], vocab_size=encoder.config.vocab_size, seed=4)
    inputs = []
    hook = encoder.crossthought_layers[0].register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    expected = cross_attention(encoder, stream.view(4, 64)).mean((0, 1))  # (B, B)
    hook.remove()
    segments = inputs[0].view(K, 4, D).transpose(0, 1)  # (B, k, d)
    log_alpha = encoder.attend_to_candidates(segments, segments.unsqueeze(0))
    torch.testing.assert_close(log_alpha.exp(), expected)


def test_a_candidate_that_is_not_there_changes_nothing(
    encoder: CrossThoughtEncoder, slots: tuple[Tensor, Tensor]
) -> None:
    questions, candidates = slots
    mask = torch.tensor([[True, False, True, False], [True] * 4, [False, False, False, True]])
    candidates = candidates.masked_fill(~mask[:, :, None, None], 1e6).requires_grad_()
    log_alpha = encoder.attend_to_candidates(questions, candidates, mask)
    assert torch.equal(log_alpha.isneginf(), ~mask)
    expected = reference_log_weights(encoder, dict(encoder.state_dict()), questions[:1], candidates[:1, [0, 2]])
    torch.testing.assert_close(log_alpha[:1, [0, 2]], expected)
    assert log_alpha[2, 3] == 0.0

    log_alpha[:, 3][mask[:, 3]].sum().backward()
    gradients = [
        candidates.grad,
        *(parameter.grad for parameter in encoder.crossthought_layers[0].self_attn.q_proj.parameters()),
    ]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert not candidates.grad[~mask].any()
    assert candidates.grad[1].any()


def test_the_only_candidate_has_all_the_weight(encoder: CrossThoughtEncoder, slots: tuple[Tensor, Tensor]) -> None:
    questions, candidates = slots
    log_alpha = encoder.attend_to_candidates(questions, candidates[:, :1])
    torch.testing.assert_close(log_alpha, torch.zeros(Q, 1).double())


def test_a_question_without_candidates_is_refused(encoder: CrossThoughtEncoder, slots: tuple[Tensor, Tensor]) -> None:
    mask = torch.ones(Q, N, dtype=torch.bool)
    mask[1] = False
    with pytest.raises(ValueError, match="question 1 of the batch has no candidate"):
        encoder.attend_to_candidates(*slots, mask)


def test_a_hopeless_candidate_has_a_weight_and_a_gradient_in_float16(slots: tuple[Tensor, Tensor]) -> None:
    """Scores 70 apart: the weight is below float16's smallest number, its log is not."""
    encoder = CrossThoughtEncoder(small_config())
    attention = encoder.crossthought_layers[0].self_attn
    with torch.no_grad():
        for projection in (attention.q_proj, attention.k_proj):
            projection.weight.copy_(torch.eye(D))
    encoder = encoder.half()
    question = torch.full((1, K, D), 5.0).half().requires_grad_()
    candidates = torch.stack([torch.full((K, D), value) for value in (5.0, 0.0)]).unsqueeze(0).half()
    log_alpha = encoder.attend_to_candidates(question, candidates)
    expected = -25 * 8 / math.sqrt(8)
    torch.testing.assert_close(log_alpha[0, 1].item(), expected, rtol=1e-3, atol=0)
    log_alpha[0, 1].backward()
    assert question.grad.isfinite().all()
    assert question.grad.any()
