"""What results depend on besides settings: the code behind a script, wherever it stands, and what is in raw files.

Snakemake plans a job anew when one of its `params` changes. These hashes are such: they go by content, so a file that
was touched, or pulled and is the same, changes nothing. Needs the standard library only.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from cross_thought.environment import REPOSITORY

_PACKAGE = Path(__file__).parent.name
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 20
# the workflow: what lies beside its Snakefile, and in folders
_TOP_FILES = ("Snakefile", "config.yaml", "requirements.txt", "pyproject.toml", "README.md", "LICENSE", "CITATION.cff")
_FOLDERS = (
    "config", "cross_thought", "envs", "profiles", "report", "resources", "rules", "schemas", "workflow_scripts",
)  # fmt: skip


def code_hash(script: Path, *others: Path) -> str:
    """Return a hash of a script, of the package's modules that it reaches, and of the files that belong to these.

    Modules are reached through imports by full names, inside functions too. To a module belong the files beside it that
    are no Python, such as templates, and those of resources/ that it names.
    """
    return _hash_of((path.name, path) for path in [*sorted(_reached(script)), *others])


def workflow_files(repository: Path) -> list[Path]:
    """Return the files that a run is made by: rules, scripts, the package, configs, environments."""
    files = [path for path in map(repository.joinpath, _TOP_FILES) if path.is_file()]
    for folder in _FOLDERS:
        below = (path.relative_to(repository) for path in (repository / folder).rglob("[!.]*"))
        files += [repository / path for path in sorted(below) if "__pycache__" not in path.parts]
    return [path for path in files if path.is_file() and not path.name.endswith("~")]  # of an editor


def workflow_hash(repository: Path) -> str:
    """Return a hash of all these files."""
    return _hash_of((path.relative_to(repository).as_posix(), path) for path in workflow_files(repository))


def _hash_of(files: Iterable[tuple[str, Path]]) -> str:
    """Return a hash of names and of the files' content."""
    digest = hashlib.sha256()
    for name, path in files:
        digest.update(name.encode())
        digest.update(_content_hash(path))
    return digest.hexdigest()[:16]


@cache
def fingerprint(path: Path) -> str:
    """Return what tells the content of a file from another, at the start of each run: a hash of its size and bytes.

    Of a file above 64 MB, samples all over it are read: what inserts or removes a byte anywhere changes the size.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            whole = size <= _SAMPLES * _SAMPLE_BYTES
            digest = hashlib.sha256(str(size).encode())
            for number in range(_SAMPLES):
                file.seek(number * (_SAMPLE_BYTES if whole else (size - _SAMPLE_BYTES) // (_SAMPLES - 1)))
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError as error:  # the job that reads the file says what is wrong with it
        return str(error.strerror)
    return digest.hexdigest()[:16]


def _reached(script: Path) -> set[Path]:
    """Return a script with all files of the package that it depends on."""
    found: set[Path] = set()
    queue = [script]
    while queue:
        path = queue.pop()
        if path not in found:
            found.add(path)
            queue += _needed_by(path)
    return found


@cache
def _needed_by(path: Path) -> tuple[Path, ...]:
    """Return the files that a Python file needs by itself; none for other files."""
    if path.suffix != ".py":
        return ()
    text = path.read_bytes()
    tree = ast.parse(text)
    needed = [] if path.parent == REPOSITORY / "workflow_scripts" else [*_beside(path.parent)]
    for node in _statements(tree.body):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{name.name}" for name in node.names]
        else:
            continue
        for name in names:
            needed += _files_of(name)
    named = {file.name: file for file in (REPOSITORY / "resources").glob("*") if file.name.encode() in text}
    if named:  # most name none: the walk through all expressions takes longest
        constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        needed += [named[value] for value in constants if isinstance(value, str) and value in named]
    return tuple(needed)


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield statements with those inside of them, but those for type checkers."""
    for node in body:
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
            yield node
            for part in ("body", "orelse", "finalbody", "handlers", "cases"):
                yield from _statements(getattr(node, part, ()))


@cache
def _files_of(name: str) -> list[Path]:
    """Return the modules of ours that importing a dotted name loads; the last part may be something in a module."""
    parts = name.split(".")
    if parts[0] != _PACKAGE:
        return []
    places = [REPOSITORY.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    candidates = [file for place in places for file in (place / "__init__.py", place.with_suffix(".py"))]
    return [file for file in candidates if file.is_file()]


@cache
def _beside(folder: Path) -> list[Path]:
    """Return the files of a folder, and of those below that are no packages, that are no Python."""
    files: list[Path] = []
    for path in folder.iterdir():
        if path.is_dir():
            if path.name != "__pycache__" and not (path / "__init__.py").exists():
                files += _beside(path)
        elif path.suffix != ".py" and not path.name.startswith(".") and not path.name.endswith("~"):  # of an editor
            files.append(path)
    return files


@cache
def _content_hash(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
