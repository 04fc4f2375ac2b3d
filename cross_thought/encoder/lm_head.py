"""The LM head of pre-training: states in, scores over the dictionary out. Exports carry this file."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cross_thought.encoder.heads import load_head

LM_HEAD_PREFIX = "lm_head."  # of its weights' names in a model's files


class LMHead(nn.Module):
    """fairseq's LM head of RoBERTa, parameter names as published.

    Args:
        embed_dim: width of the states, d.
        vocab_size: symbols of the dictionary, V.
        is_tied: whether it scores with the embedding of the tokens; otherwise, with a `weight` of its own.
    """

    def __init__(self, embed_dim: int, vocab_size: int, *, is_tied: bool = True) -> None:
        super().__init__()
        self.dense = nn.Linear(embed_dim, embed_dim)
        self.layer_norm = nn.LayerNorm(embed_dim)
        self.weight = None if is_tied else nn.Parameter(torch.zeros(vocab_size, embed_dim))
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, states: Tensor, embedding: Tensor) -> Tensor:
        """Score the dictionary.

        Args:
            states: shape (..., d).
            embedding: of the tokens, shape (V, d).

        Returns:
            Scores before the softmax, shape (..., V).
        """
        hidden = self.layer_norm(F.gelu(self.dense(states)))
        return F.linear(hidden, embedding if self.weight is None else self.weight, self.bias)


def build_lm_head(weights: Mapping[str, Tensor], *, embedding: Tensor) -> LMHead:
    """Build the head that weights belong to, in float32.

    Args:
        weights: by their name in `LMHead`; a `weight` that equals the embedding is tied to it.
        embedding: of the encoder's tokens, shape (V, d).

    Raises:
        ValueError: if one is missing, too many, of a wrong shape or not finite.
    """
    own = weights.get("weight")
    is_tied = own is None or (own.shape == embedding.shape and torch.equal(own, embedding))
    head = LMHead(embedding.size(1), embedding.size(0), is_tied=is_tied)
    found = {name: weight for name, weight in weights.items() if not (is_tied and name == "weight")}
    return load_head(head, found, about="LM head", prefix=LM_HEAD_PREFIX)
