"""The batches that both sides are timed on: of tasks and of streams, as fairseq draws them from real text.

Torch alone is imported on loading, for the battery runs where there is nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

BOS, PAD, EOS, FIRST_SYMBOL = 0, 1, 2, 4


@dataclass(frozen=True)
class Batch:
    """One batch: of a task (`target` holds a class a row) or one stream (`target` holds the masked words).

    Attributes:
        tokens: shape (rows, L).
        target: shape (rows,) for a task, (num_scored,) for a stream.
        scored: for a stream the positions of the target, shape (1, L).
        start_position: for a stream, where its words start.
    """

    tokens: Tensor
    target: Tensor
    scored: Tensor | None = None
    start_position: int = 1

    def to(self, device: str) -> Batch:
        """Copy the batch to a device."""
        scored = None if self.scored is None else self.scored.to(device)
        return Batch(self.tokens.to(device), self.target.to(device), scored, self.start_position)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding."""
        return int((self.tokens != PAD).sum())


class Bpe:
    """Text to the ids of fairseq's dictionary, by GPT-2's byte-level BPE.

    Args:
        folder: holds encoder.json, vocab.bpe and dict.txt.
    """

    def __init__(self, folder: Path) -> None:
        from cross_thought.inference.loading import build_tokenizer

        self._tokenizer = build_tokenizer(folder)
        self.mask_id = self._tokenizer.token_to_id("<mask>")
        self.vocab_size = self.mask_id + 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of one line, with `</s>` at the end."""
        return self._tokenizer.encode(text.strip()).ids[1:]


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """Where a task's training sentences stand: file, 0-based columns, header."""

    path: str
    columns: tuple[int, ...]


TASK_FILES = {
    "rte": TaskFile(path="glue/RTE/train.tsv", columns=(1, 2)),
    "mrpc": TaskFile(path="glue/MRPC/train.tsv", columns=(3, 4)),
    "sst-2": TaskFile(path="glue/SST-2/train.tsv", columns=(0,)),
}
CASES = (*TASK_FILES, "stream")


def read_task(data: Path, task: TaskFile) -> list[list[str]]:
    """Read the sentences of each training row."""
    rows = (data / task.path).read_text(encoding="utf-8-sig").rstrip("\n").split("\n")[1:]
    return [[row.split("\t")[column] for column in task.columns] for row in rows]


def draw_task_batches(
    rows: list[list[str]], bpe: Bpe, *, num_batches: int, max_rows: int, max_tokens: int, seed: int
) -> Iterator[Batch]:
    """Draw batches as fairseq's `sentence_prediction` does: shuffled rows, filled up to 32 rows or 4400 padded tokens.

    A batch is full when one row more would make rows times the longest row exceed `max_tokens`.
    """
    import numpy as np

    generator = np.random.RandomState(seed)
    batch: list[list[int]] = []
    drawn = 0
    for index in np.argsort(generator.permutation(len(rows))):  # the permutation is a sort key there
        row = [token for sentence in rows[index] for token in [BOS, *bpe.encode(sentence)]]
        longest = max(map(len, [*batch, row]))
        if batch and (len(batch) == max_rows or (len(batch) + 1) * longest > max_tokens):
            tokens = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in batch], True, PAD)
            yield Batch(tokens, torch.from_numpy(generator.randint(0, 2, len(batch))))
            batch = []
            drawn += 1
            if drawn == num_batches:
                return
        batch.append(row)


def draw_streams(
    text: Path, bpe: Bpe, *, num_streams: int, stream_tokens: int, last_start: int, seed: int
) -> Iterator[Batch]:
    """Draw token streams as `masked_lm` with `--sample-break-mode none` does, masked 15 % (80/10/10)."""
    import numpy as np

    generator = np.random.default_rng(seed)
    words: list[int] = []
    needed = num_streams * (stream_tokens - 1)
    for line in text.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            words += bpe.encode(line)
        if len(words) >= needed:
            break
    words = (words * (needed // len(words) + 1))[:needed]
    for stream in np.array(words).reshape(num_streams, -1):
        original = np.concatenate([[BOS], stream])
        scored = generator.random(len(original)) < 0.15
        scored[0] = False
        tokens = original.copy()
        kind = generator.random(len(tokens))
        tokens[scored & (kind < 0.8)] = bpe.mask_id
        random_word = scored & (kind >= 0.9)
        tokens[random_word] = generator.integers(FIRST_SYMBOL, bpe.mask_id, int(random_word.sum()))
        yield Batch(
            torch.from_numpy(tokens)[None],
            torch.from_numpy(original[scored]),
            torch.from_numpy(scored)[None],
            int(generator.integers(1, last_start + 1)),
        )


def random_stream(length: int, *, vocab_size: int, seed: int) -> Batch:
    """Return one stream of random words, masked 15 % (80/10/10): speed and memory do not depend on the words."""
    generator = torch.Generator().manual_seed(seed)

    def words() -> Tensor:
        return torch.randint(FIRST_SYMBOL, vocab_size - 1, (1, length), generator=generator)

    original, kind = words(), torch.rand(1, length, generator=generator)
    scored = torch.rand(1, length, generator=generator) < 0.15
    tokens = torch.where(scored & (kind < 0.8), vocab_size - 1, original)
    tokens = torch.where(scored & (kind >= 0.9), words(), tokens)
    return Batch(tokens, original[scored], scored)


def random_pairs(num_rows: int, *, words: int, vocab_size: int, seed: int) -> Batch:
    """Return rows of two sentences of random words, each `words` long on average, at least two; lengths vary as text's.

    RTE's sentences have 36 words on average, and its rows a long premise and a short hypothesis: so have these.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(num_rows):
        row = []
        for share in (1.6, 0.4):
            length = max(2, int(share * words * (0.5 + torch.rand((), generator=generator))))
            row += [BOS, *torch.randint(FIRST_SYMBOL, vocab_size - 1, (length,), generator=generator).tolist(), EOS]
        rows.append(torch.tensor(row))
    tokens = nn.utils.rnn.pad_sequence(rows, True, PAD)
    return Batch(tokens, torch.randint(0, 2, (num_rows,), generator=generator))
