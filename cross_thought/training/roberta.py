"""RoBERTas of others, and their heirs, as weights by the names that fairseq 0.10 has: of fairseq and of Hugging Face.

Needs neither of these libraries, and nothing in the files can run code.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cross_thought.errors import UserError
from cross_thought.files import refuse_lfs_pointer
from cross_thought.training.checkpoints import VOCABULARY_HASH, load_checkpoint

ENCODER = "encoder.sentence_encoder."
_HEAD = "encoder.lm_head."
LAYER_NORM_EPS = 1e-5  # of fairseq's, and so of this encoder

# of Hugging Face's names, what is ours, in this order
_RENAMED = (
    (r"^embeddings\.word_embeddings\.", f"{ENCODER}embed_tokens."),
    (r"^embeddings\.position_embeddings\.", f"{ENCODER}embed_positions."),
    (r"^embeddings\.LayerNorm\.", f"{ENCODER}emb_layer_norm."),
    (r"^encoder\.layer\.(\d+)\.", rf"{ENCODER}layers.\1."),
    (r"\.attention\.self\.query\.", ".self_attn.q_proj."),
    (r"\.attention\.self\.key\.", ".self_attn.k_proj."),
    (r"\.attention\.self\.value\.", ".self_attn.v_proj."),
    (r"\.attention\.output\.dense\.", ".self_attn.out_proj."),
    (r"\.attention\.output\.LayerNorm\.", ".self_attn_layer_norm."),
    (r"\.intermediate\.dense\.", ".fc1."),
    (r"(layers\.\d+)\.output\.dense\.", r"\1.fc2."),
    (r"(layers\.\d+)\.output\.LayerNorm\.", r"\1.final_layer_norm."),
    (r"^lm_head\.decoder\.weight$", f"{_HEAD}weight"),
    (r"^lm_head\.decoder\.bias$", f"{_HEAD}bias"),  # the same as lm_head.bias
    (r"^lm_head\.", _HEAD),
)
# what config.json must say, if it says it, for states to be the same
_ALIKE = {"model_type": "roberta", "hidden_act": "gelu", "position_embedding_type": "absolute", "is_decoder": False}
_TOKEN_TYPES = "embeddings.token_type_embeddings.weight"
_NO_PART = re.compile(r"^(pooler|classifier)\.|^embeddings\.position_ids$")  # heads, and a buffer of old versions


@dataclass(frozen=True, kw_only=True)
class Roberta:
    """A RoBERTa, or a Cross-Thought encoder.

    Attributes:
        source: named in messages.
        weights: encoder and LM head by fairseq's names, in float32; the head's words are the embedding's.
        num_heads: attention heads; None where a file does not say.
        dictionary: the symbols of its dict.txt, in the order of their ids, from 4 on; None where there is none.
        tokens: Hugging Face's: the id of each token; None for fairseq's.
        merges: Hugging Face's: its BPE merges in order, the parts separated by a space.
        dictionary_hash: SHA-256 of its dict.txt, where a checkpoint notes it.
    """

    source: str
    weights: Mapping[str, Tensor]
    num_heads: int | None
    dictionary: tuple[str, ...] | None = None
    tokens: Mapping[str, int] | None = None
    merges: tuple[str, ...] = ()
    dictionary_hash: str | None = None

    @property
    def has_cross_layers(self) -> bool:
        """Whether it is a Cross-Thought encoder."""
        return any(name.startswith(f"{ENCODER}crossthought_layers.") for name in self.weights)

    @property
    def num_layers(self) -> int:
        """Its encoder layers."""
        found = (re.match(rf"{re.escape(ENCODER)}layers\.(\d+)\.", name) for name in self.weights)
        return 1 + max((int(match[1]) for match in found if match), default=-1)


def read_fairseq(path: Path, *, source: str | None = None) -> Roberta:
    """Read a fairseq checkpoint of RoBERTa or Cross-Thought; a dict.txt beside it goes with it.

    Checkpoints of fairseq up to 0.10 have `args`. Those of later versions, with `cfg` in its place, are refused.
    Messages name `source`; None: the path.

    Raises:
        UserError: as `load_checkpoint`; if it is a model of another kind.
    """
    state, source = load_checkpoint(path), source or str(path)
    weights: dict[str, Tensor] = {}
    for name, weight in state["model"].items():
        name = re.sub(r"^decoder\.", "encoder.", name)  # as RoBERTa was called before fairseq 0.10
        projection = re.fullmatch(r"(.*\.self_attn\.)in_proj_(weight|bias)", name)
        if projection:  # as attention was stored before 0.9
            for letter, part in zip("qkv", weight.chunk(3), strict=True):
                weights[f"{projection[1]}{letter}_proj.{projection[2]}"] = part.float()
        elif "classification_heads." not in name:
            weights[name] = weight.float()
    dictionary = path.with_name("dict.txt")
    return Roberta(
        source=source,
        weights=_whole(weights, source),
        num_heads=getattr(state["args"], "encoder_attention_heads", None),
        dictionary=_or_damaged(dictionary, lambda: _symbols(dictionary)) if dictionary.is_file() else None,
        dictionary_hash=state.get(VOCABULARY_HASH),
    )


def read_hugging_face(folder: Path, *, source: str | None = None) -> Roberta:
    """Read a folder that Hugging Face's library has saved a RoBERTa in.

    It has config.json, model.safetensors, and tokenizer.json or vocab.json and merges.txt. Its token type embedding,
    that of type 0, is added to every position's: so the states are the same. Messages name `source`; None: the folder.

    Raises:
        UserError: if a file is missing or damaged, or it is a model of another kind.
    """
    source = source or str(folder)
    config = _read_json(folder / "config.json")
    for key, value in _ALIKE.items():
        if config.get(key, value) != value:
            raise UserError(
                f"{source}: {key} in its config.json is {config[key]!r}, but this encoder has {value!r}: give a "
                "RoBERTa that has it too"
            )
    if config.get("layer_norm_eps", 1e-12) != LAYER_NORM_EPS:
        print(
            f"warning: {source} adds {config.get('layer_norm_eps', 1e-12)} in LayerNorm, this encoder {LAYER_NORM_EPS}"
        )
    path = folder / "model.safetensors"
    refuse_lfs_pointer(path)
    try:
        found_weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): fetch or save it again") from None
    weights, token_types = {}, None
    for name, weight in found_weights.items():
        name = name.removeprefix("roberta.")
        if name == _TOKEN_TYPES:
            token_types = weight.float()
        elif not _NO_PART.match(name):
            weights[_fairseq_name(name)] = weight.float()
    positions = f"{ENCODER}embed_positions.weight"
    if token_types is not None and positions in weights:
        weights[positions] = weights[positions] + token_types[0]
    tokens, merges = _hugging_face_vocabulary(folder)
    return Roberta(
        source=source,
        weights=_whole(weights, source),
        num_heads=config.get("num_attention_heads", 12),
        tokens=tokens,
        merges=merges,
    )


def _fairseq_name(name: str) -> str:
    """Return fairseq's name of one of Hugging Face's weights."""
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def _whole(weights: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return weights as they are; refuse those of no RoBERTa, and an LM head that has words of its own."""
    words, head = weights.get(f"{ENCODER}embed_tokens.weight"), weights.pop(f"{_HEAD}weight", None)
    if (
        words is None
        or f"{ENCODER}embed_positions.weight" not in weights
        or f"{ENCODER}layers.0.fc1.weight" not in weights
    ):
        raise UserError(f"{source} holds no RoBERTa: give a checkpoint of RoBERTa or Cross-Thought")
    if head is not None and not (head.shape == words.shape and torch.equal(head, words)):
        raise UserError(
            f"{source} has an LM head with word weights of its own, but this encoder's are its embedding's: give a "
            "RoBERTa where they are tied"
        )
    return weights


