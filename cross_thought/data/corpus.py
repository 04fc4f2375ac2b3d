"""Pre-training text: one sentence or paragraph a line, one empty line between documents, whatever it came from."""

import logging
import math
import struct
import tempfile
import time
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any

from cross_thought.data.documents import Passed, TextFile, find_files, read_documents
from cross_thought.data.raw_files import DOWNLOADS_DIR, own_or_download
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, write_json

logger = logging.getLogger(__name__)

CORPUS_SPLITS = ("train", "valid", "test")

_LONGEST_WRAPPED_LINE = 100  # characters; books are wrapped at some 70
_ENDS = (*".?!:;\"')]’”»…。！？；：」』।", "--")
_SECONDS_BETWEEN_LOGS = 10
_WIKIPEDIA = "wikipedia/20231101.en.txt"


def corpus_files(corpus: Mapping[str, Any], *, data_dir: str | None) -> dict[str, list[TextFile]]:
    """Return the text files of the config's `corpus`: of "train", and of "valid" and "test" where there are any.

    One's own files below `data_dir` go before downloads.
    """
    source = corpus["source"]
    if source == "files":
        files = corpus["files"]
        return {
            split: [
                TextFile(path=path, **{key: corpus[key] for key in ("format", "lines", "text_field")})
                for path in find_files(files.get(split) or (), key=f"corpus.files.{split}")
            ]
            for split in ("train", "valid", *(["test"] if "test" in files else []))
        }
    if source == "demo":
        return {"train": [TextFile(path=f"{DOWNLOADS_DIR}/demo/corpus.txt")]}
    if source == "captions":
        names = {"train": "train", "valid": "dev", "test": "test"}
        return {split: [TextFile(path=f"{DOWNLOADS_DIR}/captions/corpus/{names[split]}.txt")] for split in names}
    if source == "wikipedia":
        return {"train": [TextFile(path=own_or_download(_WIKIPEDIA, data_dir=data_dir))]}
    if source not in ("wikitext-2", "wikitext-103"):
        raise NotImplementedError(f"corpus.source {source!r}: say here which files it has")
    # WikiText: own files of both splits in one of the forms in which they are found, else the archive
    for pattern in (f"{source}-raw/wiki.{{}}.raw", "wikitext/wiki.{}.raw", "wikitext/wiki.{}.tokens"):
        own = {split: Path(data_dir or "", pattern.format(split)) for split in ("train", "valid")}
        if data_dir is not None and all(path.is_file() for path in own.values()):
            return {split: [TextFile(path=str(path), format="wikitext")] for split, path in own.items()}
    archive = own_or_download(f"wikitext/{source}-raw-v1.zip", data_dir=data_dir)
    return {
        split: [TextFile(path=archive, member=f"{source}-raw/wiki.{split}.raw", format="wikitext")]
        for split in ("train", "valid")
    }


def prepare_corpus(
    sources: Mapping[str, Iterable[TextFile]], output_dir: Path, *, valid_fraction: float
) -> dict[str, int]:
    """Write `train.txt`, `valid.txt` and, where the corpus has a test part, `test.txt`.

    Without text of its own, valid gets whole documents out of train's: `valid_fraction` of them, in 0..1, evenly
    spaced. Which ones depends on nothing else, and a corpus of any size passes through once. `summary.json` beside them
    says in numbers what was taken for documents and sentences, and how many documents that are held out train has, too.

    Returns:
        The number of documents in each of these.

    Raises:
        UserError: if one of them gets no document, or as `read_documents`.
    """
    train_sources, valid_sources, test_sources = (list(sources.get(split, ())) for split in CORPUS_SPLITS)
    passed = Passed()
    with atomic_directory(output_dir) as folder, ExitStack() as files:

        def writer(split: str) -> _DocumentWriter:
            path = folder / f"{split}.txt"
            return _DocumentWriter(
                files.enter_context(path.open("w", encoding="utf-8", newline="\n")),
                files.enter_context(tempfile.TemporaryFile(dir=folder)),
            )

        writers = {split: writer(split) for split in CORPUS_SPLITS if split != "test" or test_sources}
        train, valid = writers["train"], writers["valid"]
        seen, logged = 0, time.monotonic()
        for source in train_sources:
            for document in read_documents(source, passed):
                held_out = math.floor((seen + 1) * valid_fraction) > math.floor(seen * valid_fraction)
                (valid if held_out and not valid_sources else train).write(document)
                seen += 1
                if time.monotonic() - logged > _SECONDS_BETWEEN_LOGS:
                    logged = time.monotonic()
                    logger.info("%s: %d documents so far", source.path, seen)
        for split, given in (("valid", valid_sources), ("test", test_sources)):
            for source in given:
                for document in read_documents(source, passed):
                    writers[split].write(document)
        if not train.num_documents:
            raise UserError("the corpus has no document to train on: give a filled text file in corpus.files.train")
        if not valid.num_documents:
            raise UserError(
                f"the corpus has no document to validate on: {seen} in all, corpus.valid_fraction {valid_fraction}; "
                "separate documents by empty lines, raise valid_fraction, or give corpus.files.valid"
            )
        if test_sources and not writers["test"].num_documents:
            raise UserError("corpus.files.test has no document: give a filled text file, or leave test out")
        summary = _summarize(writers, passed, lines=train_sources[0].lines)
        summary["valid_fraction"] = None if valid_sources else valid_fraction
        write_json(folder / "summary.json", summary)
    for split, text in writers.items():
        logger.info("%s: %d documents, %d lines, %d words", split, text.num_documents, text.num_lines, text.num_words)
        if in_train := summary.get(f"{split}_documents_in_train"):
            logger.warning("%s: %d of %d documents stand in train, too", split, in_train, text.num_documents)
    for name, value in summary.items():
        if not name.startswith(tuple(f"{split}_" for split in writers)):
            logger.info("%s: %s", name.replace("_", " "), value)
    return {split: text.num_documents for split, text in writers.items()}


