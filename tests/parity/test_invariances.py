"""What a batch may not change in what the encoder gives; the control, the limits, dropout."""

import pytest
import reference
import torch
from comparison import (
    EOS,
    NUM_POSITIONS,
    PAD,
    draw_scored,
    fit_to_positions,
    make_encoder,
    random_sentences,
    random_streams,
    relative_error,
    small_config,
)
from torch import Tensor


def test_a_stream_gives_alone_what_it_gives_in_a_batch() -> None:
    config = small_config(num_slots=5, segment_length=8)
    encoder, _ = make_encoder(config, seed=9)
    stream_lengths = [3, 64, 65, 8, 130, 1]
    tokens = random_streams(stream_lengths, vocab_size=config.vocab_size, seed=10)
    together = encoder.encode_streams(tokens, start_position=40)
    for features, stream, length in zip(together, tokens, stream_lengths, strict=True):
        alone = encoder.encode_streams(stream[None, :length], start_position=40)[0]
        assert relative_error(features[:length], alone) < 1e-12
        assert not features[length:].any(), "a pad must give zeros"


def test_sentences_give_alone_what_they_give_in_a_batch() -> None:
    config = small_config(num_slots=5)
    encoder, _ = make_encoder(config, seed=9)
    rows = [(3, 60), (17,), (60, 3), (0, 0), (17,), (100,)]
    tokens = random_sentences(rows, vocab_size=config.vocab_size, seed=10)
    for features, row in zip(encoder.encode_sentences(tokens), tokens, strict=True):
        assert relative_error(features, encoder.encode_sentences(row[None, row != PAD])[0]) < 1e-12


def test_the_order_of_a_batch_does_not_matter() -> None:
    config = small_config(num_slots=5, segment_length=8)
    encoder, _ = make_encoder(config, seed=11)
    order = torch.tensor([4, 0, 3, 1, 2])
    streams = random_streams([9, 40, 17, 1, 33], vocab_size=config.vocab_size, seed=12)
    sentences = random_sentences([(9,), (4, 7), (0,), (21, 2), (2, 21)], vocab_size=config.vocab_size, seed=12)
    scored = draw_scored(streams, kind="every word", seed=0)
    features = encoder.encode_streams(streams, start_position=3)
    assert relative_error(encoder.encode_streams(streams[order], start_position=3), features[order]) < 1e-12
    scored_features = encoder.encode_streams(streams[order], start_position=3, scored=scored[order])
    assert relative_error(scored_features, features[order][scored[order]]) < 1e-12
    pooled = encoder.encode_sentences(sentences)
    assert relative_error(encoder.encode_sentences(sentences[order]), pooled[order]) < 1e-12


def test_swapping_the_sentences_of_a_pair_does_not_matter() -> None:
    """Positions and layers treat both alike, and the mean is over both."""
    config = small_config(num_slots=5)
    encoder, _ = make_encoder(config, seed=13)
    (pair,) = random_sentences([(6, 15)], vocab_size=config.vocab_size, seed=14)
    first, second = reference.split_sentences(pair, pad_id=PAD, eos_id=EOS)
    swapped = torch.cat([second, first])
    assert relative_error(encoder.encode_sentences(swapped[None]), encoder.encode_sentences(pair[None])) < 1e-12


def test_the_control_keeps_segments_apart() -> None:
    """Without cross layer 0 a segment gives what it gives as a stream of its own; with it, it does not."""
    for cross_sequence, same in ((False, True), (True, False)):
        encoder, _ = make_encoder(small_config(segment_length=8, cross_sequence=cross_sequence), seed=15)
        tokens = random_streams([24], vocab_size=37, seed=16)
        together = encoder.encode_streams(tokens, start_position=5)[0, :8]
        alone = encoder.encode_streams(tokens[:, :8], start_position=5)[0]
        assert torch.allclose(together, alone, rtol=0, atol=1e-9) is same


def test_start_positions_out_of_range_are_refused() -> None:
    config = small_config()
    encoder, _ = make_encoder(config, seed=17)
    tokens = random_streams([5], vocab_size=37, seed=18)
    last = NUM_POSITIONS - config.num_slots - config.segment_length - 1
    for start in (0, last + 1):
        with pytest.raises(ValueError, match=str(start)):
            encoder.encode_streams(tokens, start_position=start)


