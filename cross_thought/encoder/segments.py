"""Index work of the encoder: cutting streams, splitting sentences, positions, packing. No parameters, no floats.

A batch is a rectangle of token ids with pads in it. The encoder computes on *packed rows* instead: the kept columns
of every row laid end to end, rows of equal length side by side, so that each run of equal rows is a dense block that
attention takes without a mask. Where small blocks cost more than pads do, attention takes several runs as one
rectangle with pads in it (`attention_blocks`). Building the index moves one number per row to the host, once a forward.
"""

from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Block:
    """Packed rows side by side that attention takes as one rectangle.

    Attributes:
        num_rows: rows of the rectangle.
        length: its columns: states of the longest row, or a few more.
        cells: for each state its place in the flattened rectangle, shape (num_states,); None: states fill it.
        is_state: which of the rectangle's cells have a state, shape (num_rows, 1, 1, length); None: all.
    """

    num_rows: int
    length: int
    cells: Tensor | None = None
    is_state: Tensor | None = None

    @property
    def num_states(self) -> int:
        """States of all rows."""
        return self.num_rows * self.length if self.cells is None else self.cells.numel()

    def pad(self, states: Tensor) -> Tensor:
        """Lay the states, shape (num_states, d), into the rectangle, (num_rows * length, d), zeros elsewhere."""
        if self.cells is None:
            return states
        return states.new_zeros(self.num_rows * self.length, states.size(1)).index_copy(0, self.cells, states)

    def unpad(self, padded: Tensor) -> Tensor:
        """Take the states out of the rectangle again: `pad` the other way."""
        return padded if self.cells is None else padded.index_select(0, self.cells)


Blocks = list[Block]


@dataclass(frozen=True)
class PackedRows:
    """Where the kept columns of a rectangle of rows lie once packed.

    Attributes:
        index: for each packed state its place in the flattened rectangle, shape (num_states,).
        starts: for each row of the rectangle the packed place of its first state, shape (rows,); 0 for an empty row.
        ranks: for each row of the rectangle its number among the packed rows, shape (rows,); 0 for an empty row.
        lengths: for each row of the rectangle how many columns are kept (0: the row is left out).
        groups: runs of packed rows of equal length, as (number of rows, length), longest first.
        blocks: the same rows as attention takes them.
    """

    index: Tensor
    starts: Tensor
    ranks: Tensor
    lengths: list[int]
    groups: list[tuple[int, int]]
    blocks: Blocks


@dataclass(frozen=True)
class SlotSequences:
    """The sequences that cross layer 0 works on: slot j of all rows of one sample, for each sample and j.

    Attributes:
        index: the place of each slot state, sequence by sequence, shape (num_rows * num_slots,).
        groups: runs of sequences of equal length, as (number of sequences, rows of a sample), longest first.
        order: for each sample its place among the sequences' samples, shape (samples,).
    """

    index: Tensor
    groups: list[tuple[int, int]]
    order: Tensor


def cut_streams(
    tokens: Tensor, segment_by: str, segment_length: int, pad_id: int, eos_id: int
) -> tuple[Tensor, Tensor]:
    """Cut token streams into segments, by `fold_sentences` or by `fold_stream`.

    Args:
        tokens: token ids, shape (N, L).
        segment_by, segment_length, pad_id, eos_id: as of `EncoderConfig`.

    Returns:
        Token ids, shape (N, B, T), right-padded; and for each token of the streams its place in its stream's
        flattened segments, shape (N, L); B * T is no place.
    """
    if segment_by == "sentence":
        return fold_sentences(tokens, segment_length, pad_id, eos_id)
    segments = fold_stream(tokens, segment_length, pad_id)
    return segments, torch.arange(tokens.size(1), device=tokens.device).expand_as(tokens)


def fold_stream(tokens: Tensor, segment_length: int, pad_id: int) -> Tensor:
    """Cut each token stream into equal segments, right-padding the last.

    Args:
        tokens: token ids, shape (N, L), L >= 1.
        segment_length: tokens in a segment, T >= 1.
        pad_id: id written into the unused tail of the last segment.

    Returns:
        Token ids, shape (N, ceil(L / T), T).

    Raises:
        ValueError: if `tokens` is not a batch of non-empty streams, or T < 1.

    Source: method.md, pre-training, step 1.
    """
    _check_streams(tokens, segment_length)
    tail = -tokens.size(1) % segment_length
    return F.pad(tokens, (0, tail), value=pad_id).view(tokens.size(0), -1, segment_length)


