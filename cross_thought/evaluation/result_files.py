"""Reading what a job made: a file that is missing or spoilt is said to be so in one sentence."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cross_thought.errors import UserError

# what reads JSON files into documents
Read = Callable[[Iterable[Path | str]], list[dict[str, Any]]]


@contextmanager
def result_file(path: Path | str, kind: str) -> Iterator[None]:
    """Read a file in this block, in which a missing key or a wrong value means that it is no file of its `kind`.

    Raises:
        UserError: if the file is missing, or spoilt.
    """
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `snakemake {path}` to make it") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is no {kind} ({error}): delete it and run `snakemake {path}`") from None


def read_json(path: Path | str) -> Any:
    """Read a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_json_lines(path: Path | str) -> list[Any]:
    """Read a file of a JSON value a line."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def read_documents(paths: Iterable[Path | str], kind: str, *, keys: Iterable[str]) -> list[dict[str, Any]]:
    """Read JSON files that all have these keys; a UserError says that one is missing, or is no file of that kind."""
    documents = []
    for path in paths:
        with result_file(path, kind):
            documents.append(read_json(path))
            for key in keys:
                documents[-1][key]
    return documents
