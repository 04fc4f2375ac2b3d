"""The encoder gives what the plain reference gives: outputs and every gradient, in both modes."""

import pytest
import reference
import torch
from comparison import (
    BOS,
    EOS,
    NUM_POSITIONS,
    PAD,
    RELATIVE_TOLERANCE,
    assert_within,
    compare,
    draw_scored,
    fit_to_positions,
    make_encoder,
    random_sentences,
    random_streams,
    relative_error,
    small_config,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cross_thought.encoder import SEGMENTATIONS, CrossThoughtEncoder, EncoderConfig

LONGEST = 510  # tokens of a stream or of a fine-tuning row
LARGEST_BATCH = 40
SCORED_KINDS = ["all", "every word", "some", "none in the first"]

parity_settings = settings(max_examples=30, deadline=None, derandomize=True)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31 - 1)


def longest(limit: int) -> st.SearchStrategy[int]:
    """The longest of a batch: often short, so that a run stays quick, and up to `limit`."""
    return st.one_of(st.integers(1, 60), st.integers(1, 60), st.integers(1, limit))


def run_pretraining_reference(state: dict[str, Tensor], config: EncoderConfig, tokens: Tensor, start: int) -> Tensor:
    return reference.pretrain_forward(
        state,
        tokens,
        num_slots=config.num_slots,
        segment_length=config.segment_length,
        num_heads=config.num_heads,
        start_position=start,
        cross_sequence=config.cross_sequence,
        segment_by=config.segment_by,
    )


def run_finetuning_reference(state: dict[str, Tensor], config: EncoderConfig, tokens: Tensor) -> Tensor:
    return reference.finetune_forward(state, tokens, num_slots=config.num_slots, num_heads=config.num_heads)


# The reference itself.


def test_the_references_segments_and_positions_are_the_published_ones() -> None:
    """k = 2, T = 3, r = 5 and a stream of 4 tokens, numbered by hand from method.md's pre-training steps 1 to 3."""
    rows = reference.fold(torch.tensor([7, 8, 9, 10]), num_slots=2, segment_length=3, pad_id=PAD, bos_id=BOS)
    assert rows.tolist() == [[BOS, BOS, 7, 8, 9], [BOS, BOS, 10, PAD, PAD]]
    positions = reference.pretrain_positions(rows, num_slots=2, start_position=5, pad_id=PAD)
    assert positions.tolist() == [[0, 1, 7, 8, 9], [0, 1, 7, 7, 7]]
    sizes = {"num_slots": 1, "segment_length": 3, "pad_id": PAD, "bos_id": BOS}
    rows = reference.fold_sentences(torch.tensor([0, EOS, 7, 8, EOS, 7, 8, 9, EOS]), **sizes)
    assert rows[:, 1:].tolist() == [[0, EOS, PAD], [7, 8, EOS], [7, 8, 9], [EOS, PAD, PAD]]


@pytest.mark.parametrize("layers", ["fairseq", "torch"])
def test_the_reference_equals_stock_layers(layers: str) -> None:
    """The written-out layer is the one that RoBERTa is made of."""
    if layers == "fairseq":
        pytest.importorskip("fairseq_cli", reason="fairseq is not installed")
    from stock import StockEncoder

    config = small_config(num_slots=3, segment_length=8)
    _, state = make_encoder(config, seed=1)
    stock = StockEncoder(
        layers=layers,
        vocab_size=config.vocab_size,
        num_layers=config.num_layers,
        embed_dim=config.embed_dim,
        ffn_dim=config.ffn_dim,
        num_heads=config.num_heads,
        num_slots=config.num_slots,
        segment_length=config.segment_length,
    )
    stock.double().load_published(state)
    stream = random_streams([45], vocab_size=config.vocab_size, seed=2)
    pairs = random_sentences([(5, 9), (0, 3), (12, 1)], vocab_size=config.vocab_size, seed=3)
    for stock_features, expected in (
        (stock.encode_streams(stream, start_position=9), run_pretraining_reference(state, config, stream, 9)),
        (stock.encode_sentences(pairs), run_finetuning_reference(state, config, pairs)),
    ):
        assert relative_error(stock_features, expected) < 1e-6  # fairseq's softmax may be in float32


# The encoder.


