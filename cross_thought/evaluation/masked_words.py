"""What the cross path is worth on any text: masked words of held-out documents, with and without the other segments.

In one segment of each document the same share of symbols is masked as in training, and the model guesses them: with
cross layer 0 as trained, with the other segments taken from other documents, and with cross layer 0 bypassed.
Everything that tables say of it is computed from `words.tsv`, one line a masked symbol.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from cross_thought.evaluation.cross_path import with_cross_sequence
from cross_thought.files import atomic_file

if TYPE_CHECKING:  # this package stays importable without torch
    from collections.abc import Callable

    from torch import Tensor

    from cross_thought.encoder import CrossThoughtEncoder

# as trained; the other segments other documents'; without cross layer 0
ON, SHUFFLED, BYPASSED = "on", "shuffled", "bypassed"
BATCH_SYMBOLS = 1 << 14  # at once, pads included
MAX_DOCUMENTS = 1000  # of the held-out text, from its beginning
MAX_SEGMENTS = 64  # of a document, from its beginning
MIN_WORDS = 4  # of a segment to mask some in


@dataclass(frozen=True)
class MaskedWord:
    """One masked symbol: where it stands, and whether its document has it in another segment, too."""

    document: int
    segment: int
    column: int
    symbol: int
    is_elsewhere: bool


@dataclass(frozen=True)
class Guess:
    """What a model makes of a masked symbol: whether the likeliest is right, and -ln of what the right one gets."""

    is_right: bool
    loss: float


Guesses = dict[str, list[Guess]]  # by condition, in the order of the masked words


def choose_words(
    documents: Sequence["Tensor"], *, share: float, num_specials: int, seed: int, eos_id: int | None = None
) -> list[MaskedWord]:
    """Choose what is masked: some symbols of one segment of each document.

    Args:
        documents: the segments of each, token ids, shape (B, T).
        share: of the segment's words to mask, below 1; one at least is masked.
        num_specials: ids below, of pads and marks, are no words.
        seed: of the choice; the same for every model that is compared.
        eos_id: of `</s>`, where segments are sentences: then one is chosen that is a whole sentence, no part of one
            that was longer than a segment, so that the other segments are other sentences.

    Returns:
        The words, document by document. Documents of one segment, or without a whole sentence, and segments of too few
        words, have none; nor has any if only one could have: no other document's segment could be fed.
    """
    generator = random.Random(f"masked words {seed}")
    words = []
    for number, document in enumerate(documents):
        segments = document.tolist()
        columns = [[t for t, symbol in enumerate(segment) if symbol >= num_specials] for segment in segments]
        eligible = [s for s, found in enumerate(columns) if len(found) >= MIN_WORDS]
        if eos_id is not None:
            ends = [True, *(eos_id in segment for segment in segments)]  # whether the segment before ends a sentence
            eligible = [s for s in eligible if ends[s] and ends[s + 1]]
        if len(segments) < 2 or not eligible:
            continue
        chosen = generator.choice(eligible)
        elsewhere = {symbol for s, segment in enumerate(segments) if s != chosen for symbol in segment}
        num_masked = min(max(1, round(share * len(columns[chosen]))), len(columns[chosen]) - 1)
        for column in sorted(generator.sample(columns[chosen], num_masked)):
            symbol = segments[chosen][column]
            words.append(MaskedWord(number, chosen, column, symbol, symbol in elsewhere))
    return words if len({word.document for word in words}) > 1 else []


def guess_words(
    encoder: "CrossThoughtEncoder",
    lm_head: "Callable[[Tensor], Tensor]",
    documents: Sequence["Tensor"],
    words: Sequence[MaskedWord],
    *,
    mask_id: int,
    conditions: Iterable[str],
) -> Guesses:
    """Let a model guess the masked words in each condition: ON, SHUFFLED, BYPASSED.

    `lm_head` gives scores over the dictionary, (n, d) to (n, V); `documents` are those that `choose_words` got.
    """
    by_document = {number: list(of_document) for number, of_document in groupby(words, key=attrgetter("document"))}
    numbers = list(by_document)
    # other documents for each: from half of them further on
    half = len(numbers) // 2
    others = {
        number: [documents[other] for other in (numbers * 2)[n + half : n + half + len(numbers)] if other != number]
        for n, number in enumerate(numbers)
    }
    guesses: Guesses = {}
    encoder.eval()
    for condition in conditions:
        shown = {
            number: _with_other_segments(documents[number], others[number], found[0].segment)
            if condition == SHUFFLED
            else documents[number]
            for number, found in by_document.items()
        }
        guesses[condition] = []
        with with_cross_sequence(encoder, condition != BYPASSED):
            for batch in _batches(numbers, shown):
                tokens, masked = [shown[number] for number in batch], [by_document[number] for number in batch]
                guesses[condition] += _guess_batch(encoder, lm_head, tokens, masked, mask_id)
    return guesses


def _with_other_segments(document: "Tensor", others: Sequence["Tensor"], own: int) -> "Tensor":
    """Return a document whose segments, but its `own`-th, are those of other documents, one after the other.

    None stands there twice, unless all of the others together have too few.
    """
    import torch

    segments = cycle(segment for other in others for segment in other)
    before, after = (list(islice(segments, count)) for count in (own, len(document) - own - 1))
    return torch.stack([*before, document[own], *after])


def _batches(numbers: Sequence[int], documents: Mapping[int, "Tensor"]) -> Iterator[list[int]]:
    """Yield documents, in their order, as many at once as memory holds without a thought."""
    batch: list[int] = []
    longest = 0
    for number in numbers:
        longest = max(longest, documents[number].numel())
        if batch and longest * (len(batch) + 1) > BATCH_SYMBOLS:
            yield batch
            batch, longest = [], documents[number].numel()
        batch.append(number)
    if batch:
        yield batch


def _guess_batch(
    encoder: "CrossThoughtEncoder",
    lm_head: "Callable[[Tensor], Tensor]",
    documents: Sequence["Tensor"],
    words: Sequence[Sequence[MaskedWord]],
    mask_id: int,
) -> Iterator[Guess]:
    import torch
    from torch.nn import functional as F
    from torch.nn.utils.rnn import pad_sequence

    # (N, B, T); a segment of pads alone is no row to the encoder
    tokens = pad_sequence(list(documents), batch_first=True, padding_value=encoder.config.pad_id)
    places = [(n, word.segment, word.column) for n, found in enumerate(words) for word in found]
    index = tuple(torch.tensor(places).T)
    is_masked = torch.zeros_like(tokens, dtype=torch.bool).index_put(index, torch.tensor(True))
    tokens = tokens.masked_fill(is_masked, mask_id)
    with torch.inference_mode():
        # the first start position is in the range of every model
        states = encoder.encode_streams(tokens.flatten(1), start_position=1, scored=is_masked.flatten(1))
        scores = lm_head(states).float()
        symbols = torch.tensor([word.symbol for found in words for word in found])
        losses = F.cross_entropy(scores, symbols, reduction="none").tolist()
        is_right = (scores.argmax(1) == symbols).tolist()
    return map(Guess, is_right, losses)


def write_words(path: Path, split: str, words: Sequence[MaskedWord], guesses: Guesses) -> None:
    """Write `words.tsv`, whole or not at all: each word, and by condition whether it was told, and its loss in nats.

    `split` is what part of the corpus the documents are.
    """
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        results = [f"{name}_{condition}" for condition in guesses for name in ("right", "loss")]
        print("split", "document", "segment", "column", "symbol", "elsewhere", *results, sep="\t", file=file)
        for number, word in enumerate(words):
            place = (split, word.document, word.segment, word.column, word.symbol, int(word.is_elsewhere))
            found = [found[number] for found in guesses.values()]
            print(*place, *(cell for g in found for cell in (int(g.is_right), f"{g.loss:.6f}")), sep="\t", file=file)
