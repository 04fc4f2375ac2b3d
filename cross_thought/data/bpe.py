"""Byte-level BPE: learning a vocabulary, and encoding text to arrays of BPE ids.

A vocabulary is a folder in GPT-2's format: `encoder.json` (symbol to id), `vocab.bpe` (merges in order) and `dict.txt`,
fairseq's dictionary (a line for each BPE id that it knows), beside `tokenizer.json`, the first two in one file.

Encoded text is a folder of arrays `00000.npy`, `00001.npy`, ...: the BPE ids of all lines, each line ended by the id of
`\\n`, which no line can hold. That `\\n` costs nothing to encode: lines are stripped, as fairseq's BPE step does it, so
GPT-2's pattern always makes a symbol of its own out of a single `\\n` between them.
"""

import itertools
import json
import logging
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import gigatoken
import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from cross_thought.data.prepared import read_prepared
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, decode, read_chunks, read_lines, split_lines

logger = logging.getLogger(__name__)

NUM_SPECIALS = 4  # <s>, <pad>, </s>, <unk>, which fairseq's dictionaries begin with and their files leave out
GPT2_DICTIONARY_LINES = 50260
# the encoder remembers every word that it has seen: a process gets this much text, then a fresh one takes over
PARCEL_BYTES = 1 << 25
BLOCK_BYTES = 1 << 20  # text encoded at once: fits the processor's cache
_NEWLINE = "Ċ"  # how GPT-2's files write the byte \n
_SECONDS_BETWEEN_LOGS = 10


class Encoder:
    """Text lines in, arrays of BPE ids out.

    Args:
        vocabulary: folder of encoder.json and vocab.bpe.

    Attributes:
        num_symbols: BPE ids are below it.
        newline_id: id of `\\n`, which ends each line.
        dtype: of the arrays: 16 bits where they suffice.

    Raises:
        UserError: if the vocabulary is missing or damaged.
    """

    def __init__(self, vocabulary: Path) -> None:
        combined = vocabulary / "tokenizer.json"
        if combined.is_file():
            text = combined.read_text(encoding="utf-8")
        else:
            text = load_gpt2_files(vocabulary / "encoder.json", vocabulary / "vocab.bpe").to_str()
        self._tokenizer = gigatoken.Tokenizer.from_json(text)
        self.num_symbols, self.newline_id = bpe_symbols(vocabulary)
        self.dtype = np.uint16 if self.num_symbols <= 1 << 16 else np.uint32

    def encode(self, lines: list[str]) -> np.ndarray:
        """Encode lines, without `\\n`, stripped of white space at both ends.

        Returns:
            The ids of all lines, each ended by `newline_id`, shape (num_ids,).
        """
        stripped = [line.strip() for line in lines]
        filled = [line for line in stripped if line]
        # `\n` after `\n` may be merged to one symbol: empty lines are put in afterwards
        ids = self._tokenizer.encode("\n".join([*filled, ""])) if filled else np.empty(0, self.dtype)
        ids = ids.astype(self.dtype)
        if len(filled) == len(stripped):
            return ids
        starts = np.concatenate(([0], np.flatnonzero(ids == self.newline_id) + 1))
        is_filled = np.fromiter(map(bool, stripped), bool, len(stripped))
        return np.insert(ids, starts[np.cumsum(is_filled)[~is_filled]], self.newline_id)


def bpe_symbols(vocabulary: Path) -> tuple[int, int]:
    """Return how many symbols a vocabulary has, and the id of `\\n`.

    Raises:
        UserError: if encoder.json is missing or has no `\\n`.
    """
    path = vocabulary / "encoder.json"
    try:
        ids = json.loads(path.read_text(encoding="utf-8"))
        return max(ids.values()) + 1, ids[_NEWLINE]
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:  # of whatever shape the JSON is
        raise UserError(f"{path} is no byte-level BPE vocabulary ({error!r}): make or fetch it again") from error


def load_gpt2_files(encoder: Path, merges: Path) -> Tokenizer:
    """Read encoder.json and vocab.bpe.

    Raises:
        UserError: if one of them is missing or damaged.
    """
    for path in (encoder, merges):
        if not path.is_file():
            raise UserError(f"{path} is not there: put GPT-2's BPE files in place, or set bpe.source to train")
    try:
        model = models.BPE.from_file(str(encoder), str(merges))
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"{encoder} and {merges} do not fit together ({error}); fetch both again") from error
    return _with_gpt2_words(model)


