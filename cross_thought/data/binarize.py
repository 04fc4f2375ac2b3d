"""Encoded text to the binary files that fairseq reads, byte for byte those of its own `preprocess`.

It is written here from whole arrays, without importing fairseq: its builder takes one tensor a line and keeps Python
numbers for each, which is most of what makes a large corpus slow to binarize.
"""

import logging
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cross_thought.data.bpe import NUM_SPECIALS, bpe_symbols, read_encoded
from cross_thought.data.definitions import Task
from cross_thought.data.indexed import DatasetWriter, id_dtype
from cross_thought.data.prepared import NONE_RIGHT, SUMMARY, Example, count_sentences, read_prepared
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, read_lines, write_json

logger = logging.getLogger(__name__)

EOS_ID = 2
UNKNOWN_ID = 3
_SECONDS_BETWEEN_LOGS = 10


class Written(NamedTuple):
    """What a dataset has: items, those that were cut; tokens, each item's `</s>` among them, those that are `<unk>`."""

    items: int
    cut: int
    tokens: int
    unknown: int


@dataclass(frozen=True, kw_only=True)
class SymbolMap:
    """How BPE ids become fairseq's ids.

    Attributes:
        table: fairseq's id of each BPE id, `</s>` for that of `\\n`, shape (num_symbols,), of the files' type.
        newline_id: the BPE id that ends a line.
        dictionary_size: symbols of fairseq's dictionary as read from its file, without `<mask>`.
    """

    table: np.ndarray
    newline_id: int
    dictionary_size: int


def read_dictionary(path: Path) -> list[str]:
    """Return the symbols of a fairseq dictionary file; the first one has id 4.

    Raises:
        UserError: if a line is not a symbol and a count, or a symbol occurs twice.
    """
    symbols = []
    for number, line in enumerate(read_lines(path), start=1):
        symbol, _, count = line.rstrip().rpartition(" ")
        if not symbol or not count.isdigit():
            raise UserError(
                f"{path}, line {number}: {line!r} is not `SYMBOL COUNT`; fetch or make the dictionary again"
            )
        symbols.append(symbol)
    if len(set(symbols)) < len(symbols):
        raise UserError(f"{path} names a symbol twice: fetch or make the dictionary again")
    return symbols


def symbol_map(vocabulary: Path) -> SymbolMap:
    """Return how the ids of a vocabulary's BPE become fairseq's; ids that its dictionary lacks become `<unk>`."""
    num_symbols, newline_id = bpe_symbols(vocabulary)
    symbols = read_dictionary(vocabulary / "dict.txt")
    dictionary_size = NUM_SPECIALS + len(symbols)
    table = np.full(num_symbols, UNKNOWN_ID, id_dtype(dictionary_size))
    for index, symbol in enumerate(symbols, start=NUM_SPECIALS):
        if symbol.isdigit() and int(symbol) < num_symbols:
            table[int(symbol)] = index
    table[newline_id] = EOS_ID
    return SymbolMap(table=table, newline_id=newline_id, dictionary_size=dictionary_size)


def write_dataset(encoded: Path, prefix: Path, *, symbols: SymbolMap, max_tokens: int | None = None) -> Written:
    """Write one encoded text as a fairseq dataset, `PREFIX.bin` and `PREFIX.idx`.

    Items longer than `max_tokens`, their `</s>` included, are cut to this many and keep their `</s>`; None: no cut.

    Raises:
        UserError: if `max_tokens` leaves no word.
    """
    if max_tokens is not None and max_tokens < 2:
        raise UserError(f"a sentence may have {max_tokens} tokens, which leaves no word: raise num_positions")
    num_cut = num_unknown = 0
    logged = time.monotonic()
    with DatasetWriter(prefix, dictionary_size=symbols.dictionary_size) as writer:
        for bpe_ids in read_encoded(encoded):
            ids = symbols.table[bpe_ids]
            sizes = np.diff(np.flatnonzero(bpe_ids == symbols.newline_id), prepend=-1)
            if max_tokens is not None and len(sizes) and sizes.max() > max_tokens:
                num_cut += int((sizes > max_tokens).sum())
                ids, sizes = cut_items(ids, sizes, max_tokens)
            num_unknown += int((ids == UNKNOWN_ID).sum())
            if len(sizes):
                writer.write(ids, sizes)
            if time.monotonic() - logged > _SECONDS_BETWEEN_LOGS:
                logged = time.monotonic()
                logger.info("%s: %d items so far", encoded, writer.num_items)
        num_items, num_ids = writer.num_items, writer.num_ids
    share = 100 * num_unknown / max(num_ids, 1)
    logger.info("%s: %d items, %d tokens, %.3g%% of them <unk>", encoded, num_items, num_ids, share)
    if num_cut:
        logger.info("%s: %d items longer than %d tokens cut", encoded, num_cut, max_tokens)
    return Written(num_items, num_cut, num_ids, num_unknown)


