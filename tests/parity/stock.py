"""The method of `method.md` on stock layers: fairseq's own, or PyTorch's where fairseq is not installed.

The steps are those of `reference`; only the layers differ. This is what the benchmark compares the encoder with.
"""

from collections.abc import Mapping

import torch
from reference import finetune_rows, pretrain_stream
from torch import Tensor, nn


def fairseq_layer(
    *, embed_dim: int, ffn_dim: int, num_heads: int, dropout: float, attention_dropout: float
) -> nn.Module:
    """One of fairseq 0.10.0's own layers, as RoBERTa sets it up.

    Raises:
        ImportError: if fairseq is not installed.
    """
    from cross_thought.fairseq import bridge

    bridge.install()
    from fairseq.modules import TransformerSentenceEncoderLayer

    return TransformerSentenceEncoderLayer(
        embedding_dim=embed_dim,
        ffn_embedding_dim=ffn_dim,
        num_attention_heads=num_heads,
        dropout=dropout,
        attention_dropout=attention_dropout,
        activation_dropout=0.0,
        activation_fn="gelu",
    )


def torch_layer(*, embed_dim: int, ffn_dim: int, num_heads: int, dropout: float, attention_dropout: float) -> nn.Module:
    """PyTorch's own layer with the same computation."""
    layer = nn.TransformerEncoderLayer(embed_dim, num_heads, ffn_dim, dropout=dropout, activation="gelu")
    layer.self_attn.dropout = attention_dropout
    layer.dropout.p = 0.0  # after the activation, where RoBERTa has none
    return layer


def to_torch_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published parameters to those of `torch_layer`."""
    renamed = {}
    for name, value in state.items():
        for published, own in (
            ("self_attn_layer_norm.", "norm1."),
            ("final_layer_norm.", "norm2."),
            ("fc1.", "linear1."),
            ("fc2.", "linear2."),
        ):
            name = name.replace(published, own)
        renamed[name] = value
    for name in [name for name in renamed if ".q_proj." in name]:
        parts = [renamed.pop(name.replace(".q_proj.", f".{which}_proj.")) for which in "qkv"]
        renamed[name.replace(".q_proj.", ".in_proj_")] = torch.cat(parts)
    return renamed


class StockEncoder(nn.Module):
    """The published encoder on stock layers.

    Args:
        layers: "fairseq" or "torch".
    """

    def __init__(
        self,
        *,
        layers: str,
        vocab_size: int,
        num_layers: int,
        embed_dim: int,
        ffn_dim: int,
        num_heads: int,
        num_slots: int,
        segment_length: int,
        num_positions: int = 512,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        pad_id: int = 1,
    ) -> None:
        super().__init__()
        make_layer = {"fairseq": fairseq_layer, "torch": torch_layer}[layers]
        self.layer_kind = layers
        self.num_slots = num_slots
        self.segment_length = segment_length
        self.dropout = dropout
        self.embed_tokens = nn.Embedding(vocab_size, embed_dim, padding_idx=pad_id)
        self.embed_positions = nn.Embedding(num_positions + 2, embed_dim)
        self.emb_layer_norm = nn.LayerNorm(embed_dim)
        sizes = {
            "embed_dim": embed_dim,
            "ffn_dim": ffn_dim,
            "num_heads": num_heads,
            "dropout": dropout,
            "attention_dropout": attention_dropout,
        }
        self.layers = nn.ModuleList(make_layer(**sizes) for _ in range(num_layers))
        self.crossthought_layers = nn.ModuleList(make_layer(**sizes) for _ in range(2))

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of a state dict with the published names."""
        self.load_state_dict(to_torch_names(state) if self.layer_kind == "torch" else dict(state))

    def apply_layer(self, name: str, hidden: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Apply the layer `name` to (S, B, d)."""
        layer = self.get_submodule(name)
        if self.layer_kind == "torch":
            return layer(hidden, src_key_padding_mask=padding_mask)
        return layer(hidden, self_attn_padding_mask=padding_mask)[0]

    def encode_streams(self, tokens: Tensor, *, start_position: int, cross_sequence: bool = True) -> Tensor:
        """Pre-training forward, the published case of one stream a batch: (1, L) -> (1, L, d)."""
        (stream,) = tokens
        return pretrain_stream(
            self._state(),
            self.apply_layer,
            stream,
            num_slots=self.num_slots,
            segment_length=self.segment_length,
            start_position=start_position,
            cross_sequence=cross_sequence,
            dropout=self.dropout if self.training else 0.0,
        )[None]

    def encode_sentences(self, tokens: Tensor) -> Tensor:
        """Fine-tuning forward, all rows with the same number of sentences: (batch, L) -> (batch, k, d)."""
        return finetune_rows(
            self._state(),
            self.apply_layer,
            tokens,
            num_slots=self.num_slots,
            dropout=self.dropout if self.training else 0.0,
        )

    def _state(self) -> dict[str, Tensor]:
        return dict(self.named_parameters())