def test_parameter_names_and_shapes_are_the_published_ones() -> None:
    encoder = CrossThoughtEncoder(small_config(num_layers=12))
    d, ffn_dim = 16, 32
    layer = {
        "self_attn_layer_norm.weight": (d,),
        "self_attn_layer_norm.bias": (d,),
        "fc1.weight": (ffn_dim, d),
        "fc1.bias": (ffn_dim,),
        "fc2.weight": (d, ffn_dim),
        "fc2.bias": (d,),
        "final_layer_norm.weight": (d,),
        "final_layer_norm.bias": (d,),
    }
    for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
        layer |= {f"self_attn.{projection}.weight": (d, d), f"self_attn.{projection}.bias": (d,)}
    expected = {
        "embed_tokens.weight": (37, d),
        "embed_positions.weight": (514, d),
        "emb_layer_norm.weight": (d,),
        "emb_layer_norm.bias": (d,),
    }
    for name in [f"layers.{index}" for index in range(12)] + ["crossthought_layers.0", "crossthought_layers.1"]:
        expected |= {f"{name}.{part}": shape for part, shape in layer.items()}
    assert {name: tuple(value.shape) for name, value in encoder.state_dict().items()} == expected


@st.composite
def start_positions(draw: st.DrawFn, config: EncoderConfig) -> int:
    """Any start position, both ends often."""
    last = NUM_POSITIONS - config.num_slots - config.segment_length - 1
    return draw(st.sampled_from([1, last, draw(st.integers(1, last))]))


def pretraining_errors(
    config: EncoderConfig,
    stream_lengths: list[int],
    *,
    start_position: int,
    scored_kind: str,
    dtype: torch.dtype,
    seed: int,
) -> dict[str, float]:
    """Compare one batch of streams with the reference."""
    encoder, state = make_encoder(config, seed=seed, dtype=dtype)
    tokens = random_streams(stream_lengths, vocab_size=config.vocab_size, seed=seed)
    scored = draw_scored(tokens, kind=scored_kind, seed=seed)

    def run_reference(state: dict[str, Tensor]) -> Tensor:
        features = run_pretraining_reference(state, config, tokens, start_position)
        return features if scored is None else features[scored]

    def run_encoder() -> Tensor:
        return encoder.encode_streams(tokens, start_position=start_position, scored=scored)

    return compare(encoder, state, run_encoder, run_reference, seed=seed)


