"""The encoder's three forwards on a rectangle of token ids with a mask: the numbers of the packed ones.

`CrossThoughtEncoder` packs rows: their lengths go to the host, and shapes depend on values. What is written down as a
graph, or used as other models of its kind are, must do without; so this computes on pads as well, and hides them.

Each function takes `parts`: a `CrossThoughtEncoder`, or another module that has its layers under the same names.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from cross_thought.encoder.encoder import EncoderConfig
from cross_thought.encoder.layers import SelfAttention, TransformerLayer
from cross_thought.encoder.segments import count_positions, cut_long_rows, cut_streams, split_sentences

_UNK_ID = 3  # in every dictionary of fairseq's


def embed_sentences(
    parts: Any, config: EncoderConfig, tokens: Tensor, mask: Tensor, *, max_length: int | None = None
) -> Tensor:
    """Embed sentences, as `CrossThoughtEncoder.embed_sentences` does.

    Args:
        parts: with the layers.
        config: of the encoder.
        tokens: rows `<s> A </s>`, shape (batch, L); those that the encoder has no row for stand for `<unk>`.
        mask: nonzero where a row's tokens are, shape (batch, L); on whichever side the pads are.
        max_length: tokens of a sentence, words beyond are cut; None: as the positions allow.

    Returns:
        Slot states, shape (batch, k, d).
    """
    return _encode_slots(parts, config, known_ids(config, tokens), mask != 0, max_length)


def encode_sentences(
    parts: Any, config: EncoderConfig, tokens: Tensor, mask: Tensor, *, max_length: int | None = None
) -> Tensor:
    """Compute the fine-tuning forward of single sentences and pairs, as `CrossThoughtEncoder.encode_sentences` does.

    Args:
        parts: with the layers.
        config: of the encoder.
        tokens: rows `<s> A </s>` or `<s> A </s> <s> B </s>`, shape (batch, L).
        mask, max_length: as of `embed_sentences`.

    Returns:
        Slot states, shape (batch, k, d); slot 0 is the mean over the k slots, which the head reads.
    """
    tokens = known_ids(config, tokens).masked_fill(mask == 0, config.pad_id)
    first, second = split_sentences(tokens, config.pad_id, config.eos_id).unbind(1)
    slots = _encode_slots(parts, config, torch.cat([tokens, tokens]), torch.cat([first, second]), max_length)
    # 4: slot j of each sentence attends to slot j of both; mean over the sentences that there are
    num_samples = tokens.size(0)
    is_sentence = torch.stack([torch.ones_like(first[:, 0]), second.any(1)], dim=1)  # (batch, 2)
    crossed = _cross_rows(parts, torch.stack([slots[:num_samples], slots[num_samples:]], dim=1), is_sentence)
    weights = is_sentence.to(crossed.dtype)[:, :, None, None]
    means = (crossed * weights).sum(1) / weights.sum(1)  # (batch, k, d)
    # 5: slot 0 becomes the mean over the slots
    return torch.cat([means.mean(1, keepdim=True), means[:, 1:]], dim=1)


def encode_streams(parts: Any, config: EncoderConfig, tokens: Tensor, mask: Tensor, *, start_position: int) -> Tensor:
    """Compute the pre-training forward, as `CrossThoughtEncoder.encode_streams` does.

    Args:
        parts: with the layers.
        config: of the encoder.
        tokens: token streams, shape (N, L), L >= 1.
        mask: nonzero where a stream's tokens are, shape (N, L); pads are to the right.
        start_position: of the words, in 1..config.max_start_position.

    Returns:
        States, shape (N, L, d), zeros at pads.
    """
    num_samples = tokens.size(0)
    tokens = known_ids(config, tokens).masked_fill(mask == 0, config.pad_id)
    segments, stream_places = cut_streams(
        tokens, config.segment_by, config.segment_length, config.pad_id, config.eos_id
    )  # (N, B, T), (N, L)
    is_word = segments != config.pad_id
    is_row = is_word.any(2)  # (N, B)
    keep = F.pad(is_word.flatten(0, 1), (config.num_slots, 0), value=True)
    row_tokens = F.pad(segments.flatten(0, 1), (config.num_slots, 0), value=config.bos_id)
    is_slot = torch.arange(keep.size(1), device=keep.device) < config.num_slots
    positions = count_positions(keep) - 1 + start_position * (~is_slot).long()
    states = _embed(parts, config, row_tokens, positions)
    for layer in parts.layers:
        states = _run_layer(layer, states, states, keep)
    if config.cross_sequence:
        slots = states[:, : config.num_slots].unflatten(0, (num_samples, -1))
        crossed = _cross_rows(parts, slots, is_row).flatten(0, 1)
        states = torch.cat([crossed, states[:, config.num_slots :]], dim=1)
    states = _run_layer(parts.crossthought_layers[1], states, states, keep)[:, config.num_slots :]
    states = (states * is_word.flatten(0, 1).unsqueeze(2)).unflatten(0, (num_samples, -1))
    states = F.pad(states.flatten(1, 2), (0, 0, 0, 1))  # a state of zeros for the pads
    return states.gather(1, stream_places.unsqueeze(2).expand(-1, -1, config.embed_dim))


def known_ids(config: EncoderConfig, tokens: Tensor) -> Tensor:
    """Return ids with `<unk>` in place of those that the encoder has no row for."""
    return tokens.masked_fill(tokens >= config.vocab_size, _UNK_ID)


def _encode_slots(parts: Any, config: EncoderConfig, tokens: Tensor, keep: Tensor, max_length: int | None) -> Tensor:
    """Compute the slot states of sentence rows, shape (rows, k, d); of a row that keeps nothing, of no meaning."""
    # words beyond are left out, not only hidden: time and memory would grow with the longest row's; and each sentence
    # goes to the left edge, so that its own <s> follows the k - 1 slots
    longest = min(max_length or config.max_sentence_length, config.max_sentence_length)
    keep = cut_long_rows(keep, longest)
    columns = torch.arange(tokens.size(1), device=tokens.device)
    places = (columns - tokens.size(1) * keep.long()).argsort(1)[:, :longest]
    extra = config.num_slots - 1
    tokens, keep = tokens.gather(1, places), F.pad(keep.gather(1, places), (extra, 0), value=True)
    states = _embed(parts, config, F.pad(tokens, (extra, 0), value=config.bos_id), count_positions(keep))
    for layer in parts.layers[:-1]:
        states = _run_layer(layer, states, states, keep)
    return _run_layer(parts.layers[-1], states[:, : config.num_slots], states, keep)


def _embed(parts: Any, config: EncoderConfig, row_tokens: Tensor, positions: Tensor) -> Tensor:
    """Return the input states of rows of tokens, shape (rows, L, d)."""
    embedded = parts.emb_layer_norm(parts.embed_tokens(row_tokens) + parts.embed_positions(positions))
    return F.dropout(embedded, config.dropout, parts.training)


def _cross_rows(parts: Any, slots: Tensor, is_row: Tensor) -> Tensor:
    """Let slot j of each row of a sample attend to slot j of all its rows: cross layer 0.

    Args:
        parts: with the layers.
        slots: shape (N, R, k, d).
        is_row: the rows that there are, at least one of a sample, shape (N, R).

    Returns:
        New slot states, same shape.
    """
    num_slots = slots.size(2)
    sequences = slots.transpose(1, 2).flatten(0, 1)  # (N * k, R, d)
    crossed = _run_layer(parts.crossthought_layers[0], sequences, sequences, is_row.repeat_interleave(num_slots, dim=0))
    return crossed.unflatten(0, (-1, num_slots)).transpose(1, 2)


def _run_layer(layer: TransformerLayer, queries: Tensor, states: Tensor, keep: Tensor) -> Tensor:
    """Compute a layer for some states of each row.

    Args:
        layer: with the weights.
        queries: the states wanted, shape (rows, Q, d).
        states: what they attend to, shape (rows, L, d).
        keep: the states that count, shape (rows, L).

    Returns:
        New states, shape (rows, Q, d).
    """
    attention = layer.self_attn
    attended = F.dropout(_attend(attention, queries, states, keep), layer.dropout, layer.training)
    hidden = layer.self_attn_layer_norm(queries + attended)
    inner = F.dropout(F.gelu(layer.fc1(hidden)), layer.activation_dropout, layer.training)
    return layer.final_layer_norm(hidden + F.dropout(layer.fc2(inner), layer.dropout, layer.training))


def _attend(attention: SelfAttention, queries: Tensor, states: Tensor, keep: Tensor) -> Tensor:
    """Let each row's queries attend to that row's states, and project the output, shape (rows, Q, d)."""

    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(2, (attention.num_heads, -1)).transpose(1, 2)  # (rows, H, ..., d / H)

    attended = F.scaled_dot_product_attention(
        heads(attention.q_proj(queries)),
        heads(attention.k_proj(states)),
        heads(attention.v_proj(states)),
        attn_mask=keep[:, None, None, :],
        dropout_p=attention.dropout if attention.training else 0.0,
    )
    return attention.out_proj(attended.transpose(1, 2).flatten(2))