def _with_gpt2_words(model: models.BPE) -> Tokenizer:
    """Return a tokenizer that cuts text into words as GPT-2 does."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def train_vocabulary(text: Path, output_dir: Path, *, vocab_size: int, workers: int) -> None:
    """Learn a vocabulary of `vocab_size` symbols at most, the 256 bytes included, from the stripped lines of a text.

    With it goes fairseq's dictionary of that text, for which `workers` processes encode it.

    Raises:
        UserError: if the text is not UTF-8 or empty.
    """
    tokenizer = _with_gpt2_words(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator((line.strip() for line in read_lines(text)), trainer)
    with atomic_directory(output_dir) as folder:
        write_gpt2_files(tokenizer, folder)
        with tempfile.TemporaryDirectory(dir=output_dir.parent, prefix=".encoded-") as scratch:
            encoded = Path(scratch, "text")
            encode_file(text, encoded, vocabulary=folder, workers=workers)
            counts = count_symbols(encoded, tokenizer.get_vocab_size())
        counts[tokenizer.token_to_id(_NEWLINE)] = 0
        if not counts.any():
            raise UserError(f"{text} has no text to learn BPE from: give a filled corpus")
        lines = dictionary_lines(counts)
        (folder / "dict.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    logger.info("learnt %d BPE symbols; the dictionary has %d lines", tokenizer.get_vocab_size(), len(lines))


def write_gpt2_files(tokenizer: Tokenizer, folder: Path) -> None:
    """Write a tokenizer as encoder.json, vocab.bpe and tokenizer.json."""
    contents = json.loads(tokenizer.to_str())
    vocabulary = dict(sorted(contents["model"]["vocab"].items(), key=lambda item: item[1]))
    merges = [" ".join(pair) for pair in contents["model"]["merges"]]
    (folder / "encoder.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "vocab.bpe").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")


def copy_vocabulary(*, encoder: Path, merges: Path, dictionary: Path, output_dir: Path) -> None:
    """Make a vocabulary of GPT-2's published files.

    Raises:
        UserError: if the files do not fit together or the dictionary has not the published number of lines.
    """
    with atomic_directory(output_dir) as folder:
        for source, name in ((encoder, "encoder.json"), (merges, "vocab.bpe"), (dictionary, "dict.txt")):
            shutil.copyfile(source, folder / name)
        (folder / "tokenizer.json").write_text(load_gpt2_files(encoder, merges).to_str(), encoding="utf-8")
        num_lines = sum(1 for _ in read_lines(dictionary))
        if num_lines != GPT2_DICTIONARY_LINES:
            raise UserError(
                f"{dictionary} has {num_lines} lines where GPT-2's dictionary has {GPT2_DICTIONARY_LINES}: "
                "a checkpoint trained with the published one would read it wrongly; fetch dict.txt again"
            )


def dictionary_lines(counts: np.ndarray) -> list[str]:
    """Return the lines of the dictionary that fairseq's preprocess makes of text with so many of each id.

    `counts` has shape (num_symbols,). Symbols are the ids written as text, the most frequent first, equal ones in the
    order of their text; fillers make the dictionary's size a multiple of 8. Ids that the text does not hold are left
    out, as fairseq does.
    """
    found = [(str(index), int(count)) for index, count in enumerate(counts) if count]
    symbols = sorted(found, key=lambda item: (-item[1], item[0]))
    fillers = -(NUM_SPECIALS + len(symbols)) % 8
    return [f"{symbol} {count}" for symbol, count in symbols] + [f"madeupword{index:04d} 0" for index in range(fillers)]


def encode_file(text: Path, output_dir: Path, *, vocabulary: Path, workers: int) -> int:
    """Encode a text file of any size, many processes at a time; `\\n` alone ends a line.

    Returns:
        The number of lines.

    Raises:
        UserError: if the text is missing or not UTF-8 (with the byte offset).
    """
    global _encoder
    _encoder = Encoder(vocabulary)  # the workers are forked and find it loaded
    parcels = list(enumerate(_parcels(text, workers)))
    started = logged = time.monotonic()
    num_lines = num_ids = 0
    with atomic_directory(output_dir) as folder:
        # fresh processes each round: what the encoder remembers goes with them
        for first in range(0, len(parcels), workers):
            jobs = parcels[first : first + workers]
            with ProcessPoolExecutor(len(jobs), mp_context=multiprocessing.get_context("fork")) as pool:
                futures = [pool.submit(_encode_parcel, text, folder, number, *span) for number, span in jobs]
                try:
                    for future in futures:
                        lines, ids = future.result()
                        num_lines, num_ids = num_lines + lines, num_ids + ids
                except BrokenProcessPool as error:
                    raise UserError(
                        f"a process that encoded {text} was killed, most likely for want of memory; "
                        "give the job more memory or fewer threads"
                    ) from error
            if time.monotonic() - logged > _SECONDS_BETWEEN_LOGS:
                logged = time.monotonic()
                logger.info("%s: %d of %d MB encoded", text, jobs[-1][1][1] >> 20, parcels[-1][1][1] >> 20)
    seconds = time.monotonic() - started
    logger.info("%s: %d lines, %d BPE ids, %.1f s", text, num_lines, num_ids - num_lines, seconds)
    return num_lines


def encode_lines(encoder: Encoder, lines: Iterable[str], output_dir: Path) -> int:
    """Encode lines in this process, for text of a modest size; returns the number of lines."""
    block: list[str] = []
    arrays, num_lines, num_chars = [], 0, 0
    for line in lines:
        block.append(line)
        num_lines += 1
        num_chars += len(line)
        if num_chars >= BLOCK_BYTES:
            arrays.append(encoder.encode(block))
            block, num_chars = [], 0
    arrays.append(encoder.encode(block))
    with atomic_directory(output_dir) as folder:
        np.save(folder / "00000.npy", np.concatenate(arrays))
    return num_lines


def encode_task(prepared: Path, output_dir: Path, *, vocabulary: Path) -> None:
    """Encode the sentences of a prepared task: `SPLIT/sentence1`, `SPLIT/sentence2`, ..., each an encoded text."""
    encoder = Encoder(vocabulary)
    with atomic_directory(output_dir) as folder:
        for path in sorted(prepared.glob("*.tsv")):
            columns = zip(*(example.sentences for example in read_prepared(path)), strict=True)
            for number, sentences in enumerate(columns, start=1):
                num_lines = encode_lines(encoder, sentences, folder / path.stem / f"sentence{number}")
                logger.info("%s, sentence%d: %d lines", path, number, num_lines)


def read_encoded(folder: Path) -> Iterator[np.ndarray]:
    """Yield the arrays of an encoded text in order, each of whole lines."""
    for path in sorted(folder.glob("*.npy")):
        yield np.load(path)


def count_symbols(folder: Path, num_symbols: int) -> np.ndarray:
    """Return how often each BPE id occurs in an encoded text, shape (num_symbols,)."""
    counts = np.zeros(num_symbols, np.int64)
    for ids in read_encoded(folder):
        counts += np.bincount(ids, minlength=num_symbols)
    return counts


_encoder: Encoder  # what `encode_file` encodes with, in this process and in those that it forks


def _parcels(text: Path, workers: int) -> list[tuple[int, int]]:
    """Cut a file into spans of bytes, whole lines each, at least one."""
    try:
        size = text.stat().st_size
    except FileNotFoundError as error:
        raise UserError(f"{text} is not there: run the step that makes it, or mend the path") from error
    rounds = max(1, -(-size // (PARCEL_BYTES * workers)))
    ends = []
    with open(text, "rb") as handle:
        for number in range(1, rounds * workers):
            handle.seek(size * number // (rounds * workers))
            handle.readline()
            ends.append(handle.tell())
    edges = sorted({0, *ends, size})
    return list(itertools.pairwise(edges)) or [(0, 0)]


def _encode_parcel(text: Path, folder: Path, number: int, start: int, end: int) -> tuple[int, int]:
    """Encode a span of a file into one array; returns its lines and ids."""
    arrays, num_lines = [], 0
    for offset, chunk in read_chunks(text, start=start, end=end, chunk_bytes=BLOCK_BYTES):
        lines = split_lines(decode(chunk, path=text, offset=offset))
        arrays.append(_encoder.encode(lines))
        num_lines += len(lines)
    ids = np.concatenate(arrays) if arrays else np.empty(0, _encoder.dtype)
    np.save(folder / f"{number:05d}.npy", ids)
    return num_lines, len(ids)
