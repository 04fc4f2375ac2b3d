"""What the cross path carries: can a word be told that only the other segments of its document tell?

In the demo's text a word for a fact says nothing about the rest of its sentence, so a masked one can only be guessed,
at one value in so many, unless its segment hears of the others. For each held-out document and each fact, one segment's
word for it is masked and nothing else. The answer, the likeliest of all symbols, is right if it is either word of the
value.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cross_thought.errors import UserError
from cross_thought.evaluation.result_files import read_json

if TYPE_CHECKING:  # this package stays importable without torch
    from collections.abc import Callable

    from torch import Tensor

    from cross_thought.encoder import CrossThoughtEncoder

BATCH_SIZE = 100  # documents
_WORD_START = "Ġ"  # how GPT-2's files write the space before a word


@dataclass(frozen=True)
class Masking:
    """Documents that each have one word masked."""

    documents: "Tensor"  # token ids, (N, S, T)
    segments: "Tensor"  # the segment with the masked word, (N,)
    columns: "Tensor"  # the masked word's place in its segment, (N,)
    answers: list[tuple[int, ...]]  # for each document the ids that are right
    guess_rate: float  # share of right answers if one of the fact's values is drawn for each masked word


def fact_ids(facts: Mapping[str, Sequence[Sequence[str]]], vocabulary: Path) -> list[list[tuple[int, ...]]]:
    """Return fairseq's ids of the fact words: for each fact, for each of its values, those of its words.

    A UserError names a word that is not one symbol of the vocabulary, the folder of encoder.json and dict.txt.
    """
    bpe_ids = read_json(vocabulary / "encoder.json")
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

    `documents` are token ids, shape (documents, S, T); a UserError says that none states a fact. `values_of_facts` are
    of `fact_ids`.

    Returns:
        As many documents as there are pairs of a document and a fact that it states. They are not masked yet.
    """
    import torch

    generator = random.Random(f"cross path {seed}")
    chosen, answers, guess_rates = [], [], []
    for number, document in enumerate(documents.tolist()):
        for values in values_of_facts:
            words_of = {word: tuple(words) for words in values for word in words}
            # a segment that states the fact twice would tell the answer itself
            mentions = [[t for t, word in enumerate(segment) if word in words_of] for segment in document]
            if places := [(s, found[0]) for s, found in enumerate(mentions) if len(found) == 1]:
                segment, column = generator.choice(places)
                chosen.append((number, segment, column))
                answers.append(words_of[document[segment][column]])
                guess_rates.append(1 / len(values))
    if not chosen:
        raise UserError("no held-out document states a fact: the cross path can be measured on the demo's corpus only")
    numbers, segments, columns = torch.tensor(chosen).T
    return Masking(documents[numbers], segments, columns, answers, sum(guess_rates) / len(guess_rates))


def measure(
    encoder: "CrossThoughtEncoder",
    lm_head: "Callable[[Tensor], Tensor]",
    masking: Masking,
    *,
    mask_id: int,
    has_cross_sequence: bool,
) -> dict[str, float]:
    """Measure how often the masked words are told, 0..1, in each condition.

    - `on`: as trained.
    - `shuffled`: the other segments are those of another document.
    - `bypassed`: without cross layer 0; the only condition of a model that has no cross sequence in pre-training.

    `lm_head` gives scores over the dictionary, (n, d) to (n, V).
    """
    import torch

    num_documents = len(masking.documents)
    chosen = torch.arange(num_documents), masking.segments
    masked = masking.documents.clone()
    masked[*chosen, masking.columns] = mask_id
    # all segments but the chosen one are from half the documents further
    shuffled = masking.documents.roll(num_documents // 2, 0)
    shuffled[chosen] = masked[chosen]
    scored = torch.zeros_like(masked, dtype=torch.bool)
    scored[*chosen, masking.columns] = True

    def accuracy(documents: "Tensor", cross_sequence: bool) -> float:
        """Return the share of masked words for which the likeliest symbol is right."""
        batches = zip(documents.flatten(1).split(BATCH_SIZE), scored.flatten(1).split(BATCH_SIZE), strict=True)
        answers: list[int] = []
        with torch.inference_mode(), with_cross_sequence(encoder, cross_sequence):
            for tokens, places in batches:
                # the first start position is in the range of every model
                states = encoder.encode_streams(tokens, start_position=1, scored=places)
                answers += lm_head(states).argmax(1).tolist()
        return sum(answer in right for answer, right in zip(answers, masking.answers, strict=True)) / num_documents

    encoder.eval()
    conditions = {"on": (masked, True), "bypassed": (masked, False), "shuffled": (shuffled, True)}
    return {name: accuracy(*how) for name, how in conditions.items() if has_cross_sequence or name == "bypassed"}


@contextmanager
def with_cross_sequence(encoder: "CrossThoughtEncoder", enabled: bool) -> Iterator[None]:
    """Switch cross layer 0 on or off for a while."""
    config = encoder.config
    encoder.config = replace(config, cross_sequence=enabled)
    try:
        yield
    finally:
        encoder.config = config
