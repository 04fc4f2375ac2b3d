"""Documents out of text as people have it: plain, hard-wrapped, WikiText, JSON lines; packed by gzip or not."""

import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cross_thought.errors import UserError, shown
from cross_thought.files import read_lines, refuse_returns
from cross_thought.yaml_text import json_object

# ` = Title = ` starts an article; ` = = Section = = ` does not
_WIKITEXT_TITLE = re.compile(r"^ = (?!= ).*(?<! =) = $")
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_NO_TEXT = (
    *(".zip", ".tar", ".tgz", ".bz2", ".xz", ".zst", ".parquet", ".arrow", ".csv", ".tsv"),
    *(".pdf", ".docx", ".epub"),
)


@dataclass(frozen=True, kw_only=True)
class TextFile:
    """A source of pre-training text.

    Attributes:
        path: a UTF-8 text file, which gzip may have packed, or a zip archive.
        member: the file inside the archive.
        format: "plain" (empty lines between documents) or "wikitext" (a title line starts a document); files that end
            in .jsonl, .ndjson or .json are JSON lines, a document each.
        lines: "sentences" (a line is one sentence or paragraph) or "wrapped" (an empty line ends a paragraph).
        text_field: of JSON lines, the key that holds the text.
    """

    path: str
    member: str | None = None
    format: str = "plain"
    lines: str = "sentences"
    text_field: str = "text"

    @property
    def is_json_lines(self) -> bool:
        """Whether each line is a JSON object."""
        return self.member is None and _ends_in(self.path, _JSON_LINES)


@dataclass
class Passed:
    """What stood in the files and is in no document: counts that grow while documents are read."""

    empty_lines: int = 0
    empty_records: int = 0
    files: set[str] = field(default_factory=set)


def matching_files(path: str, *, key: str) -> list[str]:
    """Return the files that a pattern (`*`, `**`) matches, by name; a path that is none, or is there, as it is.

    Raises:
        UserError: if the pattern, which stands under `key` of the config, matches no file.
    """
    if not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = sorted(filter(os.path.isfile, glob.glob(path, recursive=True)))
    if not found:
        raise UserError(f"config: {key} is {shown(path)}, which matches no file; correct the pattern")
    return found


def none_twice(paths: Iterable[str]) -> list[str]:
    """Return paths in their order, of those that lead to one file the first."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def find_files(given: Iterable[str], *, key: str) -> list[str]:
    """Return the files that paths stand for: a file, the files in a folder, or what a pattern (`*`, `**`) matches.

    They are in the order of the text, none twice; `key` is the config's, for messages.

    Raises:
        UserError: if a path leads to no file, or a folder has folders in it.
    """
    found: list[str] = []
    for path in given:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
            files = [os.path.join(path, name) for name in names]
            if folder := next(filter(os.path.isdir, files), None):
                raise UserError(
                    f"config: {key} is {path!r}, which has a folder in it, {folder!r}; say which files are meant by a "
                    f"pattern such as {os.path.join(path, '**', '*.txt')!r}"
                )
            if not files:
                raise UserError(f"config: {key} is {path!r}, which is an empty folder; correct the path")
        else:
            files = matching_files(path, key=key)
        for file in files:
            if _ends_in(file, _NO_TEXT):
                raise UserError(
                    f"config: {key} has {file!r}, which is no text: give plain text or JSON lines, plain or in gzip"
                )
        found += files
    return none_twice(found)


def _ends_in(path: str, endings: tuple[str, ...]) -> bool:
    """Whether a file's name ends in one of these, packed by gzip or not."""
    return path.lower().removesuffix(".gz").endswith(endings)


def check_sentences(path: Path) -> None:
    """Refuse, by its name, a file that does not have a sentence a line: a table, JSON, an archive."""
    if _ends_in(path.name, (*_NO_TEXT, *_JSON_LINES)):
        raise UserError(f"{path} is no plain text by its name: write its sentences to a text file, one a line")


