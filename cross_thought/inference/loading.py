"""A trained encoder with its tokenizer, from a fairseq checkpoint or an export, without fairseq; nothing in it runs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.heads import FineTunedTask
from cross_thought.encoder.saved import MODEL_TYPE, SavedModel, build_encoder, load_saved
from cross_thought.encoder.tokenizer import SentenceTokenizer
from cross_thought.errors import UserError
from cross_thought.files import file_hash, refuse_lfs_pointer
from cross_thought.inference.fine_tuned import relabelled, task_of_checkpoint, with_head
from cross_thought.training.checkpoints import VOCABULARY_HASH, load_checkpoint
from cross_thought.training.roberta import read_merges

VOCABULARY_FILES = ("dict.txt", "encoder.json", "vocab.bpe")
WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE = "model.safetensors", "config.json", "tokenizer.json"  # of an export
GRAPH_FILE = "model.onnx"  # of an export as graphs, in place of the weights
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0 to 3 in every fairseq dictionary; `<mask>` is the last id
_MASK = "<mask>"
_WHITE_SPACE = r"[\s\x1c-\x1f]+"  # as `str.strip` sees it

_PREFIX = "encoder.sentence_encoder."
_LEVELS_UP = 4  # results/pretrain/MODEL/seed-N/model.pt is that far below results/


def vocabulary_for(model: Path, vocabulary: Path) -> Path | None:
    """Return the vocabulary that a checkpoint is loaded with; None for an export, which has a tokenizer of its own."""
    return None if model.is_dir() else vocabulary


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
        saved, tokenizer = load_export(path)
        return saved.encoder, tokenizer
    check_checkpoint_path(path)
    return from_checkpoint(load_checkpoint(path), vocabulary, source=path)


def from_checkpoint(
    state: Mapping[str, Any], vocabulary: Path | None, *, source: Path
) -> tuple[CrossThoughtEncoder, SentenceTokenizer]:
    """Do what `load_pretrained` does, with the content of a checkpoint that has been read from `source`."""
    encoder = _encoder_of(state, source)
    folder = vocabulary or find_vocabulary(source)
    _check_vocabulary(folder, encoder.config.vocab_size, state.get(VOCABULARY_HASH), source=source)
    return encoder, SentenceTokenizer(build_tokenizer(folder), vocab_size=encoder.config.vocab_size)


def load_classifier(
    path: Path,
    vocabulary: Path | None = None,
    *,
    labels: Sequence[str] | None = None,
    score_scale: float | None = None,
) -> tuple[SavedModel, SentenceTokenizer]:
    """Load a fine-tuned model, a checkpoint or an export of one, and its tokenizer on the CPU, ready to predict.

    `labels` and `score_scale` are as of `SentenceClassifier.from_pretrained`, `vocabulary` as of `load_pretrained`.

    Raises:
        UserError: as of `load_pretrained`; and if the model is not fine-tuned, or does not tell its labels or scale.
    """
    if not path.is_dir():
        check_checkpoint_path(path)
        state = load_checkpoint(path)
        task = task_of_checkpoint(state, source=path, labels=labels, score_scale=score_scale)
        encoder, tokenizer = from_checkpoint(state, vocabulary, source=path)
        return with_head(SavedModel(encoder=encoder), state, task, source=path), tokenizer
    saved, tokenizer = load_export(path, vocabulary)
    if saved.task is None:
        raise UserError(f"{path} is an export of an encoder alone: give one of a fine-tuned model, or its checkpoint")
    return relabelled(saved, source=path, labels=labels, score_scale=score_scale), tokenizer


def load_fine_tuned(checkpoint: Path, task: FineTunedTask) -> SavedModel:
    """Load a fine-tuned checkpoint without its tokenizer, as a model of a task that the caller knows.

    Raises:
        UserError: if the checkpoint is missing, damaged, was not fine-tuned, or is not for such a task.
    """
    state = load_checkpoint(checkpoint)
    return with_head(SavedModel(encoder=_encoder_of(state, checkpoint)), state, task, source=checkpoint)


def _encoder_of(state: Mapping[str, Any], source: Path) -> CrossThoughtEncoder:
    """Return the encoder of a checkpoint."""
    weights = {
        name.removeprefix(_PREFIX): weight for name, weight in state["model"].items() if name.startswith(_PREFIX)
    }
    try:
        return build_encoder(weights, _settings(vars(state["args"])), source=source)
    except ValueError as error:
        raise UserError(str(error)) from None


def _settings(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fairseq's arguments say of the encoder's config; those of a published checkpoint lack some."""
    settings = {field.name: arguments[field.name] for field in fields(EncoderConfig) if field.name in arguments}
    if "encoder_attention_heads" in arguments:
        settings["num_heads"] = arguments["encoder_attention_heads"]
    return settings | {"cross_sequence": not arguments.get("no_cross_sequence", False)}


