"""A trained encoder with its tokenizer, from a fairseq checkpoint or an export, without fairseq; nothing in it runs."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.tokenizer import SentenceTokenizer
from cross_thought.errors import UserError
from cross_thought.training.checkpoints import VOCABULARY_HASH, load_checkpoint

VOCABULARY_FILES = ("dict.txt", "encoder.json", "vocab.bpe")
WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE = "model.safetensors", "config.json", "tokenizer.json"  # of an export
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3 in every fairseq dictionary; `<mask>` is the last id

_PREFIX = "encoder.sentence_encoder."
_LEVELS_UP = 4  # results/pretrain/MODEL/seed-N/model.pt is that far below results/


def load_pretrained(path: Path, vocabulary: Path | None = None) -> tuple[CrossThoughtEncoder, SentenceTokenizer]:
    """Load an encoder and its tokenizer on the CPU, in float32, ready to embed.

    Args:
        path: a fairseq checkpoint with the published parameter names, or a folder that `cross_thought export` wrote.
        vocabulary: folder of dict.txt, encoder.json and vocab.bpe, for a checkpoint; None: where they are found,
            beside it or in the `bpe/vocabulary` of the results that it lies in.

    Raises:
        UserError: if a file is missing, damaged or does not fit the others.
    """
    if path.is_dir():
        return _load_export(path)
    return from_checkpoint(load_checkpoint(path), vocabulary, source=path)


def from_checkpoint(
    state: Mapping[str, Any], vocabulary: Path | None, *, source: Path
) -> tuple[CrossThoughtEncoder, SentenceTokenizer]:
    """Do what `load_pretrained` does, with the content of a checkpoint that has been read from `source`."""
    weights = {
        name.removeprefix(_PREFIX): weight for name, weight in state["model"].items() if name.startswith(_PREFIX)
    }
    encoder = build_encoder(weights, _settings(vars(state["args"])), source=source)
    folder = vocabulary or find_vocabulary(source)
    _check_vocabulary(folder, encoder.config.vocab_size, state.get(VOCABULARY_HASH), source=source)
    return encoder, SentenceTokenizer(build_tokenizer(folder), vocab_size=encoder.config.vocab_size)


def _settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fairseq's arguments say of the encoder's config; those of a published checkpoint lack some."""
    settings = {field.name: arguments[field.name] for field in fields(EncoderConfig) if field.name in arguments}
    if "encoder_attention_heads" in arguments:
        settings["num_heads"] = arguments["encoder_attention_heads"]
    return settings | {"cross_sequence": not arguments.get("no_cross_sequence", False)}


def _load_export(folder: Path) -> tuple[CrossThoughtEncoder, SentenceTokenizer]:
    """Load what `cross_thought export` wrote."""
    for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} has no {name}: give a fairseq checkpoint, or a folder that `cross_thought export` wrote"
            )
    path = folder / CONFIG_FILE
    known = {field.name for field in fields(EncoderConfig)}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))["encoder"]
        unknown = sorted(set(settings) - known)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no config of an export ({error!r}): export the model again") from None
    if unknown:
        raise UserError(f"{path} has the unknown setting {unknown[0]!r}: export the model again")
    try:
        weights = load_file(folder / WEIGHTS_FILE)
    except SafetensorError as error:
        raise UserError(f"{folder / WEIGHTS_FILE} is damaged ({error}): export or fetch it again") from None
    encoder = build_encoder(weights, settings, source=folder)
    try:
        tokenizer = SentenceTokenizer.from_file(folder / TOKENIZER_FILE, vocab_size=encoder.config.vocab_size)
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{folder / TOKENIZER_FILE} is damaged ({error}): export or fetch it again") from None
    return encoder, tokenizer


def build_encoder(weights: Mapping[str, Tensor], settings: Mapping[str, Any], *, source: Path) -> CrossThoughtEncoder:
    """Build the encoder that weights belong to; sizes come from the weights alone.

    Args:
        weights: by their name in `CrossThoughtEncoder`.
        settings: more fields of `EncoderConfig`; sizes among them must agree with the weights.
        source: named in messages.

    Raises:
        UserError: if weights are missing, too many, of a wrong shape or not finite, or a setting does not fit.
    """
    try:
        embed_tokens, embed_positions = weights["embed_tokens.weight"], weights["embed_positions.weight"]
        sizes = {
            "vocab_size": embed_tokens.size(0),
            "embed_dim": embed_tokens.size(1),
            "num_positions": embed_positions.size(0) - 2,
            "ffn_dim": weights["layers.0.fc1.weight"].size(0),
            "num_layers": len({name.split(".")[1] for name in weights if name.startswith("layers.")}),
        }
    except (KeyError, IndexError) as error:
        raise UserError(
            f"{source} holds no Cross-Thought encoder ({error.args[0]!r} is missing or has no such shape): "
            "give a checkpoint with the published parameter names"
        ) from None
    for name, size in sizes.items():
        if settings.get(name, size) != size:
            raise UserError(f"{source}: {name} is {settings[name]!r} but the weights have {size}: export it again")
    for name, value in settings.items():
        default = getattr(EncoderConfig, name)
        is_number = isinstance(value, int | float) and (isinstance(value, int) or not isinstance(default, int))
        if not (is_number or (value is None and default is None)):
            raise UserError(f"{source}: {name} is {value!r}, which is no number of its kind: export or fetch it again")
    try:
        with torch.device("meta"), _WithoutInitialisation():
            encoder = CrossThoughtEncoder(EncoderConfig(**(dict(settings) | sizes)))
    except (ValueError, RuntimeError, AssertionError, ZeroDivisionError) as error:
        raise UserError(f"{source}: its settings do not fit together ({error}): export or fetch it again") from None
    _check_weights(encoder.state_dict(), weights, source=source)
    encoder.load_state_dict({name: weight.float() for name, weight in weights.items()}, assign=True)
    return encoder.eval().requires_grad_(False)


