"""Pre-training text: plain files, one sentence or paragraph a line, one empty line between documents."""

import logging
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cross_thought.data.raw_files import own_or_download
from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, read_lines

logger = logging.getLogger(__name__)

# ` = Title = ` starts an article; ` = = Section = = ` does not
_WIKITEXT_TITLE = re.compile(r"^ = (?!= ).*(?<! =) = $")
_SECONDS_BETWEEN_LOGS = 10
_WIKIPEDIA = "wikipedia/20231101.en.txt"


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A source of pre-training text.

    Attributes:
        path: a UTF-8 text file, or a zip archive.
        member: the file inside the archive.
        format: "plain" (empty lines between documents) or "wikitext" (a title line starts a document).
    """

    path: str
    member: str | None = None
    format: str = "plain"


def corpus_files(
    corpus: Mapping[str, Any], *, data_dir: str | None, downloads_dir: str = "results/downloads"
) -> dict[str, list[TextFile]]:
    """Return the text files of the configured corpus: those of "train", and of "valid" where the source has any.

    Args:
        corpus: that part of the config: `source`, `files`, `format`.
        data_dir: folder of one's own files, which go before downloads.
        downloads_dir: folder of the downloads.
    """
    source = corpus["source"]
    if source == "files":
        files = corpus["files"]
        return {
            split: [TextFile(path=path, format=corpus["format"]) for path in files.get(split) or ()]
            for split in ("train", "valid")
        }
    if source == "demo":
        return {"train": [TextFile(path=f"{downloads_dir}/demo/corpus.txt")], "valid": []}
    if source == "wikipedia":
        return {
            "train": [TextFile(path=own_or_download(_WIKIPEDIA, data_dir=data_dir, downloads_dir=downloads_dir))],
            "valid": [],
        }
    # WikiText: own files of both splits in one of the forms in which they are found, else the archive
    for pattern in (f"{source}-raw/wiki.{{}}.raw", "wikitext/wiki.{}.raw", "wikitext/wiki.{}.tokens"):
        own = {split: Path(data_dir or "", pattern.format(split)) for split in ("train", "valid")}
        if data_dir is not None and all(path.is_file() for path in own.values()):
            return {split: [TextFile(path=str(path), format="wikitext")] for split, path in own.items()}
    archive = own_or_download(f"wikitext/{source}-raw-v1.zip", data_dir=data_dir, downloads_dir=downloads_dir)
    return {
        split: [TextFile(path=archive, member=f"{source}-raw/wiki.{split}.raw", format="wikitext")]
        for split in ("train", "valid")
    }


def read_documents(source: TextFile) -> Iterator[list[str]]:
    """Yield the documents of a text file as lists of stripped, non-empty lines.

    In WikiText, empty lines separate nothing; titles and section headings are kept as lines.

    Raises:
        UserError: if the file is missing, is not UTF-8 (with the byte offset), or its format is unknown.
    """
    if source.format not in ("plain", "wikitext"):
        raise UserError(f"corpus.format is {source.format!r}: choose plain or wikitext")
    is_wikitext = source.format == "wikitext"
    document: list[str] = []
    previous_empty = True
    for line in read_lines(Path(source.path), member=source.member):
        text = line.strip()
        while text.startswith("\ufeff"):  # the byte order mark of a file that was appended to another
            text = text[1:].strip()
        starts_document = is_wikitext and previous_empty and _WIKITEXT_TITLE.match(line) is not None
        if document and (starts_document or (not text and not is_wikitext)):
            yield document
            document = []
        if text:
            document.append(text)
        previous_empty = not text
    if document:
        yield document


def prepare_corpus(
    sources: Mapping[str, Iterable[TextFile]], output_dir: Path, *, valid_fraction: float
) -> dict[str, int]:
    """Write `train.txt` and `valid.txt`; without text of its own, valid gets whole documents out of train's.

    Documents held out are evenly spaced: which ones depends on nothing but `valid_fraction`, and a corpus of any size
    passes through once.

    Args:
        sources: text files of "train" and "valid"; none of "valid": hold out documents.
        output_dir: folder to write; appears when both files are written.
        valid_fraction: share of the documents held out, in 0..1; not used where valid has files.

    Returns:
        The number of documents in "train" and "valid".

    Raises:
        UserError: if train or valid gets no document, or as `read_documents`.
    """
    valid_sources = list(sources["valid"])
    with (
        atomic_directory(output_dir) as folder,
        open(folder / "train.txt", "w", encoding="utf-8", newline="\n") as train_file,
        open(folder / "valid.txt", "w", encoding="utf-8", newline="\n") as valid_file,
    ):
        train, valid = _DocumentWriter(train_file), _DocumentWriter(valid_file)
        seen, logged = 0, time.monotonic()
        for source in sources["train"]:
            for document in read_documents(source):
                held_out = math.floor((seen + 1) * valid_fraction) > math.floor(seen * valid_fraction)
                (valid if held_out and not valid_sources else train).write(document)
                seen += 1
                if time.monotonic() - logged > _SECONDS_BETWEEN_LOGS:
                    logged = time.monotonic()
                    logger.info("%s: %d documents so far", source.path, seen)
        for source in valid_sources:
            for document in read_documents(source):
                valid.write(document)
        if not train.num_documents:
            raise UserError("the corpus has no document to train on: give a filled text file in corpus.files.train")
        if not valid.num_documents:
            raise UserError(
                f"the corpus has no document to validate on: {seen} in all, corpus.valid_fraction {valid_fraction}; "
                "separate documents by empty lines, raise valid_fraction, or give corpus.files.valid"
            )
    for split, writer in (("train", train), ("valid", valid)):
        logger.info("%s: %d documents, %d lines", split, writer.num_documents, writer.num_lines)
    return {"train": train.num_documents, "valid": valid.num_documents}


class _DocumentWriter:
    """Writes documents with one empty line between them."""

    def __init__(self, handle: IO[str]) -> None:
        self._handle = handle
        self.num_documents = 0
        self.num_lines = 0

    def write(self, document: list[str]) -> None:
        if self.num_documents:
            self._handle.write("\n")
        self._handle.write("\n".join(document) + "\n")
        self.num_documents += 1
        self.num_lines += len(document)
