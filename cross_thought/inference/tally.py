"""What a model has read: sentences that were cut or empty, tokens, and those that its vocabulary does not know."""

from collections import Counter


class Reader:
    """What counts the text that it reads.

    Attributes:
        num_cut_sentences: sentences so far that were too long; what follows was cut.
        num_empty_sentences: those without text; they are answered like any other.
        num_tokens, num_unknown_tokens: those read so far, and those of them that the vocabulary has not, `<unk>`.
    """

    num_cut_sentences = 0
    num_empty_sentences = 0
    num_tokens = 0
    num_unknown_tokens = 0


def tally(model: Reader) -> Counter[str]:
    """Return what a model has read so far, by the names that results have for it: less another, what it read since."""
    return Counter(cut=model.num_cut_sentences, tokens=model.num_tokens, unknown=model.num_unknown_tokens)


def remarks(model: Reader) -> list[str]:
    """Say what of the text that a model has read is empty, or unknown to its vocabulary."""
    found = []
    if number := model.num_empty_sentences:
        found.append("1 sentence is empty" if number == 1 else f"{number} sentences are empty")
    if model.num_unknown_tokens:
        share = float(f"{100 * model.num_unknown_tokens / model.num_tokens:.2g}")  # 100 would be written as 1e+02
        found.append(
            f"{share:g} % of the tokens are unknown to the vocabulary, and read as <unk> "
            f"({model.num_unknown_tokens} of {model.num_tokens})"
        )
    return found