def _count_in_train(writers: Mapping[str, "_DocumentWriter"]) -> dict[str, int]:
    """Return of each split that is held out how many of its documents train has, too, if any.

    In memory are the hashes of that split alone.
    """
    found = {}
    for split, writer in writers.items():
        if split != "train":
            held_out = Counter(chain.from_iterable(writer.hashes()))
            common: set[int] = set()
            for block in writers["train"].hashes():
                common |= held_out.keys() & block
            found[split] = sum(held_out[number] for number in common)
    return {f"{split}_documents_in_train": number for split, number in found.items() if number}


def _summarize(writers: Mapping[str, "_DocumentWriter"], passed: Passed, *, lines: str) -> dict[str, Any]:
    """Return what was taken for documents and sentences: keys for people, each with a number or a sentence."""
    parts = writers.values()
    documents, sentences = sum(writer.num_documents for writer in parts), sum(writer.num_lines for writer in parts)
    words, single = sum(writer.num_words for writer in parts), sum(writer.num_single for writer in parts)
    longest = max(writer.longest_line for writer in parts)
    notes = []
    unfinished, inner = sum(writer.num_unfinished for writer in parts), sentences - documents
    if lines == "sentences" and inner and unfinished > inner / 2 and longest <= _LONGEST_WRAPPED_LINE:
        notes.append(
            f"{unfinished} of {inner} lines that another follows end without a full stop, and none has more than "
            f"{longest} characters: if this is text wrapped at a width, set corpus.lines to wrapped"
        )
    if single > documents / 2:
        notes.append(
            f"{single} of {documents} documents have one sentence, so no other sentence helps to guess its words: "
            "let empty lines separate documents only"
        )
    return {
        "files": len(passed.files),
        "documents": documents,
        "sentences": sentences,
        "words": words,
        "sentences_per_document": round(sentences / documents, 2),
        "words_per_sentence": round(words / sentences, 2),
        "longest_sentence_characters": longest,
        "documents_of_one_sentence": single,
        **{
            f"{split}_{unit}": number
            for split, writer in writers.items()
            for unit, number in (
                ("documents", writer.num_documents),
                ("sentences", writer.num_lines),
                ("words", writer.num_words),
            )
        },
        **_count_in_train(writers),
        "empty_lines": passed.empty_lines,
        "empty_records": passed.empty_records,
        "notes": "; ".join(notes),
    }


class _DocumentWriter:
    """Writes documents with one empty line between them, and counts what they consist of.

    Args:
        handle: to write to.
        hashes: a file for a number of each document, equal for equal ones in this process.
    """

    def __init__(self, handle: IO[str], hashes: IO[bytes]) -> None:
        self._handle = handle
        self._hashes = hashes
        self.num_documents = 0
        self.num_lines = 0
        self.num_words = 0  # between white space
        self.num_single = 0  # documents of one line
        self.num_unfinished = 0  # lines that another follows in their document, and that end without a full stop
        self.longest_line = 0  # characters

    def write(self, document: list[str]) -> None:
        if self.num_documents:
            self._handle.write("\n")
        text = "\n".join(document) + "\n"
        self._handle.write(text)
        self._hashes.write(struct.pack("q", hash(text)))
        self.num_documents += 1
        self.num_lines += len(document)
        self.num_words += sum(len(line.split()) for line in document)
        self.num_single += len(document) == 1
        self.num_unfinished += sum(not line.endswith(_ENDS) for line in document[:-1])
        self.longest_line = max(self.longest_line, *map(len, document))

    def hashes(self) -> Iterator["array[int]"]:
        """Yield the numbers of all documents, some at a time."""
        self._hashes.seek(0)
        while block := self._hashes.read(1 << 20):
            yield array("q", block)
