"""The rectangular, masked forwards give what the packed ones give, in values and gradients, wherever the pads are."""

from collections.abc import Callable

import pytest
import torch
from comparison import (
    PAD,
    RELATIVE_TOLERANCE,
    assert_within,
    gradient_errors,
    random_sentences,
    random_state,
    random_streams,
    relative_error,
    small_config,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cross_thought.encoder import SEGMENTATIONS, CrossThoughtEncoder, EncoderConfig, rectangle

LONGEST = 64  # positions are few, so that sentences are cut as well

parity_settings = settings(max_examples=25, deadline=None, derandomize=True)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31 - 1)
configs = st.builds(
    small_config,
    num_slots=st.sampled_from([1, 2, 5]),
    segment_length=st.sampled_from([8, 16]),
    segment_by=st.sampled_from(SEGMENTATIONS),
    cross_sequence=st.booleans(),
    num_positions=st.just(LONGEST),
)


def make_encoder(config: EncoderConfig, *, seed: int, dtype: torch.dtype = torch.float64) -> CrossThoughtEncoder:
    encoder = CrossThoughtEncoder(config).to(dtype).eval()
    encoder.load_state_dict(random_state(encoder, seed=seed))
    return encoder


def errors_of(encoder: CrossThoughtEncoder, packed: Callable[[], Tensor], masked: Callable[[], Tensor]) -> dict:
    """Relative errors of the rectangle's outputs and gradients, for one random linear loss."""
    expected, actual = packed(), masked()
    errors = {"outputs": relative_error(actual, expected)}
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).to(expected.dtype)
    gradients = []
    for outputs in (actual, expected):
        encoder.zero_grad(set_to_none=True)
        (outputs * weights).sum().backward()
        gradients.append({name: weight.grad for name, weight in encoder.named_parameters()})
    return errors | gradient_errors(*gradients)


def moved_right(tokens: Tensor) -> Tensor:
    """Rows with their pads to the left."""
    return torch.stack([row.roll(int((row == PAD).sum())) for row in tokens])


@parity_settings
@given(
    config=configs,
    rows=st.lists(
        st.one_of(st.tuples(st.integers(0, 80)), st.tuples(st.integers(0, 80), st.integers(0, 80))),
        min_size=1, max_size=8,
    ),
    is_left=st.booleans(),
    dtype=dtypes,
    seed=seeds,
)  # fmt: skip
def test_sentences_and_pairs(config: EncoderConfig, rows: list, is_left: bool, dtype: torch.dtype, seed: int) -> None:
    encoder = make_encoder(config, seed=seed, dtype=dtype)
    tokens = random_sentences(rows, vocab_size=config.vocab_size, seed=seed)
    shifted = moved_right(tokens) if is_left else tokens
    errors = errors_of(
        encoder,
        lambda: encoder.encode_sentences(tokens),
        lambda: rectangle.encode_sentences(encoder, config, shifted, shifted != PAD),
    )
    assert_within(errors, RELATIVE_TOLERANCE[dtype])


@parity_settings
@given(config=configs, lengths=st.lists(st.integers(0, 80), min_size=1, max_size=8), is_left=st.booleans(), seed=seeds)
def test_embeddings(config: EncoderConfig, lengths: list[int], is_left: bool, seed: int) -> None:
    encoder = make_encoder(config, seed=seed)
    tokens = random_sentences([(length,) for length in lengths], vocab_size=config.vocab_size, seed=seed)
    shifted = moved_right(tokens) if is_left else tokens
    mask = (shifted != PAD).long()
    errors = errors_of(
        encoder,
        lambda: encoder.embed_sentences(tokens),
        lambda: rectangle.embed_sentences(encoder, config, shifted, mask),
    )
    assert_within(errors, RELATIVE_TOLERANCE[torch.float64])


@parity_settings
@given(
    config=configs,
    lengths=st.lists(st.integers(1, 80), min_size=1, max_size=6),
    start=st.integers(1, 20),
    dtype=dtypes,
    seed=seeds,
)
def test_streams(config: EncoderConfig, lengths: list[int], start: int, dtype: torch.dtype, seed: int) -> None:
    encoder = make_encoder(config, seed=seed, dtype=dtype)
    tokens = random_streams(lengths, vocab_size=config.vocab_size, seed=seed)
    errors = errors_of(
        encoder,
        lambda: encoder.encode_streams(tokens, start_position=start),
        lambda: rectangle.encode_streams(encoder, config, tokens, tokens != PAD, start_position=start),
    )
    assert_within(errors, RELATIVE_TOLERANCE[dtype])


@pytest.mark.parametrize("forward", [rectangle.embed_sentences, rectangle.encode_sentences])
def test_lengths_are_cut_and_symbols_without_a_row_are_unknown(forward: Callable[..., Tensor]) -> None:
    config = small_config(num_slots=3)
    encoder = make_encoder(config, seed=1)
    tokens = random_sentences([(20,), (3,)], vocab_size=config.vocab_size, seed=2)
    cut = torch.cat([tokens[:, :5], torch.tensor([[2], [PAD]])], dim=1)
    assert (
        relative_error(
            forward(encoder, config, tokens, tokens != PAD, max_length=6), forward(encoder, config, cut, cut != PAD)
        )
        < 1e-12
    )
    unknown, beyond = tokens.clone(), tokens.clone()
    unknown[:, 2], beyond[:, 2] = 3, config.vocab_size + 5
    assert torch.equal(
        forward(encoder, config, beyond, tokens != PAD), forward(encoder, config, unknown, tokens != PAD)
    )


def test_dropout_is_drawn_while_training_alone() -> None:
    config = small_config(dropout=0.5, attention_dropout=0.5)
    encoder = make_encoder(config, seed=1)
    tokens = random_sentences([(9, 4), (5,)], vocab_size=config.vocab_size, seed=2)

    def run() -> Tensor:
        return rectangle.encode_sentences(encoder, config, tokens, tokens != PAD)

    assert torch.equal(run(), run())
    encoder.train()
    assert relative_error(run(), run()) > 0.1
