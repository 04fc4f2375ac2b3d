"""In bfloat16 on a CPU, products have sizes that recur, and the numbers stay what they are."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig, encoder
from cross_thought.encoder.layers import max_padded_scores, round_up

Forward = Callable[[CrossThoughtEncoder, Tensor], Tensor]
FORWARDS: dict[str, Forward] = {
    "scored words": lambda model, tokens: model.encode_streams(tokens, start_position=2, scored=tokens > 60),
    "all words": lambda model, tokens: model.encode_streams(tokens, start_position=2),
    "pairs": lambda model, tokens: model.encode_sentences(tokens),
    "embeddings": lambda model, tokens: model.embed_sentences(tokens),
}


def build(num_heads: int = 2, attention_dropout: float = 0.0) -> CrossThoughtEncoder:
    torch.manual_seed(3)
    config = EncoderConfig(
        vocab_size=100,
        num_layers=2,
        embed_dim=128,
        ffn_dim=64,
        num_heads=num_heads,
        num_slots=3,
        segment_length=12,
        num_positions=64,
        dropout=0.0,
        attention_dropout=attention_dropout,
        init_std=0.1,
    )
    return CrossThoughtEncoder(config)


def batch(lengths: list[int]) -> Tensor:
    """Return rows `<s> ... </s>` of words, with a second `</s>` in the middle of those that have room."""
    tokens = torch.ones(len(lengths), max(lengths), dtype=torch.long)
    for row, length in zip(tokens, lengths, strict=True):
        row[:length] = torch.randint(4, 100, (length,))
        row[0], row[length - 1] = 0, 2
        if length > 6:
            row[length // 2] = 2
    return tokens


@settings(max_examples=12, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 40), min_size=1, max_size=9),
    forward=st.sampled_from(list(FORWARDS.values())),
    num_heads=st.sampled_from([2, 8]),  # wide heads attend in bfloat16, narrow ones in float32
)
def test_states_and_gradients_are_those_without_rows_of_zeros(
    lengths: list[int], forward: Forward, num_heads: int
) -> None:
    model = build(num_heads)
    tokens = batch(lengths)

    def run() -> tuple[Tensor, list[Tensor]]:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            states = forward(model, tokens)
        torch.manual_seed(4)
        (states.float() * torch.randn(states.shape)).sum().backward()
        return states.detach(), [weight.grad for weight in model.parameters() if weight.grad is not None]

    states, gradients = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder, "round_up", lambda states: states)
        plain_states, plain_gradients = run()
    torch.testing.assert_close(states, plain_states, rtol=0, atol=2e-2)
    assert not states.numel() or (states - plain_states).abs().mean() < 1e-4
    for gradient, plain in zip(gradients, plain_gradients, strict=True):
        assert (gradient - plain).norm() <= 0.01 * plain.norm() + 1e-4


@pytest.mark.parametrize("plain", [False, True], ids=["fused", "plain"])
@pytest.mark.parametrize("name", FORWARDS)
def test_rows_attend_in_blocks_as_they_do_alone(name: str, plain: bool) -> None:
    # to drop next to nothing is to drop nothing, but by plain products and softmax
    model = build(attention_dropout=1e-9 if plain else 0.0).double()
    tokens = batch([39, 35, 33, 21, 18, 9, 7, 7, 5])

    def run() -> tuple[Tensor, ...]:
        states = FORWARDS[name](model, tokens)
        return states, *torch.autograd.grad(states.square().sum(), model.layers[0].parameters())

    alone = run()
    with pytest.MonkeyPatch.context() as patch:
        for max_scores in (500, 10**6):
            patch.setattr(encoder, "max_padded_scores", lambda *_, scores=max_scores: scores)
            torch.testing.assert_close(run(), alone, rtol=1e-9, atol=1e-9)


def test_blocks_are_for_training_with_wide_heads_in_bfloat16_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    assert max_padded_scores(64, cpu) == 0  # in float32 it does not pay
    with torch.autocast("cpu", torch.bfloat16):
        assert max_padded_scores(64, cpu) > 0
        assert max_padded_scores(32, cpu) == max_padded_scores(64, torch.device("cuda")) == 0
        with torch.no_grad():
            assert max_padded_scores(64, cpu) == 0


def test_rows_of_zeros_are_few_and_sizes_too() -> None:
    states = torch.zeros(4096, 2)
    assert round_up(states[:1000]).size(0) == 1000  # float32 needs none
    with torch.autocast("cpu", torch.bfloat16):
        sizes = [round_up(states[:number]).size(0) for number in range(1, 4097)]
        assert torch.equal(round_up(torch.arange(33)), torch.cat([torch.arange(33), torch.tensor([0])]))
    assert all(number <= size < number * 17 / 16 + 1 for number, size in enumerate(sizes, start=1))
    assert len(set(sizes[2048:])) == 16


def test_the_size_of_every_product_is_one_of_the_few() -> None:
    model = build()
    sizes = set()
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(lambda _, inputs, output: sizes.add(inputs[0].size(0)))
    tokens = batch([39, 35, 33, 21, 18, 9, 7, 7, 5])
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        for forward in FORWARDS.values():
            forward(model, tokens)
        assert all(round_up(torch.zeros(size)).size(0) == size for size in sizes), sizes
    assert len(sizes) > 3