@pytest.mark.parametrize("num_slots", [1, 5])
def test_words_of_a_sentence_too_long_are_cut(num_slots: int) -> None:
    """Positions 1..513 fit; of a longer sentence words go and the final `</s>` stays, in pairs as well."""
    config = small_config(num_slots=num_slots)
    encoder, _ = make_encoder(config, seed=19)
    fits = NUM_POSITIONS + 1 - (num_slots - 1) - 2  # words
    tokens = random_sentences([(fits + 1,), (fits,), (fits + 300, fits + 2)], vocab_size=37, seed=20)
    cut = []
    for row in tokens:
        sentences = reference.split_sentences(row, pad_id=PAD, eos_id=EOS)
        cut.append(torch.cat([fit_to_positions(sentence, num_slots=num_slots) for sentence in sentences]))
    assert int((cut[0] == EOS).nonzero()) == len(cut[0]) - 1 == fits + 1
    expected = encoder.encode_sentences(reference.pad_rows(cut, pad_id=PAD))
    assert relative_error(encoder.encode_sentences(tokens), expected) < 1e-12


@pytest.mark.parametrize("mode", ["pretrain", "finetune"])
@pytest.mark.parametrize(("dropout", "attention_dropout"), [(0.1, 0.1), (0.1, 0.0), (0.0, 0.1)])
def test_dropout_has_the_references_statistics(mode: str, dropout: float, attention_dropout: float) -> None:
    """The same expected loss, and the same spread of it, over many draws of the masks.

    Each sample of a batch draws its own masks, so that copies of one sample are draws of one loss. Means must agree
    within 4 standard errors, and dropout must move the mean by far more than that, else the test would show nothing.
    """
    num_draws = 400
    config = small_config(num_slots=3, segment_length=8, dropout=dropout, attention_dropout=attention_dropout)
    encoder, state = make_encoder(config, seed=21, dtype=torch.float32)
    if mode == "pretrain":
        one = random_streams([20], vocab_size=37, seed=22)
        options = {"segment_length": config.segment_length, "start_position": 50}
    else:
        one = random_sentences([(5, 8)], vocab_size=37, seed=22)
        options = {}
    run = reference.pretrain_forward if mode == "pretrain" else reference.finetune_forward
    options |= {"num_slots": config.num_slots, "num_heads": config.num_heads}
    many = one.expand(num_draws, -1)

    def losses(features: Tensor) -> Tensor:
        target = features_without_dropout[0]
        return (features - target).square().flatten(1).mean(1).double()

    with torch.no_grad():
        features_without_dropout = run(state, one, **options)
        torch.manual_seed(23)
        expected = losses(run(state, many, **options, dropout=dropout, attention_dropout=attention_dropout))
        encoder.train()
        torch.manual_seed(24)
        if mode == "pretrain":
            actual = losses(encoder.encode_streams(many, start_position=50))
        else:
            actual = losses(encoder.encode_sentences(many))
    standard_error = float(((expected.var() + actual.var()) / num_draws).sqrt())
    assert abs(float(actual.mean() - expected.mean())) < 4 * standard_error
    assert float(expected.mean()) > 20 * standard_error
    assert float(actual.std() / expected.std()) == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("mode", ["pretrain", "finetune"])
def test_a_repeated_training_step_is_the_same_to_the_bit(mode: str) -> None:
    encoder, _ = make_encoder(small_config(dropout=0.1, attention_dropout=0.1), seed=25, dtype=torch.float32)
    encoder.train()
    streams = random_streams([150, 70], vocab_size=37, seed=26)
    sentences = random_sentences([(5, 8), (30,), (2, 2)], vocab_size=37, seed=26)
    runs = []
    for _ in range(2):
        torch.manual_seed(27)
        encoder.zero_grad()
        if mode == "pretrain":
            features = encoder.encode_streams(streams, start_position=50)
        else:
            features = encoder.encode_sentences(sentences)
        features.square().mul(torch.arange(features.shape[-1])).sum().backward()
        runs.append([features] + [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None])
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))
