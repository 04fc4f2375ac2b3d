"""A pre-trained model outside training, the held-out text that it was validated on, and that text for people."""

import argparse
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from cross_thought.encoder import EncoderConfig
from cross_thought.errors import UserError
from cross_thought.fairseq import bridge
from cross_thought.training.checkpoints import load_checkpoint
from cross_thought.training.launch import model_flags

bridge.install()

from fairseq.data import Dictionary, data_utils  # noqa: E402
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode  # noqa: E402
from fairseq.models import ARCH_CONFIG_REGISTRY  # noqa: E402

_WORD_START = "Ġ"  # how GPT-2's files write the space before a word

Shapes = dict[str, tuple[int, ...]]

if TYPE_CHECKING:
    from cross_thought.fairseq.model import CrossThoughtModel, RegisteredEncoder


def load_pretrained(checkpoint: Path, vocabulary: Path) -> tuple["RegisteredEncoder", Dictionary]:
    """Return the encoder with its LM head from a pre-training's final model, and the dictionary with `<mask>`."""
    from cross_thought.fairseq.model import RegisteredEncoder

    state = load_checkpoint(checkpoint)
    ARCH_CONFIG_REGISTRY[state["args"].arch](state["args"])  # an old checkpoint's may lack some of ours
    dictionary = load_dictionary(vocabulary / "dict.txt")
    model = RegisteredEncoder(state["args"], dictionary)
    prefix = "encoder."
    model.load_state_dict({name.removeprefix(prefix): weight for name, weight in state["model"].items()})
    return model.eval(), dictionary


def build_model(model: Mapping[str, Any], vocabulary: Path, **flags: object) -> "CrossThoughtModel":
    """Return the model that fairseq would build to pre-train one of the config, of its entry of the effective one.

    `flags` are further ones of fairseq's, by their names in its arguments; None: fairseq's default.
    """
    from cross_thought.fairseq.model import CrossThoughtModel, RegisteredEncoder

    given = model_flags(dict(model)) | flags
    args = argparse.Namespace(**{key: value for key, value in given.items() if value is not None})
    ARCH_CONFIG_REGISTRY[args.arch](args)
    args.max_positions = args.num_positions
    return CrossThoughtModel(args, RegisteredEncoder(args, load_dictionary(vocabulary / "dict.txt")))


def check_fits(checkpoint: Path, name: str, model: dict, vocabulary: Path) -> None:
    """Hold a given checkpoint against the model of that name in the config before anything is trained from it.

    Raises:
        UserError: as `load_checkpoint`; if the checkpoint has other sizes than the config, or lacks weights.
    """
    state = load_checkpoint(checkpoint)
    missing = next((key for key in ("optimizer_history", "extra_state") if key not in state), None)
    if missing:
        raise UserError(f"{checkpoint} lacks `{missing}`, which fairseq asks for: take a checkpoint that fairseq wrote")
    with torch.device("meta"):  # names and shapes only
        built = build_model(model, vocabulary)
    weights = dict(state["model"])
    built.upgrade_state_dict(weights)  # as fairseq does when it loads them
    found = shapes_of({key: weight for key, weight in weights.items() if "classification_heads." not in key})
    wanted = shapes_of(built.state_dict())
    refuse_other_sizes(checkpoint, sizes(name, found, wanted))
    odd = next((key for key in [*wanted, *found] if found.get(key) != wanted.get(key)), None)
    if odd:
        is_roberta = ".crossthought_layers." in odd and odd not in found
        remedy = (
            "pre-train from it, with source pretrain and initialize_from"
            if is_roberta
            else "take a checkpoint of this encoder, with its LM head"
        )
        raise UserError(
            f"{checkpoint} does not fit models.{name}: {odd} is {found.get(odd, 'missing')} there and "
            f"{wanted.get(odd, 'missing')} here; {remedy}"
        )
    refuse_other_sizes(checkpoint, _unseen_sizes(name, vars(state["args"]), vars(built.args)))


class Size(NamedTuple):
    """A size in words, its key in the config, what there is, what is needed, and whether what is more can be cut."""

    text: str
    key: str | None
    has: int
    needs: int
    can_be_cut: bool = False


def shapes_of(weights: Mapping[str, Tensor]) -> Shapes:
    """Return the shapes of weights, by their names."""
    return {key: tuple(weight.shape) for key, weight in weights.items()}