@parity_settings
@given(data=st.data(), dtype=dtypes, seed=seeds)
def test_pretraining_equals_the_reference(data: st.DataObject, dtype: torch.dtype, seed: int) -> None:
    config = small_config(
        num_slots=data.draw(st.sampled_from([1, 5]), label="num_slots"),
        segment_length=data.draw(st.sampled_from([8, 64]), label="segment_length"),
        cross_sequence=data.draw(st.booleans(), label="cross_sequence"),
        segment_by=data.draw(st.sampled_from(SEGMENTATIONS), label="segment_by"),
    )
    batch_size = data.draw(st.integers(1, LARGEST_BATCH), label="batch size")
    stream_lengths = st.integers(1, data.draw(longest(LONGEST), label="longest"))
    errors = pretraining_errors(
        config,
        data.draw(st.lists(stream_lengths, min_size=batch_size, max_size=batch_size), label="lengths"),
        start_position=data.draw(start_positions(config), label="start_position"),
        scored_kind=data.draw(st.sampled_from(SCORED_KINDS), label="scored"),
        dtype=dtype,
        seed=seed,
    )
    assert_within(errors, RELATIVE_TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", RELATIVE_TOLERANCE)
@pytest.mark.parametrize(("num_slots", "segment_length"), [(1, 8), (5, 64)])
@pytest.mark.parametrize("start_position", ["first", "last"])
def test_the_largest_pretraining_batch_equals_the_reference(
    num_slots: int, segment_length: int, start_position: str, dtype: torch.dtype
) -> None:
    """40 streams, from 1 to 510 tokens, at both ends of the positions."""
    errors = pretraining_errors(
        small_config(num_slots=num_slots, segment_length=segment_length),
        [1 + round((LONGEST - 1) * index / (LARGEST_BATCH - 1)) for index in range(LARGEST_BATCH)],
        start_position=1 if start_position == "first" else NUM_POSITIONS - num_slots - segment_length - 1,
        scored_kind="some",
        dtype=dtype,
        seed=31,
    )
    assert_within(errors, RELATIVE_TOLERANCE[dtype])


@st.composite
def sentence_lengths(draw: st.DrawFn, num_sentences: tuple[int, ...], num_words: int) -> tuple[int, ...]:
    """Numbers of words of the one or two sentences of a row, `num_words` at most together."""
    first = draw(st.integers(0, num_words))
    if draw(st.sampled_from(num_sentences)) == 1:
        return (first,)
    return first, draw(st.integers(0, num_words - first))


def finetuning_errors(
    config: EncoderConfig, rows: list[tuple[int, ...]], *, dtype: torch.dtype, seed: int
) -> dict[str, float]:
    """Compare one batch of rows, given by the words of their sentences, with the reference."""
    encoder, state = make_encoder(config, seed=seed, dtype=dtype)
    tokens = random_sentences(rows, vocab_size=config.vocab_size, seed=seed)
    fitting = []
    for row in tokens:
        sentences = reference.split_sentences(row, pad_id=PAD, eos_id=EOS)
        fitting.append(torch.cat([fit_to_positions(sentence, num_slots=config.num_slots) for sentence in sentences]))
    cut = reference.pad_rows(fitting, pad_id=PAD)
    return compare(
        encoder,
        state,
        lambda: encoder.encode_sentences(tokens),
        lambda state: run_finetuning_reference(state, config, cut),
        seed=seed,
    )


@parity_settings
@given(data=st.data(), dtype=dtypes, seed=seeds)
def test_finetuning_equals_the_reference(data: st.DataObject, dtype: torch.dtype, seed: int) -> None:
    config = small_config(
        num_slots=data.draw(st.sampled_from([1, 5]), label="num_slots"),
        cross_sequence=data.draw(st.booleans(), label="cross_sequence"),  # has no effect here
    )
    num_sentences = data.draw(st.sampled_from([(1,), (2,), (1, 2)]), label="num_sentences")
    batch_size = data.draw(st.integers(1, LARGEST_BATCH), label="batch size")
    num_words = data.draw(longest(LONGEST - 4), label="most words")
    rows = st.lists(sentence_lengths(num_sentences, num_words), min_size=batch_size, max_size=batch_size)
    errors = finetuning_errors(config, data.draw(rows, label="words"), dtype=dtype, seed=seed)
    assert_within(errors, RELATIVE_TOLERANCE[dtype])


@pytest.mark.parametrize(("num_slots", "dtype"), [(1, torch.float32), (5, torch.float32), (5, torch.float64)])
@pytest.mark.parametrize("num_sentences", [1, 2])
def test_the_largest_finetuning_batch_equals_the_reference(
    num_sentences: int, num_slots: int, dtype: torch.dtype
) -> None:
    """40 rows, of 2 or 4 to 510 tokens."""
    if num_sentences == 1:
        rows = [(round((LONGEST - 2) * index / (LARGEST_BATCH - 1)),) for index in range(LARGEST_BATCH)]
    else:
        rows = [(words, min(3 * index, LONGEST - 4 - words)) for index, words in enumerate(range(0, 507, 13))]
        rows.append((0, LONGEST - 4))
    assert len(rows) == LARGEST_BATCH
    errors = finetuning_errors(small_config(num_slots=num_slots), rows, dtype=dtype, seed=32)
    assert_within(errors, RELATIVE_TOLERANCE[dtype])


@pytest.mark.parametrize("mode", ["pretrain", "finetune"])
def test_base_width_equals_the_reference(mode: str) -> None:
    """The published width, two layers, float32."""
    config = small_config(vocab_size=300, embed_dim=768, ffn_dim=3072, num_heads=12)
    encoder, state = make_encoder(config, seed=5, dtype=torch.float32)
    if mode == "pretrain":
        tokens = random_streams([200], vocab_size=config.vocab_size, seed=6)
        scored = draw_scored(tokens, kind="some", seed=7)
        errors = compare(
            encoder,
            state,
            lambda: encoder.encode_streams(tokens, start_position=77, scored=scored),
            lambda state: run_pretraining_reference(state, config, tokens, 77)[scored],
            seed=8,
        )
    else:
        tokens = random_sentences([(40, 9), (55, 12), (3, 8), (21,)], vocab_size=config.vocab_size, seed=6)
        errors = compare(
            encoder,
            state,
            lambda: encoder.encode_sentences(tokens),
            lambda state: run_finetuning_reference(state, config, tokens),
            seed=8,
        )
    assert_within(errors, RELATIVE_TOLERANCE[torch.float32])


def test_sentence_embeddings_are_the_slot_states_before_the_cross_layers() -> None:
    config = small_config(num_slots=5)
    encoder, state = make_encoder(config, seed=3)
    tokens = random_sentences([(4,), (0,), (31,), (4,)], vocab_size=config.vocab_size, seed=4)
    expected = reference.sentence_states(
        state,
        reference.plain_layers(state, num_heads=config.num_heads),
        [row[row != PAD] for row in tokens],
        num_slots=config.num_slots,
    ).transpose(0, 1)
    assert relative_error(encoder.embed_sentences(tokens), expected) < 1e-10
