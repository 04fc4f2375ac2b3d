"""Sentences in, rows of the encoder's token ids out; one file, `tokenizer.json`, holds all that this takes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor


class SentenceTokenizer:
    """Byte-level BPE with the ids that the encoder was trained on.

    Args:
        tokenizer: gives `<s> A </s>` in these ids; BPE symbols that the encoder has no row for come after its rows.
        vocab_size: rows of the encoder's embedding, V.
        pad_id: fills rows up.
        unk_id: stands for symbols that the encoder has no row for.
    """

    def __init__(self, tokenizer: Tokenizer, *, vocab_size: int, pad_id: int = 1, unk_id: int = 3) -> None:
        self.tokenizer = tokenizer
        self.vocab_size = vocab_size
        self.pad_id = pad_id
        self.unk_id = unk_id

    @classmethod
    def from_file(cls, path: str | Path, *, vocab_size: int) -> "SentenceTokenizer":
        """Read a tokenizer.json that `save` wrote."""
        return cls(Tokenizer.from_file(str(path)), vocab_size=vocab_size)

    def save(self, path: str | Path) -> None:
        """Write tokenizer.json."""
        self.tokenizer.save(str(path))

    def token_ids(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the ids of each sentence, stripped of white space at both ends, with its `<s>` and `</s>`.

        Raises:
            TypeError: if a sentence is no string.
            ValueError: if one holds half a surrogate pair, which is no text.
        """
        try:
            encodings = self.tokenizer.encode_batch_fast([sentence.strip() for sentence in sentences])
        except (AttributeError, TypeError):  # the library does not say which
            number, culprit = next((n, s) for n, s in enumerate(sentences) if not (isinstance(s, str) and _is_text(s)))
            if isinstance(culprit, str):
                raise ValueError(
                    f"sentence {number} holds half a surrogate pair, which is no text: {culprit!r}"
                ) from None
            raise TypeError(f"sentence {number} is {culprit!r}, not a string") from None
        return [encoding.ids for encoding in encodings]

    def pad(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """Return rows of ids as one tensor, right-padded, shape (rows, L)."""
        longest = max(map(len, rows))
        tokens = torch.tensor([[*row, *[self.pad_id] * (longest - len(row))] for row in rows])
        return tokens.masked_fill_(tokens >= self.vocab_size, self.unk_id)


def _is_text(sentence: str) -> bool:
    """Whether a string can be written as UTF-8."""
    try:
        sentence.encode()
    except UnicodeEncodeError:
        return False
    return True
