"""The method of `method.md`, step by step in plain PyTorch: slow, literal, and what the encoder is held against.

A model is a state dict with the published names (without `encoder.sentence_encoder.`). Nothing here is shared with
`cross_thought`: the layers are written out from matrix products, and each sample is computed by itself.

Hidden states are sequence first, (sequence, batch, d), as in fairseq.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

LAYER_NORM_EPS = 1e-5

State = Mapping[str, Tensor]
# (name of the layer, hidden (S, B, d), padding mask (B, S) or None) -> hidden (S, B, d)
ApplyLayer = Callable[[str, Tensor, Tensor | None], Tensor]


# The layer: post-LayerNorm, as RoBERTa's.


def linear(state: State, name: str, hidden: Tensor) -> Tensor:
    """Apply the affine map `name`."""
    return F.linear(hidden, state[f"{name}.weight"], state[f"{name}.bias"])


def layer_norm(state: State, name: str, hidden: Tensor) -> Tensor:
    """Apply the LayerNorm `name` over the last dimension."""
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return F.layer_norm(hidden, weight.shape, weight, bias, LAYER_NORM_EPS)


def self_attention(
    state: State,
    name: str,
    hidden: Tensor,
    padding_mask: Tensor | None,
    *,
    num_heads: int,
    attention_dropout: float = 0.0,
) -> Tensor:
    """Multi-head self-attention, one head after the other.

    Args:
        hidden: shape (S, B, d).
        padding_mask: true where a key is padding, shape (B, S).

    Returns:
        Shape (S, B, d), before dropout and residual.
    """
    head_dim = hidden.shape[-1] // num_heads
    query = linear(state, f"{name}.q_proj", hidden) * head_dim**-0.5
    key = linear(state, f"{name}.k_proj", hidden)
    value = linear(state, f"{name}.v_proj", hidden)
    heads = []
    for head in range(num_heads):
        part = slice(head * head_dim, (head + 1) * head_dim)
        scores = torch.einsum("ibd,jbd->bij", query[..., part], key[..., part])  # (B, S, S)
        if padding_mask is not None:
            scores = scores.masked_fill(padding_mask[:, None, :], float("-inf"))
        weights = torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32))
        weights = F.dropout(weights.to(scores.dtype), attention_dropout)
        heads.append(torch.einsum("bij,jbd->ibd", weights, value[..., part]))
    return linear(state, f"{name}.out_proj", torch.cat(heads, dim=-1))


def plain_layers(state: State, *, num_heads: int, dropout: float = 0.0, attention_dropout: float = 0.0) -> ApplyLayer:
    """The layers of `state`, written out; a dropout above 0 acts at once (there is no evaluation mode)."""

    def apply_layer(name: str, hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
        attended = self_attention(
            state,
            f"{name}.self_attn",
            hidden,
            padding_mask,
            num_heads=num_heads,
            attention_dropout=attention_dropout,
        )
        hidden = layer_norm(state, f"{name}.self_attn_layer_norm", hidden + F.dropout(attended, dropout))
        transformed = linear(state, f"{name}.fc2", F.gelu(linear(state, f"{name}.fc1", hidden)))
        return layer_norm(state, f"{name}.final_layer_norm", hidden + F.dropout(transformed, dropout))

    return apply_layer


# The steps that both forwards share.


def count_layers(state: State) -> int:
    """Number of encoder layers, the cross layers not counted."""
    return 1 + max(int(name.split(".")[1]) for name in state if name.startswith("layers."))


def embed(state: State, rows: Tensor, positions: Tensor, *, pad_id: int, dropout: float = 0.0) -> Tensor:
    """Step 4: token and position embedding, LayerNorm, dropout, pads set to zero.

    Args:
        rows: token ids, shape (B, S).
        positions: shape (B, S).

    Returns:
        Shape (S, B, d).
    """
    hidden = F.embedding(rows, state["embed_tokens.weight"]) + F.embedding(positions, state["embed_positions.weight"])
    hidden = F.dropout(layer_norm(state, "emb_layer_norm", hidden), dropout)
    hidden = hidden * (rows != pad_id).unsqueeze(-1).to(hidden.dtype)
    return hidden.transpose(0, 1)


def encode(
    state: State, apply_layer: ApplyLayer, rows: Tensor, positions: Tensor, *, pad_id: int, dropout: float = 0.0
) -> Tensor:
    """Steps 4 and 5: the embedding, then the encoder layers on each row by itself; shape (S, B, d)."""
    padding_mask = rows == pad_id
    hidden = embed(state, rows, positions, pad_id=pad_id, dropout=dropout)
    for index in range(count_layers(state)):
        hidden = apply_layer(f"layers.{index}", hidden, padding_mask)
    return hidden


# Pre-training.


def fold(stream: Tensor, *, num_slots: int, segment_length: int, pad_id: int, bos_id: int) -> Tensor:
    """Steps 1 and 2: cut one stream (L,) into rows of T, the last right-padded; k `<s>` before each: (B, k + T)."""
    num_rows = -(-len(stream) // segment_length)
    padded = F.pad(stream, (0, num_rows * segment_length - len(stream)), value=pad_id)
    slots = stream.new_full((num_rows, num_slots), bos_id)
    return torch.cat([slots, padded.reshape(num_rows, segment_length)], dim=1)


def fold_sentences(
    stream: Tensor, *, num_slots: int, segment_length: int, pad_id: int, bos_id: int, eos_id: int = 2
) -> Tensor:
    """As `fold`, but a row ends after a `</s>`, or after T tokens: (B, k + T)."""
    rows: list[list[int]] = [[]]
    for token in stream.tolist():
        if len(rows[-1]) == segment_length or eos_id in rows[-1]:
            rows.append([])
        rows[-1].append(token)
    padded = [row + [pad_id] * (segment_length - len(row)) for row in rows]
    return torch.tensor([[bos_id] * num_slots + row for row in padded], device=stream.device)


def pretrain_positions(rows: Tensor, *, num_slots: int, start_position: int, pad_id: int) -> Tensor:
    """Step 3: slot j has position j; the first word of a row has position k - 1 + r + 1, the next one more, and so on.

    Words are counted from 1, pads are not counted, and a pad carries the position of the word before it.
    """
    slots = torch.arange(num_slots, device=rows.device).expand(len(rows), num_slots)
    word_number = (rows[:, num_slots:] != pad_id).long().cumsum(dim=1)
    return torch.cat([slots, num_slots - 1 + start_position + word_number], dim=1)


def pretrain_stream(
    state: State,
    apply_layer: ApplyLayer,
    stream: Tensor,
    *,
    num_slots: int,
    segment_length: int,
    start_position: int,
    cross_sequence: bool = True,
    segment_by: str = "tokens",
    pad_id: int = 1,
    bos_id: int = 0,
    dropout: float = 0.0,
) -> Tensor:
    """Steps 1 to 8 on one stream of L tokens, (L,) -> (L, d); `cross_sequence=False` leaves step 6 out."""
    cut = fold_sentences if segment_by == "sentence" else fold
    rows = cut(stream, num_slots=num_slots, segment_length=segment_length, pad_id=pad_id, bos_id=bos_id)
    positions = pretrain_positions(rows, num_slots=num_slots, start_position=start_position, pad_id=pad_id)
    hidden = encode(state, apply_layer, rows, positions, pad_id=pad_id, dropout=dropout)  # (k + T, B, d)
    if cross_sequence:
        slots = hidden[:num_slots].transpose(0, 1)  # (B, k, d): the rows are the sequence, the slots the batch
        slots = apply_layer("crossthought_layers.0", slots, None)
        hidden = torch.cat([slots.transpose(0, 1), hidden[num_slots:]])
    hidden = apply_layer("crossthought_layers.1", hidden, rows == pad_id)
    words = hidden[num_slots:].transpose(0, 1)  # (B, T, d)
    return words[rows[:, num_slots:] != pad_id]


def pretrain_forward(
    state: State,
    tokens: Tensor,
    *,
    num_slots: int,
    segment_length: int,
    num_heads: int,
    start_position: int,
    cross_sequence: bool = True,
    segment_by: str = "tokens",
    pad_id: int = 1,
    bos_id: int = 0,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> Tensor:
    """Pre-training forward of N streams, each by itself.

    Args:
        tokens: token ids, shape (N, L); a shorter stream is right-padded.
        start_position: r of step 3.
        cross_sequence: with False, step 6 is left out (the masked-LM control).
        segment_by: "tokens", as published, or "sentence": rows end with sentences as well.

    Returns:
        Shape (N, L, d), zero where a stream has ended.

    Source: method.md, pre-training, steps 1 to 8.
    """
    apply_layer = plain_layers(state, num_heads=num_heads, dropout=dropout, attention_dropout=attention_dropout)
    outputs = []
    for stream in tokens:
        length = int((stream != pad_id).sum())
        features = pretrain_stream(
            state,
            apply_layer,
            stream[:length],
            num_slots=num_slots,
            segment_length=segment_length,
            start_position=start_position,
            cross_sequence=cross_sequence,
            segment_by=segment_by,
            pad_id=pad_id,
            bos_id=bos_id,
            dropout=dropout,
        )
        outputs.append(F.pad(features, (0, 0, 0, len(stream) - length)))
    return torch.stack(outputs)


# Fine-tuning.


def split_sentences(row: Tensor, *, pad_id: int, eos_id: int) -> list[Tensor]:
    """Split one row after its first `</s>`: one sentence, or two if anything follows."""
    row = row[row != pad_id]
    end = int((row == eos_id).nonzero()[0]) + 1
    return [row[:end], row[end:]] if end < len(row) else [row]


def pad_rows(rows: list[Tensor], *, pad_id: int) -> Tensor:
    """Right-pad rows to the longest, (B, S)."""
    longest = max(len(row) for row in rows)
    return torch.stack([F.pad(row, (0, longest - len(row)), value=pad_id) for row in rows])


def sentence_states(
    state: State,
    apply_layer: ApplyLayer,
    sentences: list[Tensor],
    *,
    num_slots: int,
    pad_id: int = 1,
    bos_id: int = 0,
    dropout: float = 0.0,
) -> Tensor:
    """Fine-tuning steps 1 (second half) to 3: the k slot states of each sentence, shape (k, number of sentences, d)."""
    rows = [torch.cat([row.new_full((num_slots - 1,), bos_id), row]) for row in sentences]
    tokens = pad_rows(rows, pad_id=pad_id)
    positions = (tokens != pad_id).long().cumsum(dim=1)  # from 1
    return encode(state, apply_layer, tokens, positions, pad_id=pad_id, dropout=dropout)[:num_slots]


def finetune_rows(
    state: State,
    apply_layer: ApplyLayer,
    tokens: Tensor,
    *,
    num_slots: int,
    pad_id: int = 1,
    bos_id: int = 0,
    eos_id: int = 2,
    dropout: float = 0.0,
) -> Tensor:
    """Steps 1 to 5 on rows that all have the same number of sentences n, (batch, L) -> (batch, k, d)."""
    samples = [split_sentences(row, pad_id=pad_id, eos_id=eos_id) for row in tokens]
    num_sentences = len(samples[0])
    if any(len(sample) != num_sentences for sample in samples):
        raise ValueError("the rows differ in their number of sentences: compute them apart")
    # All first sentences, then all second ones.
    sentences = [sample[index] for index in range(num_sentences) for sample in samples]
    slots = sentence_states(
        state, apply_layer, sentences, num_slots=num_slots, pad_id=pad_id, bos_id=bos_id, dropout=dropout
    )
    slots = slots.reshape(num_slots, num_sentences, len(samples), -1).transpose(0, 1)  # (n, k, batch, d)
    sequence = slots.reshape(num_sentences, num_slots * len(samples), -1)
    crossed = apply_layer("crossthought_layers.0", sequence, None)
    crossed = crossed.reshape(num_sentences, num_slots, len(samples), -1).mean(dim=0)  # (k, batch, d)
    first = crossed.mean(dim=0, keepdim=True)
    return torch.cat([first, crossed[1:]]).transpose(0, 1)


def finetune_forward(
    state: State,
    tokens: Tensor,
    *,
    num_slots: int,
    num_heads: int,
    pad_id: int = 1,
    bos_id: int = 0,
    eos_id: int = 2,
    dropout: float = 0.0,
    attention_dropout: float = 0.0,
) -> Tensor:
    """Fine-tuning forward; rows of one and of two sentences may be mixed.

    Args:
        tokens: rows `<s> A </s> <s> B </s>` or `<s> A </s>`, right-padded, shape (batch, L).

    Returns:
        Slot states after cross layer 0 and the mean over the sentences, slot 0 replaced by the mean over the slots,
        shape (batch, k, d).

    Source: method.md, fine-tuning, steps 1 to 5.
    """
    apply_layer = plain_layers(state, num_heads=num_heads, dropout=dropout, attention_dropout=attention_dropout)
    numbers = torch.tensor([len(split_sentences(row, pad_id=pad_id, eos_id=eos_id)) for row in tokens])
    outputs: list[Tensor | None] = [None] * len(tokens)
    for num_sentences in (1, 2):
        chosen = (numbers == num_sentences).nonzero().flatten()
        if len(chosen):
            group = finetune_rows(
                state,
                apply_layer,
                tokens[chosen],
                num_slots=num_slots,
                pad_id=pad_id,
                bos_id=bos_id,
                eos_id=eos_id,
                dropout=dropout,
            )
            for index, output in zip(chosen.tolist(), group, strict=True):
                outputs[index] = output
    return torch.stack(outputs)


# Answer selection.


def answer_weights(state: State, question: Tensor, candidates: Tensor, *, num_heads: int) -> Tensor:
    """How cross layer 0's self-attention, read at the question, shares itself out among one question's candidates.

    Args:
        question: its slot states before the cross layers, shape (k, d).
        candidates: those of its candidates, shape (N, k, d).

    Returns:
        Mean weight over slots and heads, shape (N,); their sum is 1.

    Source: method.md, what the paper adds: answer selection.
    """
    num_slots, width = question.shape
    head_dim = width // num_heads
    name = "crossthought_layers.0.self_attn"
    total = torch.zeros(len(candidates), dtype=question.dtype)
    for slot in range(num_slots):
        query = linear(state, f"{name}.q_proj", question[slot])
        keys = linear(state, f"{name}.k_proj", candidates[:, slot])
        for head in range(num_heads):
            part = slice(head * head_dim, (head + 1) * head_dim)
            total = total + torch.softmax(keys[:, part] @ query[part] / head_dim**0.5, dim=0)
    return total / (num_slots * num_heads)


# The heads, stock RoBERTa's.


def lm_logits(state: State, features: Tensor, *, prefix: str = "lm_head.") -> Tensor:
    """RoBERTa's LM head: dense, GELU, LayerNorm, then the product with the tied embedding."""
    hidden = layer_norm(state, f"{prefix}layer_norm", F.gelu(linear(state, f"{prefix}dense", features)))
    return hidden @ state[f"{prefix}weight"].T + state[f"{prefix}bias"]


def classification_logits(
    state: State, features: Tensor, *, prefix: str = "classification_heads.sentence_classification_head."
) -> Tensor:
    """RoBERTa's classification head on slot 0 of (batch, k, d), without its dropout."""
    return linear(state, f"{prefix}out_proj", torch.tanh(linear(state, f"{prefix}dense", features[:, 0])))
