"""What a model has read: how many sentences were cut, how many tokens its vocabulary does not know."""

from collections import Counter
from typing import Protocol


class Reader(Protocol):
    """A model that counts the sentences that it has cut, the tokens that it has read, and those that are `<unk>`."""

    num_cut_sentences: int
    num_tokens: int
    num_unknown_tokens: int


def tally(model: Reader) -> Counter[str]:
    """Return what a model has read so far, by the names that results have for it: less another, what it read since."""
    return Counter(cut=model.num_cut_sentences, tokens=model.num_tokens, unknown=model.num_unknown_tokens)


def unknown_tokens(model: Reader) -> str:
    """Say how much of what a model has read its vocabulary does not know; "" where it knows all."""
    if not model.num_unknown_tokens:
        return ""
    share = float(f"{100 * model.num_unknown_tokens / model.num_tokens:.2g}")  # 100 would be written as 1e+02
    return (
        f"{share:g} % of the tokens are unknown to the vocabulary, and read as <unk> "
        f"({model.num_unknown_tokens} of {model.num_tokens})"
    )
