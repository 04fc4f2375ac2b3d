"""The checkpoint that a pre-training starts from when it does not start from drawn weights.

A RoBERTa, or another Cross-Thought encoder, becomes a checkpoint of the config's model, which fairseq restores.
"""

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cross_thought.data.archives import unpack
from cross_thought.errors import UserError, shown
from cross_thought.fairseq.pretrained import (
    Size,
    build_model,
    load_dictionary,
    refuse_other_sizes,
    shapes_of,
    sizes,
)
from cross_thought.files import atomic_file, file_hash
from cross_thought.training.roberta import ENCODER, Roberta, read_fairseq, read_hugging_face, read_merges

_POSITIONS, _WORDS = f"{ENCODER}embed_positions.weight", f"{ENCODER}embed_tokens.weight"
_HEAD_BIAS = "encoder.lm_head.bias"
_CROSS_LAYERS = f"{ENCODER}crossthought_layers."
_NUM_SPECIALS = 4  # before the symbols of a dict.txt, and one, `<mask>`, after them
_ROBERTA_OFFSET = 2  # RoBERTa's first token has this row of its positions: the pads' id, and one


def write_start(
    files: Sequence[Path], vocabulary: Path, output: Path, *, name: str, model: Mapping[str, Any], seed: int
) -> None:
    """Write the checkpoint that a model of the config starts from, of what `data.starts.start_files` names.

    The seed is that of what is drawn; the same one gives the same bytes.

    Raises:
        UserError: if a file is damaged or of another kind, has another vocabulary than this run, or not the sizes that
            the config asks for.
    """
    roberta = _without_padding(_read(files, beside=output), vocabulary)
    check_vocabulary(roberta, vocabulary)
    state = start_state(roberta, vocabulary, name=name, model=model, seed=seed)
    with atomic_file(output) as partial, open(partial, "wb") as file:
        torch.save(state, file)  # to a file, not a path: the name would be among the bytes


def _read(files: Sequence[Path], *, beside: Path) -> Roberta:
    """Read what `data.starts.start_files` names."""
    first = files[0]
    if first.name == "config.json":
        return read_hugging_face(first.parent)
    if first.suffix not in (".gz", ".tgz"):
        return read_fairseq(first)
    beside.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=beside.parent, prefix=".unpacked-") as folder:
        unpack(first, Path(folder), required="model.pt", optional=("dict.txt",))
        return read_fairseq(Path(folder, "model.pt"), source=str(first))


def _without_padding(roberta: Roberta, vocabulary: Path) -> Roberta:
    """Leave out rows of words that no token has, behind this run's last: some round their number up, for speed."""
    num_symbols, num_rows = len(load_dictionary(vocabulary / "dict.txt")), len(roberta.weights[_WORDS])
    if roberta.tokens is None or num_rows <= num_symbols or max(roberta.tokens.values(), default=0) >= num_symbols:
        return roberta
    print(
        f"{roberta.source}: {num_rows - num_symbols} rows of its {num_rows} words are no token's: left out", flush=True
    )
    cut = {name: roberta.weights[name][:num_symbols] for name in (_WORDS, _HEAD_BIAS) if name in roberta.weights}
    return replace(roberta, weights={**roberta.weights, **cut})


def check_vocabulary(roberta: Roberta, vocabulary: Path) -> None:
    """Hold a RoBERTa's vocabulary against this run's: the same ids must stand for the same text.

    Raises:
        UserError: naming the first difference; or if it has none to compare.
    """
    remedy = "set bpe and corpus as they were when it was trained, or start from another"
    dictionary = vocabulary / "dict.txt"
    if roberta.tokens is not None:
        _check_tokens(roberta, vocabulary, remedy)
    elif roberta.dictionary_hash is not None:
        if roberta.dictionary_hash != file_hash(dictionary):
            raise UserError(f"{roberta.source} was trained with another vocabulary than {dictionary}: {remedy}")
    elif roberta.dictionary is None:
        raise UserError(
            f"{roberta.source} has no dict.txt beside it, so its vocabulary cannot be held against this run's: put "
            "the one that it was trained with there"
        )
    else:
        theirs, ours = roberta.dictionary, load_dictionary(dictionary).symbols[_NUM_SPECIALS:-1]
        _refuse_difference(
            roberta, dict(enumerate(theirs, _NUM_SPECIALS)), dict(enumerate(ours, _NUM_SPECIALS)), dictionary, remedy
        )
    num_symbols, num_rows = len(load_dictionary(dictionary)), len(roberta.weights[_WORDS])
    if num_rows != num_symbols:
        raise UserError(f"{roberta.source} has {num_rows} symbols, but {dictionary} {num_symbols}: {remedy}")


def _check_tokens(roberta: Roberta, vocabulary: Path, remedy: str) -> None:
    """Hold Hugging Face's tokens and merges against ours."""
    bpe_ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
    text = {str(number): token for token, number in bpe_ids.items()}
    ours = [text.get(symbol, symbol) for symbol in load_dictionary(vocabulary / "dict.txt").symbols]
    # fillers, which make the dictionary's size a multiple of 8, stand for nothing
    real = {number: token for number, token in enumerate(ours) if not token.startswith("madeupword")}
    theirs = {number: token for token, number in (roberta.tokens or {}).items()}
    beyond = {number: token for number, token in theirs.items() if number >= len(ours)}
    known = {number: theirs.get(number) for number in real}
    _refuse_difference(roberta, known | beyond, real, vocabulary / "dict.txt", remedy)
    merges = read_merges(vocabulary / "vocab.bpe")
    _refuse_difference(
        roberta, dict(enumerate(roberta.merges)), dict(enumerate(merges)), vocabulary / "vocab.bpe", remedy
    )