def refuse_other_sizes(source: str | Path, found: Iterable[Size]) -> None:
    """Refuse the first size that is not the config's; `source` is named in the message."""
    for text, key, has, needs, can_be_cut in found:
        if has != needs and not (can_be_cut and has > needs):
            remedy = f"set {key} to {has}" if key else "set bpe and corpus as they were when it was trained"
            remedy += " or less" if can_be_cut else ""
            raise UserError(f"{source} has {text.format(has)}, the config's model {needs}: {remedy}")


def sizes(name: str, found: Shapes, wanted: Shapes, *, can_be_cut: bool = False) -> Iterator[Size]:
    """Yield the sizes that a config can set and weights have, by the names of a checkpoint.

    What is found belongs to the model `name` of the config; `can_be_cut`: layers and positions may be more than wanted.
    """

    def num_layers(shapes: Shapes) -> int:
        matches = (re.match(rf"{re.escape(place)}layers\.(\d+)\.", key) for key in shapes)
        return len({match[1] for match in matches if match})

    place, key = "encoder.sentence_encoder.", f"models.{name}"
    for weight, axis, extra, text, setting in (
        ("embed_tokens.weight", 0, 0, "a dictionary of {} symbols", None),
        ("embed_tokens.weight", 1, 0, "states of width {}", f"{key}.embed_dim"),
        ("layers.0.fc1.weight", 0, 0, "feed-forward layers of width {}", f"{key}.ffn_dim"),
        ("embed_positions.weight", 0, 2, "{} positions", f"{key}.num_positions"),
    ):
        shape = found.get(place + weight, ())
        if len(shape) == 2:
            needs = wanted[place + weight][axis] - extra
            yield Size(text, setting, shape[axis] - extra, needs, can_be_cut and "embed_positions" in weight)
    if num_layers(found):
        yield Size("{} layers", f"{key}.num_layers", num_layers(found), num_layers(wanted), can_be_cut)


def _unseen_sizes(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Size]:
    """Yield the sizes that no weight has, out of fairseq's arguments; where a checkpoint's lack one, the published."""
    for text, key, argument in (
        ("{} sentence slots", "num_slots", "num_slots"),
        ("{} attention heads", "num_heads", "encoder_attention_heads"),
    ):
        has = found.get(argument, getattr(EncoderConfig, key))
        yield Size(text, f"models.{name}.{key}", has, wanted[argument])


def load_dictionary(path: Path) -> Dictionary:
    """Return fairseq's dictionary with `<mask>`, as pre-training has it.

    Raises:
        UserError: if the file is none.
    """
    try:
        dictionary = Dictionary.load(str(path))
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{path} is no dictionary of fairseq's ({error}): fetch or make it again") from None
    dictionary.add_symbol("<mask>")
    return dictionary


def held_out_documents(binarized: Path, *, bos_id: int, split: str = "valid") -> Iterator[Tensor]:
    """Yield the held-out documents as fairseq passes them to the model: `<s>`, then each line with its `</s>`.

    They are of the split "valid", or "test" where the binarized corpus has one, as token ids, shape (L,).
    """
    lines = data_utils.load_indexed_dataset(str(binarized / split))
    document: list[Tensor] = []
    for number in range(len(lines)):
        line = lines[number].long()
        if len(line) > 1:
            document.append(line)
        if document and (len(line) == 1 or number == len(lines) - 1):  # an empty line, `</s>` alone, ends a document
            yield torch.cat([torch.tensor([bos_id]), *document])
            document = []


class Spelling:
    """Text for fairseq's ids.

    Args:
        dictionary: with `<mask>`.
        vocabulary: folder of encoder.json.
    """

    def __init__(self, dictionary: Dictionary, vocabulary: Path) -> None:
        bpe_ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
        bpe_symbols = {str(number): symbol for symbol, number in bpe_ids.items()}
        self._symbols = [bpe_symbols.get(symbol, "") for symbol in dictionary.symbols]
        self._bytes = {character: byte for byte, character in bytes_to_unicode().items()}
        self._marks = {dictionary.eos(): b" ", dictionary.index("<mask>"): b" [mask]"}

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of ids; where it starts or ends within a character, there is a replacement mark."""
        spelled = [self._marks.get(id_, bytes(self._bytes[c] for c in self._symbols[id_])) for id_ in ids]
        return " ".join(b"".join(spelled).decode("utf-8", errors="replace").split())

    def is_word(self, id_: int) -> bool:
        """Whether an id is a whole word's beginning, of letters alone."""
        symbol = self._symbols[id_]
        return symbol.startswith(_WORD_START) and symbol[1:].isalpha()
