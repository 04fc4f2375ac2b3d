"""Code and raw files are known by their content, wherever they stand."""

import os
import shutil
from pathlib import Path

import pytest

from cross_thought import sources

SCRIPT = "workflow_scripts/tabulate.py"
FILES = {
    SCRIPT: "from cross_thought.tables import marks\n",
    "cross_thought/__init__.py": "",
    "cross_thought/tables/__init__.py": "",
    "cross_thought/tables/marks.py": "def mark():\n    import cross_thought.numbers\n    return 'known.tsv'\n",
    "cross_thought/tables/templates/page.html": "<p>",
    "cross_thought/numbers.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import cross_thought.types\n"
    "try:\n    pass\nexcept ValueError:\n    match 1:\n        case 1:\n            from cross_thought import spare\n",
    "cross_thought/spare.py": "",
    "cross_thought/types.py": "",
    "cross_thought/other/__init__.py": "",
    "resources/known.tsv": "1",
    "resources/unknown.tsv": "2",
    "envs/report.yaml": "# packages\n",
}
COUNTED = set(FILES) - {"cross_thought/types.py", "cross_thought/other/__init__.py", "resources/unknown.tsv"}


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of a few files that import each other."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sources, "REPOSITORY", tmp_path)
    return tmp_path


def code_hash(repository: Path) -> str:
    for function in (
        sources._needed_by,
        sources._files_of,
        sources._beside,
        sources._content_hash,
        sources.fingerprint,
    ):
        function.cache_clear()
    return sources.code_hash(repository / SCRIPT, repository / "envs/report.yaml")


@pytest.mark.parametrize("name", FILES)
def test_code_counts_wherever_it_is_reached(name: str, repository: Path) -> None:
    before = code_hash(repository)
    os.utime(repository / name, (1, 1))
    assert code_hash(repository) == before
    (repository / name).write_text(FILES[name] + "# new\n")
    assert (code_hash(repository) != before) == (name in COUNTED)


@pytest.mark.parametrize("name", [".marks.py.swp", "marks.py~", ".DS_Store"])
def test_an_open_editor_is_no_reason_to_work(name: str, repository: Path) -> None:
    before = code_hash(repository)
    (repository / "cross_thought/tables" / name).write_text("x")
    assert code_hash(repository) == before


def test_a_hash_is_the_same_in_another_folder(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_hash(repository)
    other = Path(shutil.copytree(repository, repository.with_name("elsewhere")))
    monkeypatch.setattr(sources, "REPOSITORY", other)
    assert code_hash(other) == before


def test_a_hash_does_not_depend_on_what_was_looked_at_before(repository: Path) -> None:
    (repository / "cross_thought/tables/plots.py").write_text("import cross_thought.other\n")
    (repository / "workflow_scripts/plot.py").write_text("import cross_thought.tables.plots\n")
    alone = code_hash(repository)
    for function in (sources._needed_by, sources._beside):
        function.cache_clear()
    sources.code_hash(repository / "workflow_scripts/plot.py")
    assert sources.code_hash(repository / SCRIPT, repository / "envs/report.yaml") == alone


@pytest.mark.parametrize("size", [5, 3_000_000, 70_000_000])
def test_a_fingerprint_goes_by_size_and_content(size: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))

    def found() -> str:
        sources.fingerprint.cache_clear()
        return sources.fingerprint(path)

    seen = [found()]
    os.utime(path, (1, 1))
    assert found() == seen[0]
    for place in (0, size // 3, size - 1):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        seen.append(found())
    path.write_bytes(bytes(size + 1))
    seen.append(found())
    # of 70 MB a byte or so lies between the samples
    assert len(set(seen)) >= len(seen) - (size > 1 << 26)


def test_a_file_that_cannot_be_read_is_left_to_its_job(tmp_path: Path) -> None:
    assert sources.fingerprint(tmp_path) == "Is a directory"


def test_a_workflow_is_its_files(repository: Path) -> None:
    for name in ("Snakefile", "rules/a.smk", "README.md", "docs/page.md", "tests/test_a.py", "results/tables/a.csv"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(name)
    for name in ("rules/a.smk~", "cross_thought/__pycache__/a.pyc", "config/.hidden"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("not of it")
    files = {path.relative_to(repository).as_posix() for path in sources.workflow_files(repository)}
    assert files == {*FILES, "Snakefile", "rules/a.smk", "README.md"}
    before = sources.workflow_hash(repository)
    (repository / "docs/page.md").write_text("changed")
    sources._content_hash.cache_clear()
    assert sources.workflow_hash(repository) == before
    (repository / "rules/a.smk").write_text("changed")
    sources._content_hash.cache_clear()
    assert sources.workflow_hash(repository) != before