def check_corpus(corpus: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the files of one's own, of "train", "valid" and "test", of the config's `corpus`, before any is read.

    Raises:
        UserError: if files are not there, or both trained on and held out, or what is said of them is not heeded.
    """
    given = corpus["files"] or {}
    found = {split: find_files(files, key=f"corpus.files.{split}") for split, files in given.items()}
    of_own_text = {"files": None, "lines": "sentences", "format": "plain", "text_field": "text"}
    for key, unset in of_own_text.items():
        if corpus["source"] != "files" and (corpus[key] or unset) != unset:
            raise UserError(
                f"config: corpus.{key} is {shown(corpus[key])}, and is of own text alone, but corpus.source is "
                f"{corpus['source']!r}; set source to files, or {key} to {'null' if unset is None else unset}"
            )
    if corpus["format"] == "wikitext" and corpus["lines"] == "wrapped":
        raise UserError("config: corpus.lines is 'wrapped', but WikiText is not; set lines to sentences")
    json_lines = [path for files in found.values() for path in files if TextFile(path=path).is_json_lines]
    if corpus["format"] == "wikitext" and json_lines:
        raise UserError(f"config: corpus.format is 'wikitext', but {json_lines[0]!r} is JSON lines; set it to plain")
    trained_on = set(map(os.path.realpath, found.get("train", ())))
    for split in ("valid", "test"):
        for path in found.get(split, ()):
            if os.path.realpath(path) in trained_on:
                raise UserError(f"config: {path!r} is in corpus.files.train and in {split}; list it under one of them")
    return found


def read_documents(source: TextFile, passed: Passed | None = None) -> Iterator[list[str]]:
    """Yield the documents of a text file as lists of stripped, non-empty lines; `passed` counts what is left out.

    In plain text, an empty line ends a document; where lines are wrapped, one empty line ends a paragraph, which
    becomes one line, and two or more end a document. In WikiText, empty lines separate nothing; titles and section
    headings are kept as lines. A JSON line is a document.

    Raises:
        UserError: if the file is missing, is not UTF-8 (with the byte offset), or damaged, its lines end in `\\r`
            alone, a JSON line has no text (with its number), or its format is unknown.
    """
    if source.format not in ("plain", "wikitext"):
        raise UserError(f"corpus.format is {source.format!r}: choose plain or wikitext")
    passed = Passed() if passed is None else passed
    passed.files.add(source.path)
    if source.is_json_lines:
        yield from _read_json_lines(source, passed)
        return
    lines = _counted_lines(source)
    if source.format == "wikitext":
        yield from _split_wikitext(lines, passed)
    else:
        texts = (_strip(line, passed) for line in lines)
        yield from _split_plain(_unwrapped(texts) if source.lines == "wrapped" else texts)


def _counted_lines(source: TextFile) -> Iterator[str]:
    """Yield the lines of a file, and refuse at its end one in which `\\r` alone ends most lines."""
    num_lines = num_returns = 0
    for line in read_lines(Path(source.path), member=source.member):
        num_lines += 1
        if "\r" in line:
            num_returns += line.strip().count("\r")
        yield line
    if num_returns > num_lines:
        refuse_returns(source.path, num_returns=num_returns, num_lines=num_lines)


def _strip(line: str, passed: Passed) -> str:
    """Return a line without the space around it, and without byte order marks of a file appended to another."""
    text = line.strip()
    while text.startswith("\ufeff"):
        text = text[1:].strip()
    passed.empty_lines += not text
    return text


def _unwrapped(texts: Iterable[str]) -> Iterator[str]:
    """Yield each paragraph in one line; an empty line where two or more stood."""
    paragraph: list[str] = []
    num_empty = 0
    for text in texts:
        if not text:
            num_empty += 1
            continue
        if num_empty and paragraph:
            yield " ".join(paragraph)
            paragraph = []
            if num_empty > 1:
                yield ""
        num_empty = 0
        paragraph.append(text)
    if paragraph:
        yield " ".join(paragraph)


def _split_plain(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the lines between empty ones."""
    document: list[str] = []
    for text in texts:
        if text:
            document.append(text)
        elif document:
            yield document
            document = []
    if document:
        yield document


def _split_wikitext(lines: Iterable[str], passed: Passed) -> Iterator[list[str]]:
    """Yield the articles, which start with a title after an empty line."""
    document: list[str] = []
    previous_empty = True
    for line in lines:
        text = _strip(line, passed)
        if document and previous_empty and _WIKITEXT_TITLE.match(line) is not None:
            yield document
            document = []
        if text:
            document.append(text)
        previous_empty = not text
    if document:
        yield document


def _read_json_lines(source: TextFile, passed: Passed) -> Iterator[list[str]]:
    """Yield the text of each JSON object."""
    arrange: Callable[[Iterable[str]], Iterable[str]] = _unwrapped if source.lines == "wrapped" else iter
    for number, line in enumerate(read_lines(Path(source.path)), start=1):
        if not line.strip("\ufeff \t\r"):
            passed.empty_lines += 1
            continue
        text = _text_of(line, f"{source.path}, line {number}", source.text_field)
        document = [part for part in arrange(_strip(part, passed) for part in text.split("\n")) if part]
        if document:
            yield document
        else:
            passed.empty_records += 1


def _text_of(line: str, place: str, text_field: str) -> str:
    """Return the text of a JSON object.

    Raises:
        UserError: if there is none.
    """
    try:
        record = json.loads(line.strip("\ufeff"), object_pairs_hook=partial(json_object, place=place))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, json.JSONDecodeError):
            reason = f"column {error.colno}: {error.msg}"
        raise UserError(f"{place}: no JSON ({reason}); each line of this file must be a JSON object") from error
    if not isinstance(record, dict):
        raise UserError(f"{place}: a JSON {type(record).__name__} instead of an object with the field {text_field!r}")
    if text_field not in record:
        names = ", ".join(map(str, list(record)[:10])) or "none"
        raise UserError(f"{place}: no field {text_field!r} among {names}; name the text's in corpus.text_field")
    text = record[text_field]
    if not isinstance(text, str):
        raise UserError(
            f"{place}: the field {text_field!r} holds {json.dumps(text)[:40]} instead of text; mend or remove that line"
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise UserError(f"{place}: \\u{code:04x} is half a character (a lone surrogate); mend that line") from error
    return text
