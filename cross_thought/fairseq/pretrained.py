"""A pre-trained model outside training, the held-out text that it was validated on, and that text for people."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cross_thought.fairseq import bridge
from cross_thought.fairseq.checkpoints import load_checkpoint

bridge.install()

from fairseq.data import Dictionary, data_utils  # noqa: E402
from fairseq.data.encoders.gpt2_bpe_utils import bytes_to_unicode  # noqa: E402

_WORD_START = "Ġ"  # how GPT-2's files write the space before a word

if TYPE_CHECKING:
    from cross_thought.fairseq.model import RegisteredEncoder


def load_pretrained(checkpoint: Path, vocabulary: Path) -> tuple["RegisteredEncoder", Dictionary]:
    """Return the encoder with its LM head from a pre-training checkpoint, and the dictionary with `<mask>`.

    Args:
        checkpoint: a pre-training's final model.
        vocabulary: folder of dict.txt.
    """
    from cross_thought.fairseq.model import RegisteredEncoder

    state = load_checkpoint(checkpoint)
    dictionary = Dictionary.load(str(vocabulary / "dict.txt"))
    dictionary.add_symbol("<mask>")
    model = RegisteredEncoder(state["args"], dictionary)
    prefix = "encoder."
    model.load_state_dict({name.removeprefix(prefix): weight for name, weight in state["model"].items()})
    return model.eval(), dictionary


def held_out_documents(binarized: Path, *, bos_id: int) -> Iterator[Tensor]:
    """Yield the held-out documents as fairseq passes them to the model: `<s>`, then each line with its `</s>`.

    Args:
        binarized: folder of the binarized corpus.
        bos_id: id of `<s>`.

    Yields:
        Token ids, shape (L,).
    """
    lines = data_utils.load_indexed_dataset(str(binarized / "valid"))
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
