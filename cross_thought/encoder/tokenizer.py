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
        """Read a tokenizer.json that `save` or the transformers library wrote."""
        return cls(Tokenizer.from_file(str(path)), vocab_size=vocab_size)

    def save(self, path: str | Path) -> None:
        """Write tokenizer.json."""
        self.tokenizer.save(str(path))

    def token_ids(self, sentences: Sequence[str], *, prompt: str = "", first: int = 0) -> list[list[int]]:
        """Return the ids of each sentence, stripped of white space at both ends, with its `<s>` and `</s>`.

        Args:
            sentences: any number.
            prompt: put before each, before it is stripped.
            first: number of the first one, for messages.

        Raises:
            TypeError: if a sentence, or the prompt, is no string.
            ValueError: if one holds half a surrogate pair, which is no text.
        """
        # the transformers library shares the tokenizer, and leaves its own settings in it
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.tokenizer.encode_special_tokens = True  # what looks like a special symbol is text
        try:
            encodings = self.tokenizer.encode_batch_fast([(prompt + sentence).strip() for sentence in sentences])
        except (AttributeError, TypeError):  # the library does not say which
            check_prompt(prompt)
            numbered = enumerate(sentences, first)
            number, culprit = next((n, s) for n, s in numbered if not (isinstance(s, str) and _is_text(s)))
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
        return self.known(tokens)

    def known(self, tokens: Tensor) -> Tensor:
        """Return ids with `<unk>` in place of those that the encoder has no row for, shape as given."""
        return tokens.masked_fill(tokens >= self.vocab_size, self.unk_id)


def check_prompt(prompt: str) -> None:
    """Refuse a prompt that cannot be put before a sentence.

    Raises:
        TypeError: if it is no string.
        ValueError: if it holds half a surrogate pair, which is no text.
    """
    if not isinstance(prompt, str):
        raise TypeError(f"prompt {prompt!r} is not a string")
    if not _is_text(prompt):
        raise ValueError(f"prompt {prompt!r} holds half a surrogate pair, which is no text")


def cut_row(row: Sequence[int], max_length: int) -> Sequence[int]:
    """Return a sentence's ids cut to so many, before its `</s>`."""
    return row if len(row) <= max_length else [*row[: max_length - 1], row[-1]]


def transformers_config(max_length: int) -> dict[str, object]:
    """Return tokenizer_config.json, by which the transformers library loads tokenizer.json.

    Args:
        max_length: ids that a sentence may have, `<s>` and `</s>` included.
    """
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "sep_token": "</s>",
        "mask_token": "<mask>",
        "model_max_length": max_length,
        "padding_side": "right",
        "truncation_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
        "split_special_tokens": True,  # what looks like a special symbol is text
        "clean_up_tokenization_spaces": False,
    }


def _is_text(sentence: str) -> bool:
    """Whether a string can be written as UTF-8."""
    try:
        sentence.encode()
    except UnicodeEncodeError:
        return False
    return True
