"""The index work: cutting, splitting, positions, packing."""

import pytest
import torch

from cross_thought.encoder.segments import (
    Block,
    attention_blocks,
    count_positions,
    cut_long_rows,
    fold_sentences,
    fold_stream,
    invert_index,
    mean_of_sequences,
    pack_rows,
    slot_index,
    slot_sequences,
    split_sentences,
)

PAD, EOS = 1, 2


@pytest.mark.parametrize(("length", "segments"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_fold_stream_pads_the_last_segment(length: int, segments: int) -> None:
    stream = torch.arange(10, 10 + length).unsqueeze(0)
    folded = fold_stream(stream, 4, PAD)
    assert folded.shape == (1, segments, 4)
    assert folded.flatten()[:length].tolist() == stream[0].tolist()
    assert (folded.flatten()[length:] == PAD).all()


@pytest.mark.parametrize(
    ("tokens", "segment_length"), [(torch.empty(1, 0), 4), (torch.zeros(5), 4), (torch.zeros(1, 5), 0)]
)
def test_fold_stream_refuses_what_is_no_stream(tokens: torch.Tensor, segment_length: int) -> None:
    with pytest.raises(ValueError, match="must"):
        fold_stream(tokens, segment_length, PAD)


def test_fold_sentences_cuts_after_each_end_and_after_each_t_tokens() -> None:
    tokens = torch.tensor([[0, 5, EOS, 6, EOS, 7, 8, 9, 10, EOS], [0, PAD, 5, EOS, PAD, 6, 7, PAD, PAD, PAD]])
    segments, places = fold_sentences(tokens, 3, PAD, EOS)
    assert segments.tolist() == [
        [[0, 5, EOS], [6, EOS, PAD], [7, 8, 9], [10, EOS, PAD]],
        [[0, 5, EOS], [6, 7, PAD], [PAD] * 3, [PAD] * 3],
    ]
    assert places.tolist() == [[0, 1, 2, 3, 4, 6, 7, 8, 9, 10], [0, 12, 1, 2, 12, 3, 4, 12, 12, 12]]


def test_split_sentences_after_the_first_end() -> None:
    tokens = torch.tensor([[0, 5, EOS, 0, 6, 7, EOS], [0, 5, 6, EOS, PAD, PAD, PAD], [0, 5, 6, PAD, PAD, PAD, PAD]])
    first, second = split_sentences(tokens, PAD, EOS).unbind(1)
    assert first.int().tolist() == [[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0]]
    assert second.int().tolist() == [[0, 0, 0, 1, 1, 1, 1], [0] * 7, [0] * 7]


def test_cut_long_rows_keeps_the_last_column() -> None:
    keep = torch.tensor([[1, 1, 1, 1, 1, 1], [0, 1, 1, 0, 1, 1], [1, 1, 0, 0, 0, 0]]).bool()
    cut = cut_long_rows(keep, 3)
    assert cut.int().tolist() == [[1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0]]


def test_positions_count_kept_columns_only() -> None:
    keep = torch.tensor([[1, 1, 0, 1, 0, 0]]).bool()
    assert count_positions(keep).tolist() == [[1, 2, 2, 3, 3, 3]]


def test_pack_rows_puts_equal_lengths_side_by_side() -> None:
    keep = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 0, 1], [1, 1, 1]]).bool()
    rows = pack_rows(keep, keep.sum(1).tolist())
    assert rows.groups == [(2, 3), (1, 2), (1, 1)]
    assert rows.index.tolist() == [3, 4, 5, 12, 13, 14, 9, 11, 0]
    assert rows.lengths == [1, 3, 0, 2, 3]
    assert rows.starts.tolist() == [8, 0, 0, 6, 3]
    assert rows.ranks.tolist() == [3, 0, 0, 2, 1]
    assert slot_index(rows, 1).tolist() == [0, 3, 6, 8]


def test_blocks_take_small_runs_together() -> None:
    groups = [(1, 20), (2, 9), (1, 3), (80, 2), (3, 1)]
    assert attention_blocks(groups) == [Block(*group) for group in groups]
    large, small, many, last = attention_blocks(groups, max_scores=243)
    assert (large, many, last) == (Block(1, 20), Block(80, 2), Block(3, 1))
    assert (small.num_rows, small.length, small.num_states) == (3, 16, 21)
    states = torch.arange(1.0, 22.0).unsqueeze(1)
    padded = small.pad(states).view(3, 16)
    assert padded.tolist() == [[*range(1, 10), *[0] * 7], [*range(10, 19), *[0] * 7], [19, 20, 21, *[0] * 13]]
    assert torch.equal(small.is_state[:, 0, 0], padded > 0)
    assert torch.equal(small.unpad(padded.view(-1, 1)), states)


def test_pack_rows_of_random_masks_loses_nothing() -> None:
    keep = torch.rand(30, 17, generator=torch.Generator().manual_seed(1)) < 0.5
    rows = pack_rows(keep, keep.sum(1).tolist())
    assert sorted(rows.index.tolist()) == keep.flatten().nonzero().squeeze(1).tolist()
    assert sum(count * length for count, length in rows.groups) == int(keep.sum())
    for row, (start, length) in enumerate(zip(rows.starts.tolist(), rows.lengths, strict=True)):
        columns = rows.index[start : start + length] - row * 17
        assert columns.tolist() == keep[row].nonzero().squeeze(1).tolist()


def test_slot_sequences_line_up_the_same_slot_of_a_samples_rows() -> None:
    # two samples of up to two rows, two slots: sample 0 has one row, sample 1 has both
    sequences = slot_sequences(torch.tensor([8, 0, 0, 4]), [3, 0, 4, 4], num_samples=2, num_slots=2)
    assert sequences.groups == [(2, 2), (2, 1)]
    assert sequences.index.tolist() == [0, 4, 1, 5, 8, 9]
    assert sequences.order.tolist() == [1, 0]


def test_slot_sequences_refuse_an_empty_sample() -> None:
    with pytest.raises(ValueError, match="row 1 of the batch holds nothing but pads"):
        slot_sequences(torch.tensor([0, 0]), [3, 0], num_samples=2, num_slots=2)


def test_mean_of_sequences_returns_the_batchs_order() -> None:
    sequences = slot_sequences(torch.tensor([4, 0, 0, 2]), [3, 0, 4, 4], num_samples=2, num_slots=2)
    states = torch.tensor([[1.0], [3.0], [10.0], [30.0], [7.0], [8.0]])
    means = mean_of_sequences(states, sequences, num_slots=2)
    assert means.squeeze(2).tolist() == [[7.0, 8.0], [2.0, 20.0]]


def test_invert_index() -> None:
    assert invert_index(torch.tensor([4, 0, 3]), 6).tolist() == [1, 0, 0, 2, 0, 0]