def cut_items(ids: np.ndarray, sizes: np.ndarray, max_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut items to `max_tokens`, at least 2, the last of which stays the `</s>`.

    Args:
        ids: of all items, shape (sum of sizes,).
        sizes: of each item, shape (num_items,).
        max_tokens: that an item may have.

    Returns:
        Ids and sizes of the cut items.
    """
    ends = np.cumsum(sizes)
    place = np.arange(len(ids)) - np.repeat(ends - sizes, sizes)
    is_last = np.zeros(len(ids), bool)
    is_last[ends - 1] = True
    return ids[(place < max_tokens - 1) | is_last], np.minimum(sizes, max_tokens)


def binarize_corpus(encoded: Mapping[str, Path], vocabulary: Path, output_dir: Path) -> dict[str, int]:
    """Binarize pre-training text, encoded split by split, for fairseq's `masked_lm` task.

    Returns:
        The number of items of each split; an empty line, which ends a document, is an item of `</s>` alone.
    """
    symbols = symbol_map(vocabulary)
    with atomic_directory(output_dir) as folder:
        shutil.copyfile(vocabulary / "dict.txt", folder / "dict.txt")
        return {split: write_dataset(path, folder / split, symbols=symbols).items for split, path in encoded.items()}


def binarize_task(
    task: Task, *, prepared: Path, encoded: Path, vocabulary: Path, output_dir: Path, max_sentence_tokens: int | None
) -> None:
    """Binarize a task for fairseq's `sentence_prediction`, or our `answer_selection`.

    Args:
        task: the task.
        prepared: folder of its TSV files, for the labels.
        encoded: folder of its encoded sentences, `SPLIT/sentence1`, ....
        vocabulary: folder with the BPE files and dict.txt.
        output_dir: gets input0, input1, ... and label, and `summary.json` with the sentences that were cut, and where
            there are unknown tokens, their number and that of all.
        max_sentence_tokens: longer sentences, `</s>` included and `<s>` not, are cut to this; None: no cut.

    Raises:
        UserError: if a split's sentences and labels differ in number.
    """
    task, symbols = task.with_sentences(count_sentences(prepared)), symbol_map(vocabulary)
    with atomic_directory(output_dir) as folder:
        for number in range(task.num_sentences):
            inputs = folder / f"input{number}"
            inputs.mkdir()
            shutil.copyfile(vocabulary / "dict.txt", inputs / "dict.txt")
        (folder / "label").mkdir()
        summary: dict[str, dict[str, int]] = {}
        for split in task.splits:
            found = []
            examples = list(read_prepared(prepared / f"{split}.tsv"))
            for number in range(task.num_sentences):
                written = write_dataset(
                    encoded / split / f"sentence{number + 1}",
                    folder / f"input{number}" / split,
                    symbols=symbols,
                    max_tokens=max_sentence_tokens,
                )
                found.append(written)
                if written.items != len(examples):
                    raise UserError(
                        f"{encoded / split} has {written.items} sentences for the {len(examples)} rows of "
                        f"{prepared / split}.tsv: delete both folders and run again"
                    )
            _, num_cut, num_tokens, num_unknown = map(sum, zip(*found, strict=True))
            summary[split] = {"cut": num_cut} | ({"tokens": num_tokens, "unknown": num_unknown} if num_unknown else {})
            write_labels(task, examples, folder / "label", split)
        write_json(folder / SUMMARY, {**summary, "max_sentence_tokens": max_sentence_tokens})


def write_labels(task: Task, examples: Sequence[Example], folder: Path, split: str) -> None:
    """Write a split's labels; a split without any gets none. The dictionary of labels comes with the first split.

    fairseq would sort the label dictionary by frequency, so that a class index depended on the data. Ours stands in the
    order of `task.labels`: class i is label i. A regression has no dictionary but a text file with a number a line. In
    answer selection the labels are the candidates' numbers, and a question has those of its right ones, or none.
    """
    labels = [example.label for example in examples]
    if task.selection is not None:
        items = [[number for number in label.split() if number != NONE_RIGHT] for label in labels]
    else:
        items = [[label] for label in labels]
    if task.labels is not None and not (folder / "dict.txt").exists():
        counts = Counter(name for item in items for name in item) if split == "train" else Counter[str]()
        (folder / "dict.txt").write_text("".join(f"{name} {counts[name]}\n" for name in task.labels), encoding="utf-8")
    if not all(labels):
        return
    if task.labels is None:
        scores = (float(example.label) / task.score_scale for example in examples)
        (folder / f"{split}.label").write_text("".join(f"{score!r}\n" for score in scores), encoding="utf-8")
        return
    index = {label: NUM_SPECIALS + place for place, label in enumerate(task.labels)}
    ids = [[*(index[name] for name in item), EOS_ID] for item in items]
    with DatasetWriter(folder / split, dictionary_size=NUM_SPECIALS + len(index)) as writer:
        writer.write(np.concatenate(ids), np.array([len(item) for item in ids]))
