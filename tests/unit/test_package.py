"""The package without its repository: a wheel, installed elsewhere, with its command, its data and what it refuses."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from checkpoints import TEXT, write_checkpoint
from test_architecture import others, providers, reached, with_dependencies

import cross_thought
from cross_thought import SentenceEncoder, __version__

REPOSITORY = Path(__file__).parents[2]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build an sdist, of that a wheel, and install it into a folder of its own, which is returned.

    Dependencies are those of the tests.
    """
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "cross_thought", source / "cross_thought", ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    sdist = f"cross_thought-{__version__}.tar.gz"
    for command in (
        [sys.executable, "-c", "import setuptools.build_meta as backend; backend.build_sdist('..')"],
        [*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder), f"../{sdist}"],
        [*pip, "install", "--no-deps", "--no-index", "--target", str(folder / "site"), "--find-links", str(folder),
         "cross-thought"],
    ):  # fmt: skip
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder


def run(installed: Path, *command: str, path: Path | None = None) -> subprocess.CompletedProcess:
    """Run a command outside the repository, where the installed package is found, and `path` before it."""
    search = os.pathsep.join(str(folder) for folder in (path, installed / "site") if folder)
    environment = os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=installed, env=environment, capture_output=True, text=True, check=False
    )


def test_what_users_import_is_listed() -> None:
    """By `dir`, which completion and `help` ask, before it is loaded."""
    listed = subprocess.run(
        [sys.executable, "-c", "import cross_thought, sys; print(*dir(cross_thought)); assert 'torch' not in sys.modules"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert set(cross_thought.__all__) <= set(listed)


def test_the_wheel_has_all_that_the_package_has(installed: Path) -> None:
    [wheel] = installed.glob("cross_thought-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.startswith("cross_thought-")}
    package = REPOSITORY / "cross_thought"
    there = {
        str(path.relative_to(REPOSITORY))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == there
    assert {"cross_thought/py.typed", "cross_thought/inference/model_card.md.jinja"} <= packed


def test_the_command_runs_outside_the_repository(installed: Path) -> None:
    checkpoint = write_checkpoint(installed / "model")
    script = str(installed / "site/bin/cross-thought")
    for command in ((script,), ("-m", "cross_thought")):
        assert run(installed, *command, "--version").stdout == f"cross-thought {__version__}\n"
    (installed / "text.txt").write_text("\n".join(TEXT[:2]) + "\n", encoding="utf-8")
    model = ("--model", str(checkpoint))
    exported = run(installed, script, "export", *model, "--format", "sentence-transformers", "--output", "export")
    assert exported.returncode == 0, exported.stderr
    assert "commit unknown" in (installed / "export/README.md").read_text(encoding="utf-8")
    embedded = run(installed, script, "embed", "--model", "export", "--input", "text.txt", "--output", "e.npy")
    assert embedded.returncode == 0, embedded.stderr
    expected = SentenceEncoder.from_pretrained(checkpoint, device="cpu").encode(TEXT[:2])
    assert np.abs(np.load(installed / "e.npy") - expected).max() < 1e-5


def test_what_lies_outside_the_package_is_missed_in_a_sentence(installed: Path) -> None:
    for arguments, path in (
        (["cross_thought.config"], "config.yaml"),
        (["cross_thought", "verify"], "resources/tasks.yaml"),
    ):
        done = run(installed, "-m", *arguments)
        assert done.returncode == 1
        assert done.stderr == (
            f"error: {path} is not in the installed package, but in the workflow's repository: run "
            "`python -m cross_thought ...` in its folder\n"
        )


def test_a_missing_extra_is_one_sentence(installed: Path) -> None:
    checkpoint = write_checkpoint(installed / "another")
    missing = installed / "missing"
    for command, package, module in (("export", "jinja2", "jinja2"), ("verify", "sklearn", "sklearn")):
        (missing / module).mkdir(parents=True)
        error = f"raise ModuleNotFoundError('No module named {module}', name={module!r})\n"
        (missing / module / "__init__.py").write_text(error)
        options = ["--model", str(checkpoint), "--output", "not-there"] if command == "export" else []
        done = run(installed, "-m", "cross_thought", command, *options, path=missing)
        assert done.returncode == 1
        assert done.stderr == (
            f"error: `cross-thought {command}` needs the package {package}, which is not installed: "
            f"pip install 'cross-thought[{command}]'\n"
        )
    assert not (installed / "not-there").exists()


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("embed", "cross_thought.inference.embed"),
        ("predict", "cross_thought.inference.classifier"),
        ("export", "cross_thought.inference.export"),
        ("verify", "cross_thought.tables.verify"),
    ],
)
def test_a_commands_imports_are_in_its_extra(command: str, module: str) -> None:
    required = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"].get(command, [])]
    provided = with_dependencies(name.partition(">")[0] for name in required)
    for name in others(reached(frozenset({module, "cross_thought.__main__"}))):
        assert {found.lower() for found in providers()[name]} & provided, f"{command} imports {name}"


@pytest.mark.parametrize("module", ["", ".config", ".fairseq", ".plan", ".progress", ".tables.verify"])
def test_a_command_says_how_it_is_used(module: str) -> None:
    command = [sys.executable, "-m", f"cross_thought{module}", "--help"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m cross_thought{module} " in done.stdout or "usage: cross-thought" in done.stdout
