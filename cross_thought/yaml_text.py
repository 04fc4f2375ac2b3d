"""What users write as YAML or JSON: files of keys and values, and values given on the command line."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from cross_thought.errors import UserError, shown


def read_shipped_yaml(path: Path) -> Any:
    """Return what a YAML file of the repository says; read by libyaml, in a tenth of the time, where it is there."""
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_yaml(path: Path) -> dict:
    """Read a YAML file of keys and values; as JSON, if it is that, as Snakemake does: to YAML, 1e-5 is a text.

    Raises:
        UserError: if it cannot be read, is no such file, or a key stands twice, of which either would take the last.
    """
    file = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        bad = error.object[error.start]
        raise UserError(f"{file}, line {line}: byte 0x{bad:02x} is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}); give a YAML file that is there") from None
    with suppress(ValueError, RecursionError):
        return _mapping(json.loads(text, object_pairs_hook=partial(json_object, place=file)), file)
    try:
        loader = yaml.SafeLoader(text)  # not libyaml's: it says less clearly what is wrong
        node = loader.get_single_node()
        _refuse_double_keys(node, file, set())
        content = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:  # a date of month 13, nested too deep
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        place = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
        raise UserError(f"{file}{place} is not YAML ({_one_line(problem)}); mend it") from None
    return _mapping(content, file)


def _mapping(content: Any, file: str) -> dict:
    """Return what a file says if it is keys with values."""
    if not isinstance(content, dict):
        raise UserError(f"{file} has no keys with values; write `KEY: VALUE` lines as in config.yaml")
    return content


def json_object(pairs: list[tuple[str, Any]], *, place: str) -> dict[str, Any]:
    """Return an object of JSON, for an `object_pairs_hook`.

    Raises:
        UserError: naming the place, if a key stands twice: JSON's readers take the last one in silence.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{place}: the key {twice!r} stands twice; leave one")
    return found


def _refuse_double_keys(node: yaml.Node | None, file: str, seen: set[int]) -> None:
    """Refuse a key that stands twice in a mapping, at any depth; `seen` are nodes done, for aliases lead in circles."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_double_keys(child, file, seen)
    elif isinstance(node, yaml.MappingNode):
        keys: set[tuple[str, str]] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in keys:
                    line = key.start_mark.line + 1
                    raise UserError(f"{file}, line {line}: key {shown(key.value)} stands twice in one place; keep one")
                keys.add((key.tag, key.value))
            _refuse_double_keys(value, file, seen)


def _one_line(text: object) -> str:
    """Return a text of any origin as one line."""
    return " ".join(str(text).split())


def listed(given: str | Sequence[str]) -> list[str]:
    """Return what may be one text or a list of them as a list."""
    return [given] if isinstance(given, str) else list(given)


def as_in_a_file(value: Any, given: object) -> Any:
    """Return a value with what was given on the command line as a file's YAML has it: 1, true, null are no text."""
    if isinstance(value, dict) and isinstance(given, Mapping):
        return {key: as_in_a_file(entry, given[key]) if key in given else entry for key, entry in value.items()}
    if value != given:  # a file's, or that of a workflow which this one is a module of
        return value
    if isinstance(value, list):
        return [as_in_a_file(entry, entry) for entry in value]
    if isinstance(value, str):
        with suppress(yaml.YAMLError, ValueError):
            read = yaml.safe_load(value)
            return read if read is None or isinstance(read, bool | int | float) else value
    return value
