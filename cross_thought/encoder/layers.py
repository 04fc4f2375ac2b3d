"""The Transformer layer that the encoder is made of, on packed rows: post-LayerNorm, GELU, no computation on pads.

Under autocast, what flows along the residual sums and into LayerNorm is float32, and matrix products take bfloat16.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from cross_thought.encoder.segments import Block, Blocks

# on a CPU, attention in bfloat16 pays from this width of a head on, and pads up to so many scores of a block
_WIDE_HEAD, _MAX_PADDED_SCORES = 64, 2**16
_KERNELS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def dropout(states: Tensor, probability: float, training: bool) -> Tensor:
    """Drop elements at random while training and scale up the others, as `torch.nn.functional.dropout` does.

    On a CPU, torch draws a float for each element, which takes longer than the layer's LayerNorms; here each gets 16
    random bits, so that the probability is met to within 1/65536. Elsewhere it is torch's own.

    Args:
        states: any shape.
        probability: of dropping an element, in [0, 1).
        training: nothing is dropped if false.
    """
    if not training or probability == 0.0:
        return states
    if states.device.type != "cpu":
        return F.dropout(states, probability, training)
    if states.dtype == torch.bfloat16:
        return _BFloat16Dropout.apply(states, probability)
    threshold = round(probability * 2**16) - 2**15  # int16 is signed
    keep = (_random_bits(states.numel()) >= threshold).view(states.shape)
    return states * keep.to(states.dtype).mul_(1 / (1 - probability))


def _random_bits(number: int) -> Tensor:
    """Draw 16 random bits so many times, as int16, shape (number,)."""
    num_words = -(-number // 4)
    return torch.empty(num_words, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:number]


class _BFloat16Dropout(torch.autograd.Function):
    """Dropout of bfloat16 on a CPU: with bits in place of a mask of numbers, and scaled by a float32 number.

    1 / (1 - p) itself would be off by up to 0.4 % in bfloat16, and all states with it. The probability is met to within
    1/32768.
    """

    @staticmethod
    def forward(context: Any, states: Tensor, probability: float) -> Tensor:
        bits = _random_bits(states.numel())
        # 15 bits less the threshold: the sign, spread over all bits, is all ones (keep) or all zeros (drop)
        kept = bits.bitwise_and_(2**15 - 1).neg_().add_(2**15 - 1 - round(probability * 2**15))
        kept = kept.bitwise_right_shift_(15).bitwise_not_().view(states.shape)
        context.save_for_backward(kept)
        context.scale = 1 / (1 - probability)
        return _keep(states, kept, context.scale)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = context.saved_tensors
        return _keep(gradients[0], kept, context.scale), None


def _keep(states: Tensor, kept: Tensor, scale: float) -> Tensor:
    """Return bfloat16 states times a scale where the bits are ones, and 0 where they are zeros."""
    scaled = states * scale
    scaled.view(torch.int16).bitwise_and_(kept)
    return scaled


def _for_products(states: Tensor) -> Tensor:
    """Return states in the type of matrix products, so that under autocast not each product converts them by itself."""
    device = states.device.type
    return states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states


def round_up(states: Tensor) -> Tensor:
    """Append rows of zeros, at most a sixteenth, if products of these states are in bfloat16 on a CPU.

    There oneDNN plans each product of a new size anew, which takes it about a millisecond: longer than a small model's
    product itself. So sizes are made to recur.

    Args:
        states: states, or places of states, shape (n, ...).

    Returns:
        Shape (m, ...), m >= n.
    """
    if states.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return states
    number = states.size(0)
    num_filling = -number % (1 << max(0, number.bit_length() - 5))
    return torch.cat([states, states.new_zeros(num_filling, *states.shape[1:])]) if num_filling else states


def max_padded_scores(head_dim: int, device: torch.device) -> int:
    """Return up to how many scores `attention_blocks` is to take several runs of rows together.

    In bfloat16 on a CPU, the plain products that training takes cost a small block more than pads do; without gradients
    the fused kernel does not.
    """
    in_bfloat16 = device.type == "cpu" and torch.is_autocast_enabled("cpu")
    return _MAX_PADDED_SCORES if in_bfloat16 and torch.is_grad_enabled() and head_dim >= _WIDE_HEAD else 0


def _attention_kernels(device: torch.device) -> AbstractContextManager:
    """Return the context that attention is computed in.

    From Hopper GPUs on, PyTorch prefers cuDNN's, which plans each new shape anew: nearly every batch of sentences has
    some, and a step on 32 pairs took 7 s on an H200.
    """
    return sdpa_kernel(_KERNELS) if device.type == "cuda" else nullcontext()


def _split(states: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """Split states into blocks of the sizes, leaving out what stands behind them."""
    return states[: sum(sizes)].split(sizes)


class SelfAttention(nn.Module):
    """Multi-head attention within each packed row.

    Args:
        embed_dim: width of the states, d.
        num_heads: heads H; d must be a multiple of it.
        dropout: probability of dropping an attention weight while training.

    Raises:
        ValueError: if `embed_dim` is not a multiple of `num_heads`.
    """

    def __init__(self, embed_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def forward(self, queries: Tensor, hidden_states: Tensor, blocks: Blocks, queries_per_row: int | None) -> Tensor:
        """Let each row's queries attend to that row's states.

        Args:
            queries: shape (num_queries, d), row by row.
            hidden_states: packed rows, shape (num_states, d).
            blocks: the rows; what stands behind them, of `round_up`, is not attended to.
            queries_per_row: queries of each row; None: as many as it has states.

        Returns:
            Attended values before the output projection, shape (num_queries, d).
        """
        state_sizes = [block.num_states for block in blocks]
        query_sizes = [block.num_rows * queries_per_row for block in blocks] if queries_per_row else state_sizes
        projected = self.q_proj(queries), self.k_proj(hidden_states), self.v_proj(hidden_states)
        dtype = projected[0].dtype
        # converting and planning many small products costs more than bfloat16 saves
        has_narrow_heads = queries.size(1) < _WIDE_HEAD * self.num_heads
        in_float32 = has_narrow_heads and dtype == torch.bfloat16 and queries.device.type == "cpu"
        if in_float32:
            projected = tuple(states.float() for states in projected)
        with _attention_kernels(queries.device), torch.autocast("cpu", enabled=False) if in_float32 else nullcontext():
            parts = zip(blocks, *map(_split, projected, (query_sizes, state_sizes, state_sizes)), strict=True)
            attended = [self._attend(*part, query_each=queries_per_row is None) for part in parts]
        num_filling = queries.size(0) - sum(query_sizes)
        if num_filling:
            attended.append(attended[0].new_zeros(num_filling, queries.size(1)))
        return (attended[0] if len(attended) == 1 else torch.cat(attended)).to(dtype)

    def _attend(self, block: Block, query: Tensor, key: Tensor, value: Tensor, *, query_each: bool) -> Tensor:
        """Attend within the rows of a block; `query_each` tells whether there is a query for each state."""

        def heads(states: Tensor) -> Tensor:
            return states.view(block.num_rows, -1, self.num_heads, states.size(1) // self.num_heads).transpose(1, 2)

        query = block.pad(query) if query_each else query
        # (rows, H, ..., d / H)
        query_heads, key_heads, value_heads = heads(query), heads(block.pad(key)), heads(block.pad(value))
        dropped = self.dropout if self.training else 0.0
        # on a CPU the fused kernel knows no dropout, and its backward pass takes four times as long in bfloat16
        slow = dropped or (query.dtype == torch.bfloat16 and torch.is_grad_enabled())
        if slow and query.device.type == "cpu":
            scores = (query_heads * query_heads.size(-1) ** -0.5) @ key_heads.transpose(-1, -2)
            if block.is_state is not None:
                scores = scores.masked_fill_(~block.is_state, float("-inf"))
            attended = dropout(scores.softmax(-1), dropped, True) @ value_heads
        else:
            attended = F.scaled_dot_product_attention(
                query_heads, key_heads, value_heads, attn_mask=block.is_state, dropout_p=dropped
            )
        attended = attended.transpose(1, 2).reshape(query.shape)
        return block.unpad(attended) if query_each else attended


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each followed by dropout, the residual sum and LayerNorm.

    Args:
        embed_dim: width of the states, d.
        ffn_dim: width inside the feed-forward.
        num_heads: attention heads.
        dropout: probability after attention and after the feed-forward.
        attention_dropout: probability for attention weights.
        activation_dropout: probability inside the feed-forward.
    """

    def __init__(
        self,
        *,
        embed_dim: int,
        ffn_dim: int,
        num_heads: int,
        dropout: float,
        attention_dropout: float,
        activation_dropout: float,
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.activation_dropout = activation_dropout
        self.self_attn = SelfAttention(embed_dim, num_heads, attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(embed_dim)
        self.fc1 = nn.Linear(embed_dim, ffn_dim)
        self.fc2 = nn.Linear(ffn_dim, embed_dim)
        self.final_layer_norm = nn.LayerNorm(embed_dim)

    def forward(
        self, hidden_states: Tensor, blocks: Blocks, *, read: Tensor | None = None, read_per_row: int | None = None
    ) -> Tensor:
        """Compute the layer, for all states or only for those that somebody reads.

        Args:
            hidden_states: packed rows, shape (num_states, d).
            blocks: the rows; states behind them, of `round_up`, are nobody's.
            read: packed places of the states wanted, shape (num_read,); None: all.
            read_per_row: if every row has equally many of them, row by row: how many. Then the other queries are
                not computed either; without it only what follows attention is saved.

        Returns:
            New states, shape (num_states, d), or (num_read, d) in the order of `read`.
        """
        inputs = _for_products(hidden_states)
        residual = hidden_states if read is None else hidden_states[read]
        if read_per_row is None:
            attended = self.self_attn(inputs, inputs, blocks, None)
            attended = attended if read is None else attended[read]
        else:
            attended = self.self_attn(inputs[read], inputs, blocks, read_per_row)
        attended = dropout(self.self_attn.out_proj(attended), self.dropout, self.training)
        hidden_states = self.self_attn_layer_norm(residual + attended.to(residual.dtype))
        inner = dropout(F.gelu(self.fc1(hidden_states)), self.activation_dropout, self.training)
        outer = dropout(self.fc2(inner), self.dropout, self.training)
        return self.final_layer_norm(hidden_states + outer.to(hidden_states.dtype))
