"""The Transformer layer that the encoder is made of, on packed rows: post-LayerNorm, GELU, no computation on pads."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Groups = list[tuple[int, int]]  # (number of rows, length of each) of neighbouring packed rows


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
    num_words = -(-states.numel() // 4)
    bits = torch.empty(num_words, dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
    threshold = round(probability * 2**16) - 2**15  # int16 is signed
    keep = (bits[: states.numel()] >= threshold).view(states.shape)
    return states * keep.to(states.dtype).mul_(1 / (1 - probability))


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

    def forward(self, queries: Tensor, hidden_states: Tensor, groups: Groups, queries_per_row: int | None) -> Tensor:
        """Let each row's queries attend to that row's states.

        Args:
            queries: shape (num_queries, d), row by row.
            hidden_states: packed rows, shape (num_states, d).
            groups: runs of rows of equal length.
            queries_per_row: queries of each row; None: as many as it has states.

        Returns:
            Attended values before the output projection, shape (num_queries, d).
        """
        query_sizes = [rows * (queries_per_row or length) for rows, length in groups]
        state_sizes = [rows * length for rows, length in groups]
        blocks = zip(
            groups,
            self.q_proj(queries).split(query_sizes),
            self.k_proj(hidden_states).split(state_sizes),
            self.v_proj(hidden_states).split(state_sizes),
            strict=True,
        )
        attended = [self._attend(query, key, value, rows) for (rows, _), query, key, value in blocks]
        return attended[0] if len(attended) == 1 else torch.cat(attended)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, rows: int) -> Tensor:
        def heads(states: Tensor) -> Tensor:
            return states.view(rows, -1, self.num_heads, states.size(1) // self.num_heads).transpose(1, 2)

        query_heads, key_heads, value_heads = heads(query), heads(key), heads(value)  # (rows, H, ..., d / H)
        dropped = self.dropout if self.training else 0.0
        if dropped and query.device.type == "cpu":  # there the fused kernel knows no dropout
            scores = (query_heads * query_heads.size(-1) ** -0.5) @ key_heads.transpose(-1, -2)
            attended = dropout(scores.softmax(-1), dropped, True) @ value_heads
        else:
            attended = F.scaled_dot_product_attention(query_heads, key_heads, value_heads, dropout_p=dropped)
        return attended.transpose(1, 2).reshape(query.shape)


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
        self, hidden_states: Tensor, groups: Groups, *, read: Tensor | None = None, read_per_row: int | None = None
    ) -> Tensor:
        """Compute the layer, for all states or only for those that somebody reads.

        Args:
            hidden_states: packed rows, shape (num_states, d).
            groups: runs of rows of equal length.
            read: packed places of the states wanted, shape (num_read,); None: all.
            read_per_row: if every row has equally many of them, row by row: how many. Then the other queries are
                not computed either; without it only what follows attention is saved.

        Returns:
            New states, shape (num_states, d), or (num_read, d) in the order of `read`.
        """
        if read is None:
            residual = hidden_states
            attended = self.self_attn(hidden_states, hidden_states, groups, None)
        elif read_per_row is None:
            residual = hidden_states[read]
            attended = self.self_attn(hidden_states, hidden_states, groups, None)[read]
        else:
            residual = hidden_states[read]
            attended = self.self_attn(residual, hidden_states, groups, read_per_row)
        attended = dropout(self.self_attn.out_proj(attended), self.dropout, self.training)
        hidden_states = self.self_attn_layer_norm(residual + attended)
        inner = dropout(F.gelu(self.fc1(hidden_states)), self.activation_dropout, self.training)
        return self.final_layer_norm(hidden_states + dropout(self.fc2(inner), self.dropout, self.training))
