"""The Cross-Thought encoder in plain PyTorch, parameter names as published.

Every segment or sentence carries k extra `<s>` tokens, its *slots*. The encoder layers work within each row; cross
layer 0 lets slot j of a row look at slot j of the other rows; in pre-training, cross layer 1 hands what the slots
have learnt back to the words. Steps in the comments are those of Wang et al., EMNLP 2020 (arXiv 2010.03652), as the
published encoder does them.
"""

import logging
import math
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from cross_thought.encoder.layers import SelfAttention, TransformerLayer, dropout, max_padded_scores, round_up
from cross_thought.encoder.segments import (
    Blocks,
    PackedRows,
    SlotSequences,
    attention_blocks,
    count_positions,
    cut_long_rows,
    cut_streams,
    invert_index,
    mean_of_sequences,
    pack_rows,
    slot_index,
    slot_sequences,
    split_sentences,
)

logger = logging.getLogger(__name__)

POOLINGS = ("mean", "concat", "slot0")
SEGMENTATIONS = ("tokens", "sentence")


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes and switches of the encoder; the defaults are the published ones.

    Attributes:
        vocab_size: symbols of the dictionary, V.
        num_layers: encoder layers, before the two cross layers.
        embed_dim: width of the states, d.
        ffn_dim: width inside the feed-forward.
        num_heads: attention heads.
        num_slots: sentence slots in a row, k.
        segment_length: tokens in a pre-training segment, T.
        segment_by: where streams are cut: "tokens", after each T, as published, or "sentence", after each `</s>` too.
        num_positions: range that positions are drawn from in pre-training; the table has two rows more.
        cross_sequence: whether cross layer 0 works in pre-training (without it: the masked-LM control).
        dropout: probability after embeddings, attention and feed-forward.
        attention_dropout: probability for attention weights.
        activation_dropout: probability inside the feed-forward.
        pad_id: id of the pads.
        bos_id: id of `<s>`, which the slots are.
        eos_id: id of `</s>`, which ends a sentence.
        init_std: standard deviation of the initial weights.
        query_key_init_std: the same for the query and key projections; None: as for all.

    Raises:
        ValueError: if a size is below 1, a segmentation unknown, or a segment with its slots leaves no start position.
    """

    vocab_size: int = 50265
    num_layers: int = 12
    embed_dim: int = 768
    ffn_dim: int = 3072
    num_heads: int = 12
    num_slots: int = 5
    segment_length: int = 64
    segment_by: str = "tokens"
    num_positions: int = 512
    cross_sequence: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    pad_id: int = 1
    bos_id: int = 0
    eos_id: int = 2
    init_std: float = 0.02
    query_key_init_std: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_layers", "num_heads", "num_slots", "segment_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.segment_by not in SEGMENTATIONS:
            raise ValueError(f"segment_by {self.segment_by!r} is none of {', '.join(SEGMENTATIONS)}")
        if self.max_start_position < 1:
            raise ValueError(
                f"segment_length {self.segment_length} with num_slots {self.num_slots} does not fit num_positions "
                f"{self.num_positions}: at least {self.num_slots + self.segment_length + 2} are needed"
            )

    @property
    def max_start_position(self) -> int:
        """Largest start position of the words in pre-training; the smallest is 1 (step 3)."""
        return self.num_positions - self.num_slots - self.segment_length - 1

    @property
    def max_row_length(self) -> int:
        """Tokens that a fine-tuning row may have, slots included: its positions start at 1."""
        return self.num_positions + 1

    @property
    def max_sentence_length(self) -> int:
        """Tokens that a sentence may have, its `<s>`, which is a slot, and its `</s>` included."""
        return self.max_row_length - self.num_slots + 1


class CrossThoughtEncoder(nn.Module):
    """Token ids in, states out, for pre-training streams and for sentences.

    Args:
        config: sizes and switches.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False  # compute layers again in the backward pass: less memory, same numbers
        self.num_cut_sentences = 0  # sentences shortened so far because they were too long for the positions
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embed_dim, config.pad_id)
        self.embed_positions = nn.Embedding(config.num_positions + 2, config.embed_dim)
        self.emb_layer_norm = nn.LayerNorm(config.embed_dim)
        self.layers = nn.ModuleList(self._new_layer() for _ in range(config.num_layers))
        self.crossthought_layers = nn.ModuleList(self._new_layer() for _ in range(2))
        self.reset_parameters()

    def _new_layer(self) -> TransformerLayer:
        return TransformerLayer(
            embed_dim=self.config.embed_dim,
            ffn_dim=self.config.ffn_dim,
            num_heads=self.config.num_heads,
            dropout=self.config.dropout,
            attention_dropout=self.config.attention_dropout,
            activation_dropout=self.config.activation_dropout,
        )

    def reset_parameters(self) -> None:
        """Draw all weights from N(0, init_std), zero the biases and the pad row, as RoBERTa's initialisation does."""
        query_key_std = self.config.query_key_init_std or self.config.init_std
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                is_query_or_key = name.endswith((".q_proj", ".k_proj"))
                nn.init.normal_(module.weight, std=query_key_std if is_query_or_key else self.config.init_std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.embed_tokens.weight[self.config.pad_id].zero_()

    def encode_streams(self, tokens: Tensor, *, start_position: int, scored: Tensor | None = None) -> Tensor:
        """Compute the pre-training forward.

        Args:
            tokens: right-padded token streams, shape (N, L); each attends within itself, N = 1 is the published case.
            start_position: r of step 3, in 1..config.max_start_position.
            scored: mask of the positions that the LM head will score, shape (N, L); None: all.

        Returns:
            States, shape (N, L, d), zeros at pads; with `scored`, shape (num_scored, d) in the mask's order.

        Raises:
            ValueError: if `start_position` is out of its range, or a stream is empty or nothing but pads.

        Source: method.md, pre-training.
        """
        config = self.config
        if not 1 <= start_position <= config.max_start_position:
            raise ValueError(f"start_position {start_position} is not in 1..{config.max_start_position}")
        # 1, 2: segments of T tokens, each with k slots before it; a segment of nothing but pads is no row
        num_samples = tokens.size(0)
        segments, stream_places = self.cut_streams(tokens)
        num_segments = segments.size(1)
        segments = segments.flatten(0, 1)  # (N * B, T)
        is_word = segments != config.pad_id
        slots = is_word.any(1, keepdim=True).expand(-1, config.num_slots)
        keep = torch.cat([slots, is_word], dim=1)
        row_tokens = F.pad(segments, (config.num_slots, 0), value=config.bos_id)
        # 3: slots at 0..k-1, words from k+r on
        positions = count_positions(keep) - 1
        positions[:, config.num_slots :] += start_position
        # 4, 5
        rows = pack_rows(
            keep, keep.sum(1).tolist(), max_padded_scores(config.embed_dim // config.num_heads, keep.device)
        )
        hidden_states = self._embed(row_tokens, positions, rows)
        for layer in self.layers:
            hidden_states = self._run_layer(layer, hidden_states, rows.blocks)
        # 6: slot j of each row attends to slot j of all rows of its stream
        if config.cross_sequence:
            sequences = slot_sequences(rows.starts, rows.lengths, num_samples, config.num_slots)
            hidden_states = hidden_states.index_copy(0, sequences.index, self._cross(hidden_states, sequences))
        # 7: within each row; the head reads the scored words only
        if scored is not None:
            scored = scored.new_zeros(num_samples, segments.numel() // num_samples + 1).scatter(
                1, stream_places, scored
            )
            scored = scored[:, :-1].reshape_as(segments)
            places = F.pad(scored, (config.num_slots, 0)).flatten().nonzero().squeeze(1)
            read = invert_index(rows.index, keep.numel())[places]
            return self._run_layer(self.crossthought_layers[1], hidden_states, rows.blocks, read=read)
        hidden_states = self._run_layer(self.crossthought_layers[1], hidden_states, rows.blocks)[: rows.index.numel()]
        # 8: drop the slots, lay the segments' states where the stream has their tokens
        unpacked = hidden_states.new_zeros(keep.numel(), config.embed_dim).index_copy(0, rows.index, hidden_states)
        unpacked = unpacked.view(num_samples, num_segments, -1, config.embed_dim)[:, :, config.num_slots :]
        unpacked = F.pad(unpacked.flatten(1, 2), (0, 0, 0, 1))  # a state of zeros for the pads
        return unpacked.gather(1, stream_places.unsqueeze(2).expand(-1, -1, config.embed_dim))

    def cut_streams(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Cut token streams into segments as the config says: `segments.cut_streams`."""
        config = self.config
        return cut_streams(tokens, config.segment_by, config.segment_length, config.pad_id, config.eos_id)

    def encode_sentences(self, tokens: Tensor) -> Tensor:
        """Compute the fine-tuning forward of single sentences and pairs, in any mix.

        Args:
            tokens: right-padded rows `<s> A </s>` or `<s> A </s> <s> B </s>`, shape (batch, L).

        Returns:
            Slot states, shape (batch, k, d); slot 0 is the mean over the k slots, which the head reads.

        Source: method.md, fine-tuning.
        """
        keep = split_sentences(tokens, self.config.pad_id, self.config.eos_id).flatten(0, 1)  # (batch * 2, L)
        slot_states, rows = self._encode_slots(tokens.repeat_interleave(2, dim=0), keep)
        # 4: slot j of each sentence attends to slot j of both; mean over the sentences
        num_slots = self.config.num_slots
        sequences = slot_sequences(rows.ranks * num_slots, rows.lengths, tokens.size(0), num_slots)
        means = mean_of_sequences(self._cross(slot_states, sequences), sequences, num_slots)  # (batch, k, d)
        # 5: slot 0 becomes the mean over the slots
        return torch.cat([means.mean(1, keepdim=True), means[:, 1:]], dim=1)

    def embed_sentences(self, tokens: Tensor) -> Tensor:
        """Embed sentences: their slot states after the encoder layers, before any cross layer.

        Args:
            tokens: right-padded rows `<s> A </s>`, shape (batch, L).

        Returns:
            Slot states, shape (batch, k, d).

        Source: method.md, what the paper adds.
        """
        slot_states, rows = self._encode_slots(tokens, tokens != self.config.pad_id)
        return slot_states.view(-1, self.config.num_slots, self.config.embed_dim)[rows.ranks]

    def weigh_candidates(self, tokens: Tensor) -> Tensor:
        """Weigh the candidate answers of questions, everything computed together: the forward of answer selection.

        Args:
            tokens: questions, each followed by its candidates, as right-padded rows `<s> A </s>`, shape (Q, 1 + N, L);
                a row of nothing but pads is no candidate.

        Returns:
            Log alpha as of `attend_to_candidates`, shape (Q, N).
        """
        slots = self.embed_sentences(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        is_candidate = (tokens[:, 1:] != self.config.pad_id).any(2)
        return self.attend_to_candidates(slots[:, 0], slots[:, 1:], is_candidate)

    def attend_to_candidates(
        self, question_slots: Tensor, candidate_slots: Tensor, candidate_mask: Tensor | None = None
    ) -> Tensor:
        """Weigh candidate answers as cross layer 0 does: slot j of a question attends to slot j of its candidates.

        The weight alpha of a candidate is its mean attention weight over slots and heads; a question's sum to 1.

        Args:
            question_slots: of `embed_sentences`, shape (Q, k, d).
            candidate_slots: of `embed_sentences`, so that they can be computed once and kept: those of each question,
                shape (Q, N, k, d), or those that all questions choose from, shape (1, N, k, d).
            candidate_mask: which candidates there are, shape (Q, N) or (1, N); None: all.

        Returns:
            Log alpha, shape (Q, N); -inf where there is no candidate.

        Raises:
            ValueError: if a question has no candidate.

        Source: method.md, what the paper adds: answer selection.
        """
        attention = cast(SelfAttention, self.crossthought_layers[0].self_attn)
        queries = attention.q_proj(question_slots).unflatten(-1, (attention.num_heads, -1))  # (..., k, H, d / H)
        keys = attention.k_proj(candidate_slots).unflatten(-1, (attention.num_heads, -1))
        scores = torch.einsum("qjhe,qnjhe->qnjh", queries * queries.size(-1) ** -0.5, keys)
        absent = None
        if candidate_mask is not None:
            if not candidate_mask.any(1).all():
                raise ValueError(f"question {candidate_mask.any(1).long().argmin()} of the batch has no candidate")
            absent = ~candidate_mask.expand(scores.size(0), -1)
            scores = scores.masked_fill(absent[:, :, None, None], float("-inf"))
        # a sum of logs' exponentials: in float16, an alpha that is far from the best would be 0
        dtype = torch.promote_types(scores.dtype, torch.float32)
        log_weights = F.log_softmax(scores, dim=1, dtype=dtype).flatten(2)  # (Q, N, k * H)
        if absent is not None:
            # only from numbers does logsumexp make gradients that are numbers
            log_weights = log_weights.masked_fill(absent.unsqueeze(2), 0.0)
        log_alpha = log_weights.logsumexp(2) - math.log(log_weights.size(2))
        return log_alpha if absent is None else log_alpha.masked_fill(absent, float("-inf"))

    def _encode_slots(self, tokens: Tensor, keep: Tensor) -> tuple[Tensor, PackedRows]:
        """Compute the slot states of sentence rows (fine-tuning, steps 1 to 3).

        Args:
            tokens: token ids, shape (rows, L).
            keep: the columns that belong to the row's sentence, shape (rows, L).

        Returns:
            Slot states, packed row by packed row, shape (num_rows * k, d), and the packing.
        """
        config = self.config
        # 1: the sentence's own <s> is the k-th slot
        has_sentence = keep.any(1, keepdim=True).expand(-1, config.num_slots - 1)
        keep = torch.cat([has_sentence, keep], dim=1)
        row_tokens = F.pad(tokens, (config.num_slots - 1, 0), value=config.bos_id)
        lengths = keep.sum(1).tolist()
        if max(lengths) > config.max_row_length:
            lengths = self._report_cut(lengths)
            keep = cut_long_rows(keep, config.max_row_length)
        # 2, 3: of the last layer only the slots are read
        rows = pack_rows(keep, lengths, max_padded_scores(config.embed_dim // config.num_heads, keep.device))
        hidden_states = self._embed(row_tokens, count_positions(keep), rows)
        for layer in self.layers[:-1]:
            hidden_states = self._run_layer(layer, hidden_states, rows.blocks)
        slots = slot_index(rows, config.num_slots)
        last = self.layers[-1]
        return self._run_layer(last, hidden_states, rows.blocks, read=slots, read_per_row=config.num_slots), rows

    def _cross(self, slot_states: Tensor, sequences: SlotSequences) -> Tensor:
        """Compute cross layer 0 on the sequences' states, shape (num_rows * num_slots, d)."""
        inputs, blocks = round_up(slot_states[sequences.index]), attention_blocks(sequences.groups)
        return self._run_layer(self.crossthought_layers[0], inputs, blocks)[: sequences.index.numel()]

    def _run_layer(
        self, layer: nn.Module, hidden_states: Tensor, blocks: Blocks, *, read: Tensor | None = None, **options: int
    ) -> Tensor:
        """Compute a layer, so that of its inner states only the input is kept if `checkpoint_activations` is set."""
        run = partial(layer, read=None if read is None else round_up(read), **options)
        if self.checkpoint_activations and torch.is_grad_enabled():
            # dropout draws the same again: the generators' states are kept
            states = checkpoint(run, hidden_states, blocks, use_reentrant=False)
        else:
            states = run(hidden_states, blocks)
        return states if read is None else states[: read.numel()]

    def _embed(self, row_tokens: Tensor, positions: Tensor, rows: PackedRows) -> Tensor:
        """Return the packed input states of rows of tokens, shape (num_states, d) (step 4, pads left out)."""
        tokens, positions = row_tokens.flatten()[rows.index], positions.flatten()[rows.index]
        embedded = self.emb_layer_norm(self.embed_tokens(tokens) + self.embed_positions(positions))
        return round_up(dropout(embedded, self.config.dropout, self.training))

    def _report_cut(self, lengths: list[int]) -> list[int]:
        """Count the sentences too long for the positions, warn at the first, and return the lengths after the cut."""
        longest = self.config.max_row_length
        if self.num_cut_sentences == 0:
            logger.warning(
                "a sentence of %d tokens, slots included, does not fit the %d positions: words before its final </s> "
                "are cut (num_cut_sentences counts all that are)",
                max(lengths),
                longest,
            )
        self.num_cut_sentences += sum(length > longest for length in lengths)
        return [min(length, longest) for length in lengths]


def pooled_dim(config: EncoderConfig, pooling: str) -> int:
    """Return the width of what `pool_slots` makes.

    Raises:
        ValueError: if there is no such pooling.
    """
    if pooling not in POOLINGS:
        raise ValueError(f"pooling {pooling!r} is none of {', '.join(POOLINGS)}")
    return config.embed_dim * (config.num_slots if pooling == "concat" else 1)


def pool_slots(slot_states: Tensor, pooling: str) -> Tensor:
    """Make one vector of each sentence's slot states.

    Args:
        slot_states: shape (batch, k, d).
        pooling: `mean` over the slots, `concat` of all, or `slot0`, the first alone.

    Returns:
        Vectors, shape (batch, d), or (batch, k * d) for `concat`.
    """
    if pooling == "mean":
        return slot_states.mean(1)
    if pooling == "concat":
        return slot_states.flatten(1)
    return slot_states[:, 0]
