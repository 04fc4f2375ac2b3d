"""Pre-training text: plain files, one sentence or paragraph a line, one empty line between documents."""

import logging
import math
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cross_thought.errors import UserError
from cross_thought.text.files import atomic_file, read_lines

logger = logging.getLogger(__name__)

# ` = Title = ` starts an article; ` = = Section = = ` does not
_WIKITEXT_TITLE = re.compile(r"^ = (?!= ).*(?<! =) = $")
_LOG_EVERY = 1_000_000


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
    *,
    train_sources: Iterable[TextFile],
    valid_sources: Iterable[TextFile],
    train_path: Path,
    valid_path: Path,
    valid_fraction: float,
) -> dict[str, int]:
    """Write train and valid text; without text of its own, valid gets whole documents out of train's.

    Documents held out are evenly spaced: which ones depends on nothing but `valid_fraction`, and a corpus of any size
    passes through once.

    Args:
        train_sources: text to train on.
        valid_sources: text to validate on; empty: hold out documents.
        train_path: file to write.
        valid_path: file to write.
        valid_fraction: share of the documents held out, in 0..1; not used with `valid_sources`.

    Returns:
        The number of documents in "train" and "valid".

    Raises:
        UserError: if train or valid gets no document, or as `read_documents`.
    """
    valid_sources = list(valid_sources)
    with ExitStack() as stack:
        writers = {}
        for split, path in (("train", train_path), ("valid", valid_path)):
            partial = stack.enter_context(atomic_file(path))
            writers[split] = _DocumentWriter(split, stack.enter_context(open(partial, "w", encoding="utf-8", newline="\n")))
        seen = 0
        for source in train_sources:
            for document in read_documents(source):
                held_out = not valid_sources and math.floor((seen + 1) * valid_fraction) > math.floor(seen * valid_fraction)
                writers["valid" if held_out else "train"].write(document)
                seen += 1
        for source in valid_sources:
            for document in read_documents(source):
                writers["valid"].write(document)
        counts = {split: writer.num_documents for split, writer in writers.items()}
        for split, writer in writers.items():
            logger.info("%s: %d documents, %d lines", split, writer.num_documents, writer.num_lines)
        if not counts["train"]:
            raise UserError("the corpus has no document to train on: give a filled text file in corpus.files.train")
        if not counts["valid"]:
            raise UserError(
                f"the corpus has no document to validate on: {seen} documents with corpus.valid_fraction {valid_fraction}; "
                "separate documents by empty lines, raise valid_fraction, or give corpus.files.valid"
            )
    return counts


class _DocumentWriter:
    """Writes documents with one empty line between them."""

    def __init__(self, name: str, handle: object) -> None:
        self.name = name
        self.handle = handle
        self.num_documents = 0
        self.num_lines = 0

    def write(self, document: list[str]) -> None:
        if self.num_documents:
            self.handle.write("\n")
        self.handle.write("\n".join(document) + "\n")
        self.num_documents += 1
        self.num_lines += len(document)
        if self.num_documents % _LOG_EVERY == 0:
            logger.info("%s: %d documents so far", self.name, self.num_documents)