def fold_sentences(tokens: Tensor, segment_length: int, pad_id: int, eos_id: int) -> tuple[Tensor, Tensor]:
    """Cut each token stream after every `</s>`, and what is longer than a segment after each T tokens.

    Args:
        tokens: token ids, shape (N, L), L >= 1; pads, wherever they stand, are left out.
        segment_length: tokens in a segment at most, T >= 1.
        pad_id: id of the pads, written behind the segments' tokens.
        eos_id: id of `</s>`, the last token of a sentence.

    Returns:
        Token ids, shape (N, B, T), segments of pads alone last; and for each token of the streams its place in its
        stream's flattened segments, shape (N, L), B * T for a pad.

    Raises:
        ValueError: as of `fold_stream`.
    """
    _check_streams(tokens, segment_length)
    is_word = tokens != pad_id
    # a sentence begins at a word that has more `</s>` before it than the word before has
    ends_before = (tokens == eos_id).cumsum(1) - (tokens == eos_id).long()
    ends_so_far = ends_before.masked_fill(~is_word, -1).cummax(1).values
    is_first = is_word & (ends_before > F.pad(ends_so_far, (1, -1), value=-1))
    number = is_word.cumsum(1) - 1
    place_in_sentence = number - number.masked_fill(~is_first, 0).cummax(1).values
    column = place_in_sentence % segment_length
    row = (is_word & (column == 0)).cumsum(1) - 1
    num_rows = max(1, int(row.max()) + 1)
    size = num_rows * segment_length
    places = (row * segment_length + column).masked_fill(~is_word, size)
    folded = tokens.new_full((tokens.size(0), size + 1), pad_id).scatter(1, places, tokens)
    return folded[:, :size].view(-1, num_rows, segment_length), places


def _check_streams(tokens: Tensor, segment_length: int) -> None:
    """Refuse what is no batch of streams, and what is no length."""
    if tokens.dim() != 2 or tokens.size(1) == 0:
        raise ValueError(f"token streams must have shape (N, L) with L >= 1, not {tuple(tokens.shape)}")
    if segment_length < 1:
        raise ValueError(f"segment_length must be at least 1, not {segment_length}")


def split_sentences(tokens: Tensor, pad_id: int, eos_id: int) -> Tensor:
    """Tell which columns of each row belong to its first sentence and which to its second.

    A row is split after its first `</s>`; what follows is the second sentence, if anything does.

    Args:
        tokens: right-padded rows `<s> A </s>` or `<s> A </s> <s> B </s>`, shape (batch, L).
        pad_id: id of the pads.
        eos_id: id of `</s>`.

    Returns:
        Mask over the columns, shape (batch, 2, L); the second is empty for a single sentence.

    Source: method.md, fine-tuning, step 1.
    """
    ends_before = (tokens == eos_id).cumsum(1) - (tokens == eos_id).long()  # `</s>` strictly left of each column
    first = ends_before == 0
    return torch.stack([first, ~first], dim=1) & (tokens != pad_id).unsqueeze(1)


def cut_long_rows(keep: Tensor, max_length: int) -> Tensor:
    """Shorten rows of more than `max_length` kept columns to their first `max_length - 1` and their last.

    The last kept column is the sentence's final `</s>`, which every sentence the encoder was trained on has.

    Args:
        keep: kept columns, shape (rows, columns).
        max_length: columns a row may keep, >= 2.

    Returns:
        Mask of the same shape with at most `max_length` true columns in a row.
    """
    rank = keep.cumsum(1)
    return keep & ((rank < max_length) | (rank == rank[:, -1:]))


def count_positions(keep: Tensor) -> Tensor:
    """Number the kept columns of each row 1, 2, 3, ...; a column that is left out carries the last number.

    Args:
        keep: kept columns, shape (rows, columns).

    Returns:
        Positions, shape (rows, columns).

    Source: method.md, pre-training, step 3, and fine-tuning, step 2.
    """
    return keep.cumsum(1)


