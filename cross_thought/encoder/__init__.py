"""The model: the encoder with its layer and index work in plain PyTorch, and the tokenizer that feeds it."""

from cross_thought.encoder.encoder import (
    POOLINGS,
    SEGMENTATIONS,
    CrossThoughtEncoder,
    EncoderConfig,
    pool_slots,
    pooled_dim,
)

__all__ = ["POOLINGS", "SEGMENTATIONS", "CrossThoughtEncoder", "EncoderConfig", "pool_slots", "pooled_dim"]