def _hugging_face_vocabulary(folder: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the ids of all tokens, and the merges."""
    if (path := folder / "tokenizer.json").is_file():
        document = _read_json(path)

        def parts() -> tuple[dict[str, int], tuple[str, ...]]:
            added = {token["content"]: token["id"] for token in document.get("added_tokens", ())}
            merges = (merge if isinstance(merge, str) else " ".join(merge) for merge in document["model"]["merges"])
            return _numbers(document["model"]["vocab"] | added), tuple(merges)

        return _or_damaged(path, parts)
    tokens = _read_json(folder / "vocab.json")
    return (
        _or_damaged(folder / "vocab.json", lambda: _numbers(tokens)),
        _or_damaged(folder / "merges.txt", lambda: read_merges(folder / "merges.txt")),
    )


def _numbers(tokens: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens with their ids as whole numbers, which no file is sure to have."""
    return {token: int(number) for token, number in tokens.items()}


def read_merges(path: Path) -> tuple[str, ...]:
    """Return the merges of a merges.txt or vocab.bpe, without its first line, which is its version."""
    lines = path.read_text(encoding="utf-8").split("\n")
    return tuple(line for line in lines[lines[0].startswith("#version") :] if line)


def _symbols(dictionary: Path) -> tuple[str, ...]:
    """Return the symbols of a dict.txt, without their counts."""
    return tuple(line.rpartition(" ")[0] for line in dictionary.read_text(encoding="utf-8").splitlines())


def _read_json(path: Path) -> Any:
    """Return the keys and values of a JSON file."""

    def content() -> Any:
        refuse_lfs_pointer(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it has no keys with values")
        return found

    return _or_damaged(path, content)


def _or_damaged(path: Path, read: Callable[[], Any]) -> Any:
    """Return what is read, or say that the file is missing or damaged."""
    try:
        return read()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): fetch or save it again") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): fetch or save it again") from None
