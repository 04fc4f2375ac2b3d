"""The encoder as a module of Sentence Transformers. An export carries this file as `modeling_cross_thought.py`."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import InputModule
from torch import Tensor

from cross_thought.encoder.encoder import CrossThoughtEncoder, EncoderConfig, pool_slots, pooled_dim
from cross_thought.encoder.tokenizer import SentenceTokenizer


class CrossThoughtModule(InputModule):
    """Sentences in, pooled slot states out.

    Args:
        encoder: the encoder.
        tokens: the tokenizer with its ids.
        pooling: `mean`, `concat` or `slot0`.

    Attributes:
        max_seq_length: tokens that a sentence may have, its `<s>` and `</s>` included; words beyond are cut.
    """

    def __init__(self, encoder: CrossThoughtEncoder, tokens: SentenceTokenizer, *, pooling: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokens = tokens
        self.tokenizer = tokens.tokenizer
        self.pooling = pooling
        self.max_seq_length = encoder.config.max_sentence_length

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """Tokenize sentences: `input_ids` and `attention_mask`, shape (batch, L)."""
        rows = self.tokens.token_ids([(prompt or "") + sentence for sentence in inputs])
        longest = self.max_seq_length
        input_ids = self.tokens.pad([row if len(row) <= longest else [*row[: longest - 1], row[-1]] for row in rows])
        return {"input_ids": input_ids, "attention_mask": (input_ids != self.tokens.pad_id).long()}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add `sentence_embedding`, shape (batch, get_embedding_dimension()), and `token_embeddings`, the k slots."""
        slot_states = self.encoder.embed_sentences(features["input_ids"])
        features["token_embeddings"] = slot_states
        features["sentence_embedding"] = pool_slots(slot_states, self.pooling)
        return features

    def get_embedding_dimension(self) -> int:
        """Return the width of embeddings."""
        return pooled_dim(self.encoder.config, self.pooling)

    def get_config_dict(self) -> dict[str, Any]:
        """Return what config.json holds."""
        return {"model_type": "cross_thought", "pooling": self.pooling, "encoder": asdict(self.encoder.config)}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write weights, config and tokenizer into a folder."""
        folder = Path(output_path)
        save_file(self.encoder.state_dict(), folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(self.get_config_dict(), indent=2) + "\n", encoding="utf-8")
        self.tokens.save(folder / "tokenizer.json")

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> "CrossThoughtModule":
        """Read what `save` wrote, from a folder or the hub."""
        place = {"subfolder": subfolder} | {
            key: kwargs[key] for key in ("token", "cache_folder", "revision", "local_files_only") if key in kwargs
        }
        config = cls.load_config(model_name_or_path, **place)
        encoder = CrossThoughtEncoder(EncoderConfig(**config["encoder"]))
        encoder.load_state_dict(load_file(cls.load_file_path(model_name_or_path, "model.safetensors", **place)))
        tokenizer_file = cls.load_file_path(model_name_or_path, "tokenizer.json", **place)
        tokens = SentenceTokenizer.from_file(tokenizer_file, vocab_size=encoder.config.vocab_size)
        return cls(encoder, tokens, pooling=config["pooling"])
