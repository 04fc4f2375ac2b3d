"""The encoder as a module of Sentence Transformers. An export carries this file as `modeling_cross_thought.py`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import sentence_transformers
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from cross_thought.encoder.encoder import CrossThoughtEncoder, pool_slots, pooled_dim
from cross_thought.encoder.saved import AUTO_CLASSES, config_document, load_encoder
from cross_thought.encoder.tokenizer import SentenceTokenizer, cut_row
from cross_thought.inference.transformers_model import CrossThoughtConfig  # noqa: F401  (else a saved folder lacks it)

try:
    from sentence_transformers.base.modules import InputModule
    from sentence_transformers.sentence_transformer.model_card import SentenceTransformerModelCardData
except ImportError:
    raise ImportError(
        f"this model needs Sentence Transformers 5.4 or newer, and {sentence_transformers.__version__} is installed: "
        "pip install 'sentence-transformers>=5.4'"
    ) from None

_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
_DTYPE = ("dtype", "torch_dtype")  # its name in model_kwargs, and its former one


class CrossThoughtModule(InputModule):
    """Sentences in, pooled slot states out.

    Args:
        encoder: the encoder.
        tokenizer: with its ids; the length that sentences are cut to is its `model_max_length`.
        pooling: `mean`, `concat` or `slot0`.
    """

    def __init__(self, encoder: CrossThoughtEncoder, tokenizer: PreTrainedTokenizerFast, *, pooling: str) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokenizer = tokenizer
        self.pooling = pooling

    @property
    def max_seq_length(self) -> int:
        """Tokens that a sentence may have, its `<s>` and `</s>` included; words beyond are cut."""
        return min(self.tokenizer.model_max_length, self.encoder.config.max_sentence_length)

    @max_seq_length.setter
    def max_seq_length(self, length: int | None) -> None:
        length = self.encoder.config.max_sentence_length if length is None else length
        if length < 2:
            raise ValueError(f"max_seq_length {length} has no room for <s> and </s>: give at least 2")
        self.tokenizer.model_max_length = length

    def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """Tokenize sentences: `input_ids` and `attention_mask`, shape (batch, L).

        Raises:
            TypeError: if one is no string.
            ValueError: if one, or the prompt, holds half a surrogate pair, which is no text.
        """
        for sentence in inputs:  # by its value: the library has put them in another order
            if not isinstance(sentence, str):
                raise TypeError(f"{sentence!r} is not a string: give sentences")
        tokens = SentenceTokenizer(self.tokenizer.backend_tokenizer, vocab_size=self.encoder.config.vocab_size)
        rows = tokens.token_ids(inputs, prompt=prompt or "")
        input_ids = tokens.pad([cut_row(row, self.max_seq_length) for row in rows])
        return {"input_ids": input_ids, "attention_mask": (input_ids != tokens.pad_id).long()}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Add the embeddings.

        Args:
            features: `input_ids`, shape (batch, L), right-padded.

        Returns:
            The features with `token_embeddings`, which are the k slots, shape (batch, k, d), their `attention_mask`,
            shape (batch, k), and `sentence_embedding`, shape (batch, get_embedding_dimension()).
        """
        tokens = SentenceTokenizer(self.tokenizer.backend_tokenizer, vocab_size=self.encoder.config.vocab_size)
        slot_states = self.encoder.embed_sentences(tokens.known(features["input_ids"]))
        return features | {
            "token_embeddings": slot_states,
            "attention_mask": torch.ones(slot_states.shape[:2], dtype=torch.long, device=slot_states.device),
            "sentence_embedding": pool_slots(slot_states, self.pooling),
        }

    def get_embedding_dimension(self) -> int:
        """Return the width of embeddings."""
        return pooled_dim(self.encoder.config, self.pooling)

    def on_model_ready(self, model: Any) -> None:
        """Refuse what modules behind cannot do with slots, and see to it that a card says how the model is loaded."""
        for module in model:
            if not getattr(module, "include_prompt", True):
                raise ValueError(
                    f"{type(module).__name__} is to leave the prompt out (include_prompt), but slots stand for the "
                    "whole sentence: set it to true"
                )
        if type(model.model_card_data) is SentenceTransformerModelCardData:
            model.model_card_data.__class__ = _CardData

    def get_config_dict(self) -> dict[str, Any]:
        """Return what config.json holds."""
        return config_document(self.encoder.config, self.pooling) | AUTO_CLASSES

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write weights, config and tokenizer into a folder."""
        folder = Path(output_path)
        weights = {name: weight.contiguous() for name, weight in self.encoder.state_dict().items()}
        # written by us, for the library's own `save_file` makes a file that others may not read
        (folder / "model.safetensors").write_bytes(safetensors.torch.save(weights, metadata={"format": "pt"}))
        (folder / "config.json").write_text(json.dumps(self.get_config_dict(), indent=2) + "\n", encoding="utf-8")
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        *,
        backend: str = "torch",
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> "CrossThoughtModule":
        """Read what `save` wrote, from a folder or the hub.

        Raises:
            ValueError: if an option is not known here, or a file is missing, damaged or does not fit the others.
        """
        if backend != "torch":
            raise ValueError(
                f"backend {backend!r} is not there for a Cross-Thought encoder: leave it out, for torch; onnxruntime "
                "itself runs what `cross_thought export --format onnx` writes"
            )
        options = {"model_kwargs": _DTYPE, "processor_kwargs": ("model_max_length",), "config_kwargs": ()}
        given = {"model_kwargs": model_kwargs, "processor_kwargs": processor_kwargs, "config_kwargs": config_kwargs}
        for name, known in options.items():
            for key in given[name] or ():
                if key not in known:
                    what = f"no more than {', '.join(known)}" if known else "nothing"
                    raise ValueError(f"{name} has {key!r}, but a Cross-Thought encoder knows {what}: leave it out")
        place = {"subfolder": subfolder} | {
            key: kwargs[key] for key in ("token", "cache_folder", "revision", "local_files_only") if key in kwargs
        }
        paths = {name: cls.load_file_path(model_name_or_path, name, **place) for name in _FILES}
        for name, path in paths.items():
            if path is None:
                raise ValueError(f"{model_name_or_path} has no {name}: export or fetch it again")
        encoder, pooling = load_encoder(paths["config.json"], paths["model.safetensors"])
        tokenizer = PreTrainedTokenizerFast.from_pretrained(
            Path(paths["tokenizer.json"]).parent, **(processor_kwargs or {})
        )
        return cls(encoder.requires_grad_(True).to(dtype=_dtype(model_kwargs or {})), tokenizer, pooling=pooling)


def _dtype(model_kwargs: Mapping[str, Any]) -> torch.dtype:
    """Return the type that weights are asked for in; as they are stored, float32, if it is not said."""
    wanted = next(
        (model_kwargs[name] for name in _DTYPE if model_kwargs.get(name) not in (None, "auto")), torch.float32
    )
    dtype = getattr(torch, wanted.removeprefix("torch."), None) if isinstance(wanted, str) else wanted
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype {wanted!r} is no type of floating point: give float32, bfloat16 or float16")
    return dtype


class _CardData(SentenceTransformerModelCardData):
    """The library's card of a model that it trained, with the one argument that this model is not loaded without."""

    def generate_usage_snippet(self) -> str:
        """Return the code that loads the model."""
        lines = super().generate_usage_snippet().split("\n")
        return "\n".join(
            f"{line[:-1]}, trust_remote_code=True)" if line.startswith("model = SentenceTransformer(") else line
            for line in lines
        )