def load_export(folder: Path, vocabulary: Path | None = None) -> tuple[SavedModel, SentenceTokenizer]:
    """Load what `cross_thought export`, or Sentence Transformers, wrote: the model and its tokenizer.

    Raises:
        UserError: as of `load_pretrained`, and if a vocabulary is given, which an export has in it.
    """
    if vocabulary is not None:
        raise UserError(f"{folder} is an export, which has its own tokenizer: leave the vocabulary out")
    paths = [folder / name for name in (CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE)]
    _check_kind(folder)
    if not paths[1].exists() and (folder / GRAPH_FILE).exists():
        raise UserError(
            f"{folder} holds ONNX graphs, which onnxruntime runs: give a checkpoint, or an export in another format"
        )
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"{folder} has no {path.name}: give a fairseq checkpoint, or a folder that `cross_thought export` wrote"
            )
        refuse_lfs_pointer(path)
    try:
        saved = load_saved(*paths[:2])
    except ValueError as error:
        raise UserError(str(error)) from None
    try:
        tokenizer = SentenceTokenizer.from_file(paths[2], vocab_size=saved.encoder.config.vocab_size)
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{paths[2]} is damaged ({error}): export or fetch it again") from None
    return saved, tokenizer


def _check_kind(folder: Path) -> None:
    """Refuse a folder that holds a model of another kind."""
    try:
        model_type = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("model_type", MODEL_TYPE)
    except (OSError, ValueError, AttributeError):
        return  # what is missing or damaged is told of where it is read
    if model_type != MODEL_TYPE:
        raise UserError(
            f"{folder} holds a model of Hugging Face's type {model_type!r}, no Cross-Thought encoder: give a "
            "fairseq checkpoint, or a folder that `cross_thought export` wrote"
        )


def check_checkpoint_path(path: Path) -> None:
    """Refuse, with the remedy, what people take for a checkpoint."""
    if path.suffix == ".safetensors":
        raise UserError(
            f"{path} holds weights alone: give the folder of the export that it lies in, with its {CONFIG_FILE} and "
            f"{TOKENIZER_FILE}"
        )


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
        found_hash = file_hash(path)
        for name in VOCABULARY_FILES:
            refuse_lfs_pointer(folder / name)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): name the folder of dict.txt, encoder.json and vocab.bpe"
        ) from None
    num_symbols = len(SPECIALS) + len(_dictionary_symbols(path)) + 1  # `<mask>`
    remedy = "name the folder of the vocabulary that it was trained with (--vocabulary)"
    if num_symbols != vocab_size:
        raise UserError(f"{source} has {vocab_size} symbols, but {path} {num_symbols}: {remedy}")
    if expected_hash not in (None, found_hash):
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
    """Build the tokenizer that takes a sentence to `<s> A </s>` in fairseq's ids, of the files of a vocabulary.

    BPE symbols that dict.txt lacks come after the encoder's ids; whoever uses them puts `<unk>` in their place.

    Raises:
        UserError: if a file is missing or damaged, or they do not fit together.
    """
    dictionary = _dictionary_symbols(vocabulary / "dict.txt")
    try:
        bpe_ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
        merges = [(left, right) for left, right in (line.split(" ") for line in read_merges(vocabulary / "vocab.bpe"))]
        symbols = {str(number): symbol for symbol, number in bpe_ids.items()}
        ids = {symbol: number for number, symbol in enumerate(SPECIALS)}
        ids |= {symbols.get(name, name): number for number, name in enumerate(dictionary, start=len(SPECIALS))}
        ids[_MASK] = len(SPECIALS) + len(dictionary)
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
    tokenizer.normalizer = normalizers.Replace(Regex(rf"\A{_WHITE_SPACE}|{_WHITE_SPACE}\z"), "")
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    bos, eos = SPECIALS[0], SPECIALS[2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {bos} $B {eos}",
        special_tokens=[(bos, ids[bos]), (eos, ids[eos])],
    )
    # `<mask>` stands for a word with the space before it, as in pre-training; white space at the ends goes before it is
    # looked for, so that the words beside it keep theirs
    tokenizer.add_special_tokens([AddedToken(symbol, special=True, normalized=False) for symbol in SPECIALS])
    tokenizer.add_special_tokens([AddedToken(_MASK, special=True, normalized=True, lstrip=True)])
    return tokenizer