def _refuse_difference(
    roberta: Roberta, theirs: Mapping[int, str | None], ours: Mapping[int, str], path: Path, remedy: str
) -> None:
    """Refuse the first entry that is not the same in both."""
    for number in sorted(theirs.keys() | ours.keys()):
        if theirs.get(number) != ours.get(number):
            there, here = (
                "missing" if found is None else shown(found) for found in (theirs.get(number), ours.get(number))
            )
            raise UserError(
                f"{roberta.source} has another vocabulary than {path}: entry {number} is {there} there, {here} here; "
                f"{remedy}"
            )


def start_state(
    roberta: Roberta, vocabulary: Path, *, name: str, model: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """Return a fairseq checkpoint of the config's model with the weights of a RoBERTa; what it lacks is drawn.

    Raises:
        UserError: if it has not the sizes that the config asks for.
    """
    torch.manual_seed(seed)
    stds = {key: model["pretraining"][key] for key in ("init_std", "query_key_init_std")}
    built = build_model(model, vocabulary, **stds, task="masked_lm")
    args, weights = built.args, built.state_dict()
    found = [*sizes(name, shapes_of(roberta.weights), shapes_of(weights), can_be_cut=True)]
    if roberta.num_heads is not None:
        heads = Size("{} attention heads", f"models.{name}.num_heads", roberta.num_heads, args.encoder_attention_heads)
        found.append(heads)
    refuse_other_sizes(roberta.source, found)
    if roberta.has_cross_layers and model["cross_layers"] == "random":
        raise UserError(
            f"{roberta.source} has cross layers of its own, which are taken, but models.{name}.cross_layers is random: "
            "leave it out, or set it to copy"
        )
    given = dict(_given_weights(roberta, num_layers=args.encoder_layers, num_rows=len(weights[_POSITIONS])))
    if not roberta.has_cross_layers and model["cross_layers"] == "copy":
        given |= _copied_cross_layers(roberta)
    unknown = sorted(given.keys() - weights.keys())
    if unknown:
        raise UserError(
            f"{roberta.source} has the weights {unknown[0]}, which this encoder has not: give a plain RoBERTa"
        )
    head = {key for key in weights if key.startswith("encoder.lm_head.") and key != "encoder.lm_head.weight"}
    drawn = weights.keys() - given.keys() - {"encoder.lm_head.weight"}
    missing = sorted(key for key in drawn - head if not key.startswith(_CROSS_LAYERS))
    if missing:
        raise UserError(f"{roberta.source} lacks the weights {missing[0]}: give a whole checkpoint of RoBERTa")
    odd = next((key for key in given if given[key].shape != weights[key].shape), None)
    if odd:
        raise UserError(
            f"{roberta.source}: {odd} is {tuple(given[odd].shape)} there and {tuple(weights[odd].shape)} here: give a "
            "plain RoBERTa"
        )
    built.load_state_dict(weights | given | {"encoder.lm_head.weight": given[_WORDS]})
    _tell(roberta, drawn=drawn, num_layers=args.encoder_layers, cross_layers=model["cross_layers"])
    history = {"num_updates": 0, "criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}}
    return {
        "args": args,
        "model": {key: weight.contiguous() for key, weight in built.state_dict().items()},
        "optimizer_history": [history],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }


def _given_weights(roberta: Roberta, *, num_layers: int, num_rows: int) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights that a RoBERTa has for a model of so many layers and rows of positions.

    Of more layers than are needed, every second one, or third, is taken, from the first on. RoBERTa counts a row's
    tokens from 2, this encoder from 0: so position p is RoBERTa's p + 2. Where no position is cut, the last two rows
    have no counterpart and repeat the last one: pre-training never comes there, only a sentence as long as all.
    """
    kept = [place * roberta.num_layers // num_layers for place in range(num_layers)]
    for key, weight in roberta.weights.items():
        name = key.removeprefix(ENCODER)
        if key == _POSITIONS:
            offset = 0 if roberta.has_cross_layers else _ROBERTA_OFFSET
            yield key, weight[(torch.arange(num_rows) + offset).clamp(max=len(weight) - 1)]
        elif name.startswith("layers."):
            _, number, rest = name.split(".", 2)
            if int(number) in kept:
                yield f"{ENCODER}layers.{kept.index(int(number))}.{rest}", weight
        else:
            yield key, weight


def _copied_cross_layers(roberta: Roberta) -> dict[str, Tensor]:
    """Return both cross layers as copies of a RoBERTa's last layer."""
    last = f"{ENCODER}layers.{roberta.num_layers - 1}."
    return {
        f"{_CROSS_LAYERS}{place}.{key.removeprefix(last)}": weight.clone()
        for place in range(2)
        for key, weight in roberta.weights.items()
        if key.startswith(last)
    }


def _tell(roberta: Roberta, *, drawn: set[str], num_layers: int, cross_layers: str) -> None:
    """Print what the weights are made of."""
    layers = f"{num_layers} of its {roberta.num_layers} layers"
    cross = "its own" if roberta.has_cross_layers else "copies of its last layer" if cross_layers == "copy" else "drawn"
    head = "drawn, for it has none" if "encoder.lm_head.dense.weight" in drawn else "its own"
    print(f"started from {roberta.source}: {layers}; cross layers {cross}; LM head {head}", flush=True)
