"""What the cross path carries: can a word be told that only the other segments of its document tell?

In the demo's text a word for a fact says nothing about the rest of its sentence, so a masked one can only be guessed,
at one value in so many, unless its segment hears of the others. For each held-out document and each fact, one segment's
word for it is masked and nothing else. The answer, the likeliest of all symbols, is right if it is either word of the
value.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cross_thought.errors import UserError

if TYPE_CHECKING:  # this package stays importable without torch
    from collections.abc import Callable

    from torch import Tensor

    from cross_thought.encoder import CrossThoughtEncoder

BATCH_SIZE = 100  # documents
_WORD_START = "Ġ"  # how GPT-2's files write the space before a word


@dataclass(frozen=True)
class Masking:
    """Documents that each have one word masked.

    Attributes:
        documents: token ids, shape (N, S, T).
        segments: the segment with the masked word, shape (N,).
        columns: the masked word's place in its segment, shape (N,).
        answers: for each document the ids that are right.
        guess_rate: share of right answers if one of the fact's values is drawn for each masked word.
    """

    documents: "Tensor"
    segments: "Tensor"
    columns: "Tensor"
    answers: list[tuple[int, ...]]
    guess_rate: float


def fact_ids(facts: Mapping[str, Sequence[Sequence[str]]], vocabulary: Path) -> list[list[tuple[int, ...]]]:
    """Return fairseq's ids of the fact words: for each fact, for each of its values, those of its words.

    Args:
        facts: the words for each value of each fact.
        vocabulary: folder of encoder.json and dict.txt.

    Raises:
        UserError: if a word is not one symbol of the vocabulary.
    """
    bpe_ids = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
    lines = (vocabulary / "dict.txt").read_text(encoding="utf-8").split("\n")
    # a fairseq dictionary begins with four symbols that its file leaves out
    ids = {line.rpartition(" ")[0]: number for number, line in enumerate(lines, start=4)}

    def word_id(word: str) -> int:
        symbol = str(bpe_ids.get(_WORD_START + word))
        if symbol not in ids:
            raise UserError(
                f"{vocabulary}: {word!r} is not one symbol of the vocabulary, which the cross-path report needs: "
                "raise bpe.vocab_size"
            )
        return ids[symbol]

    return [[tuple(map(word_id, words)) for words in values] for values in facts.values()]


def mask_facts(documents: "Tensor", values_of_facts: Sequence[Sequence[Sequence[int]]], *, seed: int) -> Masking:
    """Choose what is masked: in each document one word for each fact, one at a time.

    Args:
        documents: token ids, shape (documents, S, T).
        values_of_facts: for each fact, for each of its values, the ids of its words.
        seed: of the choice of segments.

    Returns:
        As many documents as there are pairs of a document and a fact that it states. They are not masked yet.

    Raises:
        UserError: if no document states a fact.
    """
    import torch

    generator = random.Random(f"cross path {seed}")
    chosen, segments, columns, answers, guess_rates = [], [], [], [], []
    for number, document in enumerate(documents.tolist()):
        for values in values_of_facts:
            words_of = {word: tuple(words) for words in values for word in words}
            # a segment that states the fact twice would tell the answer itself
            mentions = [[t for t, word in enumerate(segment) if word in words_of] for segment in document]
            places = [(s, found[0]) for s, found in enumerate(mentions) if len(found) == 1]
            if not places:
                continue
            segment, column = generator.choice(places)
            chosen.append(number)
            segments.append(segment)
            columns.append(column)
            answers.append(words_of[document[segment][column]])
            guess_rates.append(1 / len(values))
    if not chosen:
        raise UserError("no held-out document states a fact: the cross path can be measured on the demo's corpus only")
    return Masking(
        documents[chosen], torch.tensor(segments), torch.tensor(columns), answers, sum(guess_rates) / len(guess_rates)
    )


def measure(
    encoder: "CrossThoughtEncoder",
    lm_head: "Callable[[Tensor], Tensor]",
    masking: Masking,
    *,
    mask_id: int,
    has_cross_sequence: bool,
) -> dict[str, float]:
    """Measure how often the masked words are told, in each condition.

    - `on`: as trained.
    - `shuffled`: the other segments are those of another document.
    - `bypassed`: without cross layer 0; for a model that was trained so, this is the only condition.

    Args:
        encoder: the pre-trained encoder.
        lm_head: scores over the dictionary, (n, d) to (n, V).
        masking: documents and what is masked in them.
        mask_id: id of `<mask>`.
        has_cross_sequence: whether cross layer 0 was on in pre-training.

    Returns:
        Accuracy, 0..1, by condition.
    """
    chosen = range(len(masking.documents)), masking.segments
    masked = masking.documents.clone()
    masked[*chosen, masking.columns] = mask_id
    # all segments but the chosen one are from half the documents further
    shuffled = masking.documents.roll(len(masked) // 2, 0)
    shuffled[chosen] = masked[chosen]
    conditions = {"on": (masked, True), "bypassed": (masked, False), "shuffled": (shuffled, True)}
    return {
        name: _accuracy(encoder, lm_head, documents, masking, cross_sequence=cross_sequence)
        for name, (documents, cross_sequence) in conditions.items()
        if has_cross_sequence or name == "bypassed"
    }


def _accuracy(
    encoder: "CrossThoughtEncoder",
    lm_head: "Callable[[Tensor], Tensor]",
    masked: "Tensor",
    masking: Masking,
    *,
    cross_sequence: bool,
) -> float:
    """Return the share of masked words for which the likeliest symbol is right."""
    import torch

    num_documents, num_segments, segment_length = masked.shape
    places = masking.segments * segment_length + masking.columns
    answers = []
    encoder.eval()
    with torch.inference_mode(), with_cross_sequence(encoder, cross_sequence):
        for rows in torch.arange(num_documents).split(BATCH_SIZE):
            scored = torch.zeros(len(rows), num_segments * segment_length, dtype=torch.bool)
            scored[range(len(rows)), places[rows]] = True
            # the first start position is in the range of every model
            states = encoder.encode_streams(masked[rows].flatten(1), start_position=1, scored=scored)
            answers += lm_head(states).argmax(1).tolist()
    return sum(answer in right for answer, right in zip(answers, masking.answers, strict=True)) / num_documents


@contextmanager
def with_cross_sequence(encoder: "CrossThoughtEncoder", enabled: bool) -> Iterator[None]:
    """Switch cross layer 0 on or off for a while."""
    config = encoder.config
    encoder.config = replace(config, cross_sequence=enabled)
    try:
        yield
    finally:
        encoder.config = config
