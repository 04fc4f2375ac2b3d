"""What one model computes and keeps, from its sizes alone: operations, parameters, memory of a training step.

Operations are those of matrix products, two a multiply-add, that this encoder executes: nothing on pads, nothing for
states that nobody reads. PyTorch's own counter finds the same (tests/unit/plan/test_work.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# weights, gradients, Adam's two states; float16: weights and gradients also in float32; bfloat16: copies of weights
BYTES_A_PARAMETER = {"float32": 16, "float16": 20, "bfloat16": 18}
BACKWARD = 2  # operations of a backward pass, in forwards
_SPECIAL_SYMBOLS = 5  # <s>, <pad>, </s>, <unk>, <mask>

# what an architecture makes of sizes that are null: cross_thought/fairseq/model.py
ARCHITECTURES = {
    "cross_thought_base": {"num_layers": 12, "embed_dim": 768, "ffn_dim": 3072, "num_heads": 12},
    "cross_thought_tiny": {"num_layers": 1, "embed_dim": 64, "ffn_dim": 256, "num_heads": 4},
}


@dataclass(frozen=True, kw_only=True)
class ModelSizes:
    """Sizes of an encoder with its LM head, named as in `EncoderConfig`."""

    vocab_size: int
    num_layers: int
    embed_dim: int
    ffn_dim: int
    num_heads: int
    num_slots: int
    segment_length: int
    num_positions: int
    cross_sequence: bool = True

    @classmethod
    def of_model(cls, model: Mapping[str, Any], *, symbols: int) -> "ModelSizes":
        """Return the sizes of a model of the effective config, with a vocabulary of `symbols` BPE symbols."""
        given = {key: model[key] for key in ARCHITECTURES["cross_thought_base"] if model[key] is not None}
        others = {key: model[key] for key in ("num_slots", "segment_length", "num_positions", "cross_sequence")}
        return cls(vocab_size=symbols + _SPECIAL_SYMBOLS, **(ARCHITECTURES[model["architecture"]] | given | others))

    @property
    def num_parameters(self) -> int:
        """Parameters of the encoder and the LM head, whose matrix is the embedding's."""
        d, f = self.embed_dim, self.ffn_dim
        layer = 4 * (d * d + d) + 2 * d * f + f + d + 4 * d
        embeddings = (self.vocab_size + self.num_positions + 2) * d + 2 * d
        head = d * d + d + 2 * d + self.vocab_size
        return embeddings + (self.num_layers + 2) * layer + head

    def stream_rows(self, length: int) -> list[int]:
        """Return the states of each row that a stream of `length` words is cut into, slots included.

        Where rows are sentences, which are shorter, there are more rows: the slots' share is then underestimated.
        """
        full, rest = divmod(length, self.segment_length)
        rows = [self.num_slots + self.segment_length] * full
        return [*rows, self.num_slots + rest] if rest else rows

    def stream_flops(self, length: int, *, scored: float) -> int:
        """Operations of a pre-training forward, LM head included.

        Args:
            length: words of the stream.
            scored: the share of them that the LM head scores.
        """
        d, rows, num_scored = self.embed_dim, self.stream_rows(length), round(scored * length)
        attention = sum(4 * row * row * d for row in rows)
        flops = self.num_layers * (sum(rows) * self._linear + attention)
        if self.cross_sequence:
            flops += self._cross_layer(len(rows))
        # cross layer 1: every key and value, and what follows attention for the scored words alone
        flops += sum(rows) * 6 * d * d + attention + num_scored * (2 * d * d + 4 * d * self.ffn_dim)
        return flops + num_scored * 2 * d * (d + self.vocab_size)

    def sentences_flops(self, lengths: Iterable[int], *, num_classes: int) -> int:
        """Operations of a fine-tuning forward on one example.

        Args:
            lengths: words of each sentence, `<s>` and `</s>` included.
            num_classes: of the classification head.
        """
        d, k = self.embed_dim, self.num_slots
        rows = [length + k - 1 for length in lengths]
        flops = (self.num_layers - 1) * sum(row * self._linear + 4 * row * row * d for row in rows)
        # of the last layer the slots alone are read
        flops += sum(row * 4 * d * d + k * (self._linear - 4 * d * d) + 4 * k * row * d for row in rows)
        return flops + self._cross_layer(len(rows)) + 2 * d * (d + num_classes)

    def step_bytes(self, length: int, *, streams: int, recompute: bool = False, **settings: Any) -> int:
        """Memory of a pre-training step: weights, gradients, Adam's states, what the backward pass needs.

        Args:
            length: words of a stream.
            streams: of a batch.
            recompute: whether the backward pass computes layers again, one at a time.
            settings: as of `kept_bytes`.
        """
        num_scored = round(settings["scored"] * length)
        scores = 2 * num_scored * self.vocab_size * 4  # the LM head's, and their gradient
        kept = self.kept_bytes(length, recompute=recompute, **settings)
        layer = max(self._layer_bytes(length, **settings)) if recompute else 0
        return self.num_parameters * BYTES_A_PARAMETER[settings["precision"]] + streams * (kept + layer + scores)

    def kept_bytes(self, length: int, *, recompute: bool = False, **settings: Any) -> int:
        """Bytes of the encoder's states that a pre-training forward with dropout keeps for the backward pass.

        Args:
            length: words of a stream.
            recompute: whether only the layers' inputs are kept.
            settings: `scored`, the share of words that the LM head scores; `precision`, "float32", "float16" (weights
                in both) or "bfloat16" (matrix products alone); `on_gpu`, whether attention and dropout are those of a
                GPU: a CPU's keep more.
        """
        d, states = self.embed_dim, sum(self.stream_rows(length))
        value = 2 if settings["precision"] == "float16" else 4
        mask = 1 if settings["on_gpu"] else value
        embedded = states * d * (value + mask)
        layers = self._layer_bytes(length, **settings)
        if not recompute:
            return embedded + states * d * value + sum(layers)
        inputs = (self.num_layers + 1) * states * d * value
        if self.cross_sequence:
            inputs += self.num_slots * len(self.stream_rows(length)) * d * value
        return embedded + inputs

    def _layer_bytes(self, length: int, *, scored: float, precision: str, on_gpu: bool) -> list[int]:
        """Bytes that each layer keeps of one stream, its input, which is the output of the one before, left out."""
        d, f = self.embed_dim, self.ffn_dim
        value = 4 if precision == "float32" else 2
        norm = 2 * value if precision == "float16" else 8  # its input and output
        copies = 2 * value if precision == "bfloat16" else 0  # of the LayerNorms' float32 outputs, for the products
        mask = 1 if on_gpu else value
        rows = self.stream_rows(length)

        def attention(row: int) -> int:  # of one state: query, key, value, result; on a CPU, weights in three forms
            return 4 * d * value + (4 * self.num_heads if on_gpu else 3 * row * self.num_heads * value)

        after = 2 * f * value + 2 * d * (mask + norm) + d * copies + 16  # feed-forward, dropouts, LayerNorms
        layers = [sum(row * (attention(row) + after) for row in rows)] * self.num_layers
        if self.cross_sequence:
            layers.append(self.num_slots * len(rows) * (attention(len(rows)) + after))
        return [*layers, sum(row * attention(row) for row in rows) + round(scored * length) * after]

    @property
    def _linear(self) -> int:
        """Operations of a layer's matrices on one state."""
        return 2 * (4 * self.embed_dim**2 + 2 * self.embed_dim * self.ffn_dim)

    def _cross_layer(self, num_rows: int) -> int:
        """Operations of cross layer 0 on the slots of `num_rows` rows."""
        return self.num_slots * (num_rows * self._linear + 4 * num_rows * num_rows * self.embed_dim)
