"""The index work of the encoder, held against plain loops on rows of any shape."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cross_thought.encoder import segments
from tests.fuzz.conftest import FACTOR

PAD, EOS = 1, 2
MASKS = st.integers(1, 6).flatmap(
    lambda columns: st.lists(st.lists(st.booleans(), min_size=columns, max_size=columns), min_size=1, max_size=6)
)


@settings(max_examples=100 * FACTOR)
@given(st.integers(1, 4), st.integers(1, 30), st.integers(1, 12))
def test_folding_keeps_each_token_in_its_place(batch: int, length: int, segment_length: int) -> None:
    tokens = torch.arange(10, 10 + batch * length).view(batch, length)
    folded = segments.fold_stream(tokens, segment_length, PAD)
    flat = folded.reshape(batch, -1)
    assert folded.shape == (batch, -(-length // segment_length), segment_length)
    assert torch.equal(flat[:, :length], tokens)
    assert (flat[:, length:] == PAD).all()


@settings(max_examples=100 * FACTOR)
@given(st.lists(st.lists(st.sampled_from([PAD, EOS, 5, 6]), min_size=1, max_size=12), min_size=1), st.integers(1, 4))
def test_folding_sentences_equals_a_loop(rows: list[list[int]], segment_length: int) -> None:
    width = max(map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    folded, places = segments.fold_sentences(tokens, segment_length, PAD, EOS)
    for row, found, found_places in zip(tokens.tolist(), folded, places.tolist(), strict=True):
        wanted: list[list[int]] = []
        for token in (token for token in row if token != PAD):
            if not wanted or len(wanted[-1]) == segment_length or wanted[-1][-1] == EOS:
                wanted.append([])
            wanted[-1].append(token)
        assert [[token for token in segment if token != PAD] for segment in found.tolist()][: len(wanted)] == wanted
        assert (found[len(wanted) :] == PAD).all()
        spread = [*found.flatten().tolist(), PAD]
        assert [spread[place] for place in found_places] == row


@settings(max_examples=100 * FACTOR)
@given(MASKS, st.integers(2, 5))
def test_cutting_keeps_the_first_and_the_last(mask: list[list[bool]], max_length: int) -> None:
    cut = segments.cut_long_rows(torch.tensor(mask), max_length).tolist()
    for row, shorter in zip(mask, cut, strict=True):
        kept = [column for column, keep in enumerate(row) if keep]
        wanted = kept if len(kept) <= max_length else [*kept[: max_length - 1], kept[-1]]
        assert [column for column, keep in enumerate(shorter) if keep] == wanted


@settings(max_examples=100 * FACTOR)
@given(st.lists(st.lists(st.sampled_from([0, EOS, 5, 6]), max_size=6), min_size=1, max_size=4))
def test_sentences_split_at_the_first_end(rows: list[list[int]]) -> None:
    width = max(1, *map(len, rows))
    tokens = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    split = segments.split_sentences(tokens, PAD, EOS)
    for row, (first, second) in zip(rows, split.tolist(), strict=True):
        end = row.index(EOS) + 1 if EOS in row else len(row)
        assert [column for column, keep in enumerate(first) if keep] == list(range(end))
        assert [column for column, keep in enumerate(second) if keep] == list(range(end, len(row)))


@settings(max_examples=150 * FACTOR)
@given(MASKS)
def test_packing_puts_each_kept_column_in_once(mask: list[list[bool]]) -> None:
    keep = torch.tensor(mask)
    lengths = keep.sum(1).tolist()
    packed = segments.pack_rows(keep, lengths)
    assert sorted(packed.index.tolist()) == keep.flatten().nonzero().flatten().tolist()
    assert sum(count * length for count, length in packed.groups) == sum(lengths)
    assert [length for _, length in packed.groups] == sorted({length for length in lengths if length}, reverse=True)
    for row, length in enumerate(lengths):
        if length:
            start = packed.starts[row]
            columns = packed.index[start : start + length] - row * keep.size(1)
            assert torch.equal(columns, keep[row].nonzero().flatten())
    restored = segments.invert_index(packed.index, keep.numel())
    assert torch.equal(restored[packed.index], torch.arange(len(packed.index)))


@settings(max_examples=150 * FACTOR)
@given(
    st.integers(1, 3).flatmap(
        lambda rows: st.lists(st.integers(1, rows).map(lambda n: (n, rows)), min_size=1, max_size=4)
    ),
    st.integers(1, 3),
    st.data(),
)
def test_slots_meet_those_of_their_own_sample(
    samples: list[tuple[int, int]], num_slots: int, data: st.DataObject
) -> None:
    lengths: list[int] = []
    for filled, rows in samples:
        lengths += [data.draw(st.integers(num_slots, num_slots + 3)) for _ in range(filled)] + [0] * (rows - filled)
    width = max(lengths)
    keep = torch.arange(width) < torch.tensor(lengths).unsqueeze(1)
    packed = segments.pack_rows(keep, lengths)
    sequences = segments.slot_sequences(packed.starts, lengths, len(samples), num_slots)
    values = torch.rand(len(packed.index), 2)
    means = segments.mean_of_sequences(values[sequences.index], sequences, num_slots)
    assert torch.allclose(means, plain_means(values, packed.starts, lengths, samples, num_slots))


def plain_means(
    values: Tensor, starts: Tensor, lengths: list[int], samples: list[tuple[int, int]], num_slots: int
) -> Tensor:
    """Average slot j over the rows of each sample, shape (samples, num_slots, d)."""
    means, first = [], 0
    for _, rows in samples:
        filled = [row for row in range(first, first + rows) if lengths[row]]
        means.append(torch.stack([values[starts[filled] + slot].mean(0) for slot in range(num_slots)]))
        first += rows
    return torch.stack(means)