def pack_rows(keep: Tensor, lengths: list[int], max_scores: int = 0) -> PackedRows:
    """Pack the kept columns of a rectangle, longest rows first, equal lengths side by side in their old order.

    Args:
        keep: kept columns, shape (rows, columns).
        lengths: `keep.sum(1)`, on the host.
        max_scores: as of `attention_blocks`.

    Returns:
        The packing; rows that keep nothing are left out.
    """
    order = sorted((row for row, length in enumerate(lengths) if length), key=lambda row: -lengths[row])
    row_order = torch.tensor(order, dtype=torch.long)
    packed_lengths = torch.tensor([lengths[row] for row in order], dtype=torch.long)
    starts = torch.zeros(len(lengths), dtype=torch.long)
    starts[row_order] = packed_lengths.cumsum(0) - packed_lengths
    ranks = torch.zeros(len(lengths), dtype=torch.long)
    ranks[row_order] = torch.arange(len(order))

    device, num_columns = keep.device, keep.size(1)
    starts, ranks, row_order = (tensor.to(device, non_blocking=True) for tensor in (starts, ranks, row_order))
    # the number of kept columns is known on the host, so that a GPU need not be asked for it again
    places = torch.nonzero_static(keep[row_order].flatten(), size=sum(lengths)).squeeze(1)
    index = row_order[places // num_columns] * num_columns + places % num_columns
    groups = [(len(list(run)), length) for length, run in groupby(lengths[row] for row in order)]
    return PackedRows(index, starts, ranks, lengths, groups, attention_blocks(groups, max_scores, device))


def attention_blocks(groups: list[tuple[int, int]], max_scores: int = 0, device: torch.device | None = None) -> Blocks:
    """Make the blocks of attention of runs of equal rows: each run one, or several small runs together.

    Args:
        groups: runs of packed rows of equal length, as (number of rows, length), longest first.
        max_scores: runs are put together as long as the rectangle has at most so many scores, rows * length ** 2;
            its length is rounded up to a multiple of 8 after that.
        device: of the states.

    Returns:
        The blocks, in the order of the runs.
    """
    together: list[list[tuple[int, int]]] = []
    for num_rows, length in groups:
        others = together[-1] if together else []
        if others and (num_rows + sum(rows for rows, _ in others)) * others[0][1] ** 2 <= max_scores:
            others.append((num_rows, length))
        else:
            together.append([(num_rows, length)])
    return [Block(*runs[0]) if len(runs) == 1 else _padded_block(runs, device) for runs in together]


def _padded_block(runs: list[tuple[int, int]], device: torch.device | None) -> Block:
    """Make one block of runs of several lengths."""
    lengths = torch.tensor([length for num_rows, length in runs for _ in range(num_rows)])
    width = -(-runs[0][1] // 8) * 8  # lengths that recur: a product of a new size is planned anew
    is_state = torch.arange(width) < lengths.unsqueeze(1)
    cells = is_state.flatten().nonzero().squeeze(1)
    return Block(len(lengths), width, cells.to(device), is_state[:, None, None].to(device))


def slot_index(rows: PackedRows, num_slots: int) -> Tensor:
    """Return the packed place of every slot, row by row as packed, shape (num_rows * num_slots,).

    The slots are the first `num_slots` states of each row.
    """
    first, blocks = 0, []
    for num_rows, length in rows.groups:
        row_starts = torch.arange(first, first + num_rows * length, length)
        blocks.append((row_starts.unsqueeze(1) + torch.arange(num_slots)).flatten())
        first += num_rows * length
    return torch.cat(blocks).to(rows.index.device, non_blocking=True)


def slot_sequences(first_slots: Tensor, lengths: list[int], num_samples: int, num_slots: int) -> SlotSequences:
    """Line up slot j of all rows of a sample, for each sample and each slot.

    Args:
        first_slots: where the first slot state of each row lies, the others right behind it, shape (num_samples * R,).
        lengths: states of each row; 0 for one that is left out, which must come last in its sample.
        num_samples: samples in the batch.
        num_slots: slots in a row.

    Returns:
        The sequences, samples with most rows first.

    Raises:
        ValueError: if a sample has no row.

    Source: method.md, pre-training, step 6, and fine-tuning, step 4.
    """
    device = first_slots.device
    rows_of_sample = (torch.tensor(lengths).view(num_samples, -1) > 0).sum(1)
    if not rows_of_sample.all():
        raise ValueError(f"row {rows_of_sample.argmin()} of the batch holds nothing but pads")
    sizes, samples = rows_of_sample.sort(descending=True, stable=True)
    first_slots = first_slots.view(num_samples, -1)[samples.to(device, non_blocking=True)]
    slots = torch.arange(num_slots, device=device).unsqueeze(1)
    blocks, groups, first = [], [], 0
    for size, run in groupby(sizes.tolist()):
        count = len(list(run))
        blocks.append((first_slots[first : first + count, None, :size] + slots).flatten())  # (count, num_slots, size)
        groups.append((count * num_slots, size))
        first += count
    order = torch.empty_like(samples)
    order[samples] = torch.arange(num_samples)
    return SlotSequences(torch.cat(blocks), groups, order.to(device, non_blocking=True))


def mean_of_sequences(states: Tensor, sequences: SlotSequences, num_slots: int) -> Tensor:
    """Average each sequence over its rows.

    Args:
        states: one state for each place of `sequences.index`, shape (num_rows * num_slots, d).
        sequences: how they are lined up.
        num_slots: slots in a row.

    Returns:
        Means, sample by sample in the batch's order, shape (samples, num_slots, d).
    """
    blocks = states.split([count * size for count, size in sequences.groups])
    means = [block.view(count, size, -1).mean(1) for block, (count, size) in zip(blocks, sequences.groups, strict=True)]
    return torch.cat(means).view(-1, num_slots, states.size(1))[sequences.order]


def invert_index(index: Tensor, size: int) -> Tensor:
    """Return where in `index` each of the numbers 0..size-1 stands, shape (size,); 0 for those that do not."""
    places = index.new_zeros(size)
    return places.index_copy(0, index, torch.arange(index.numel(), device=index.device))
