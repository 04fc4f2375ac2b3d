"""Data for the battery's trainings, in fairseq's binary format: a corpus of random words, pairs as RTE's."""

import csv
from pathlib import Path

import numpy as np

from benchmarks.batches import EOS, FIRST_SYMBOL
from cross_thought.data.binarize import DatasetWriter

NUM_RESERVED = 5  # <s>, <pad>, </s>, <unk>, <mask>
_LINE_WORDS = 99


def write_corpus(folder: Path, *, num_words: int, vocab_size: int) -> None:
    """Write a corpus of random words, as unevenly frequent as a language's, with a tenth as much to validate on."""
    _write_dictionary(folder, vocab_size)
    generator = np.random.default_rng(1)
    weights = 1 / np.arange(1, vocab_size - NUM_RESERVED + 1)
    for split, size in (("train", num_words), ("valid", num_words // 10)):
        lines = generator.choice(len(weights), (-(-size // _LINE_WORDS), _LINE_WORDS), p=weights / weights.sum())
        lines = np.pad(lines + FIRST_SYMBOL, ((0, 0), (0, 1)), constant_values=EOS)
        with DatasetWriter(folder / split, dictionary_size=vocab_size - 1) as writer:
            writer.write(lines.ravel(), np.full(len(lines), lines.shape[1]))


def write_pairs(folder: Path, *, num_rows: int, words: int, vocab_size: int) -> None:
    """Write rows of two random sentences, a long and a short one; the first word of the first tells the label."""
    generator = np.random.default_rng(1)
    rows: dict[str, list[tuple[list[int], list[int], int]]] = {}
    for split, size in (("train", num_rows), ("valid", max(8, num_rows // 10))):
        rows[split] = []
        for _ in range(size):
            sentences = [
                generator.integers(
                    FIRST_SYMBOL, vocab_size - 1, max(1, int(share * words * generator.uniform(0.5, 1.5)))
                )
                for share in (1.6, 0.4)
            ]
            label = int(generator.integers(2))
            sentences[0][0] = FIRST_SYMBOL + label
            rows[split].append((*(sentence.tolist() for sentence in sentences), label))
    _write_task(folder, rows, vocab_size)


def write_rte(folder: Path, data: Path) -> None:
    """Write the user's RTE, with GPT-2's BPE; it becomes fairseq's ids by the tokenizer that embeds sentences."""
    from benchmarks.batches import Bpe

    bpe = Bpe(data / "gpt2_bpe")
    labels = {"entailment": 0, "not_entailment": 1}
    rows = {}
    for split, name in (("train", "train.tsv"), ("valid", "dev.tsv")):
        with open(data / "glue" / "RTE" / name, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
        rows[split] = [(bpe.encode(line[1])[:-1], bpe.encode(line[2])[:-1], labels[line[3]]) for line in lines]
    _write_task(folder, rows, bpe.vocab_size)


def _write_task(folder: Path, rows: dict[str, list[tuple[list[int], list[int], int]]], vocab_size: int) -> None:
    for number in range(2):
        _write_dictionary(folder / f"input{number}", vocab_size)
    (folder / "label").mkdir()
    (folder / "label" / "dict.txt").write_text("0 1\n1 1\n", encoding="utf-8")
    for split, examples in rows.items():
        for number in range(2):
            sentences = [[*example[number], EOS] for example in examples]
            _write_items(folder / f"input{number}" / split, sentences, vocab_size - 1)
        _write_items(folder / "label" / split, [[FIRST_SYMBOL + label, EOS] for *_, label in examples], 6)


def _write_items(prefix: Path, items: list[list[int]], dictionary_size: int) -> None:
    with DatasetWriter(prefix, dictionary_size=dictionary_size) as writer:
        writer.write(np.concatenate(items), np.array(list(map(len, items))))


def _write_dictionary(folder: Path, vocab_size: int) -> None:
    """Write a dictionary of numbers, as GPT-2's is."""
    folder.mkdir(parents=True)
    symbols = "".join(f"{number} 1\n" for number in range(vocab_size - NUM_RESERVED))
    (folder / "dict.txt").write_text(symbols, encoding="utf-8")