class _WithoutInitialisation(TorchFunctionMode):
    """Leaves new weights undrawn: drawing them on the meta device imports torch's compiler, which takes a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Return the tensor that a function of torch.nn.init was to fill as it is; call anything else."""
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"]
        return func(*args, **kwargs)


def _check_weights(expected: Mapping[str, Tensor], weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Refuse weights that are missing, too many, of another shape or not finite."""
    for name in expected:
        if name not in weights:
            raise UserError(
                f"{source} lacks the weights {name}: it is a checkpoint of another architecture; give one with "
                "the published parameter names"
            )
    for name, weight in weights.items():
        if name not in expected:
            raise UserError(f"{source} has the unknown weights {name}: it is a checkpoint of another architecture")
        if weight.shape != expected[name].shape:
            raise UserError(
                f"{source}: {name} has shape {tuple(weight.shape)} where the other weights call for "
                f"{tuple(expected[name].shape)}: fetch or make the file again"
            )
        if not weight.isfinite().all():
            raise UserError(f"{source}: {name} is not finite: the training diverged, take an earlier checkpoint")


def find_vocabulary(checkpoint: Path) -> Path:
    """Return the vocabulary folder of a checkpoint: its own folder, or that of the results it lies in.

    Raises:
        UserError: if neither has one.
    """
    folder = checkpoint.resolve().parent
    above = [parent / "bpe" / "vocabulary" for parent in [folder, *folder.parents][: _LEVELS_UP + 1]]
    for candidate in (folder, *above):
        if all((candidate / name).is_file() for name in VOCABULARY_FILES):
            return candidate
    raise UserError(
        f"{checkpoint} has no {', '.join(VOCABULARY_FILES)} beside it: name the folder of the vocabulary that it was "
        "trained with (--vocabulary)"
    )


def _check_vocabulary(folder: Path, vocab_size: int, expected_hash: str | None, *, source: Path) -> None:
    """Refuse a vocabulary that is not the checkpoint's, as far as that can be told."""
    path = folder / "dict.txt"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): name the folder of dict.txt, encoder.json and vocab.bpe"
        ) from None
    num_symbols = len(SPECIALS) + len(_dictionary_symbols(path)) + 1  # `<mask>`
    remedy = "name the folder of the vocabulary that it was trained with (--vocabulary)"
    if num_symbols != vocab_size:
        raise UserError(f"{source} has {vocab_size} symbols, but {path} {num_symbols}: {remedy}")
    if expected_hash not in (None, hashlib.sha256(content).hexdigest()):
        raise UserError(f"{source} was trained with another vocabulary than {path}: {remedy}")


def _dictionary_symbols(path: Path) -> list[str]:
    """Return the symbols of dict.txt, in the order of their ids."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise UserError(f"{path} is no dictionary of fairseq's ({error}): fetch or make it again") from None
    symbols = [line.rpartition(" ")[0] for line in lines]
    for number, symbol in enumerate(symbols, start=1):
        if not symbol:
            raise UserError(
                f"{path}, line {number} is {lines[number - 1]!r}, not a symbol and its count: fetch it again"
            )
    return symbols


def build_tokenizer(vocabulary: Path) -> Tokenizer:
    """Build the tokenizer that takes a sentence to `<s> A </s>` in fairseq's ids.

    BPE symbols that dict.txt lacks come after the encoder's ids; whoever uses them puts `<unk>` in their place.

    Args:
        vocabulary: folder of dict.txt, encoder.json and vocab.bpe.

    Raises:
        UserError: if one of them is missing or damaged, or they do not fit together.
    """
    dictionary = _dictionary_symbols(vocabulary / "dict.txt")
    try:
        bpe_ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
        merges = _read_merges(vocabulary / "vocab.bpe")
        symbols = {str(number): symbol for symbol, number in bpe_ids.items()}
        ids = {symbol: number for number, symbol in enumerate(SPECIALS)}
        ids |= {symbols.get(name, name): number for number, name in enumerate(dictionary, start=len(SPECIALS))}
        ids["<mask>"] = len(SPECIALS) + len(dictionary)
        if len(ids) != len(SPECIALS) + len(dictionary) + 1:
            raise ValueError("dict.txt has a symbol twice")
        unmade = {symbol for symbol in bpe_ids if len(symbol) > 1} - {"".join(pair) for pair in merges}
        if len(unmade) > 1:  # GPT-2's has one, `<|endoftext|>`
            raise ValueError(f"vocab.bpe makes no {min(unmade)!r}")
        for symbol in bpe_ids:
            ids.setdefault(symbol, len(ids))
        tokenizer = Tokenizer(models.BPE(ids, merges))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(
            f"{vocabulary}: encoder.json, vocab.bpe and dict.txt are no vocabulary together ({error}); fetch or make "
            "all three again"
        ) from None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bos, eos = SPECIALS[0], SPECIALS[2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, ids[bos]), (eos, ids[eos])]
    )
    return tokenizer


def _read_merges(path: Path) -> list[tuple[str, str]]:
    """Return the merges of vocab.bpe, whose first line is its version."""
    lines = path.read_text(encoding="utf-8").split("\n")[1:]
    pairs = [line.split(" ") for line in lines if line]
    return [(left, right) for left, right in pairs]
