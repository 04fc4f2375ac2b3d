"""How the tests are spread over processes, what these share, where Hugging Face's libraries put code, where checks lie."""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Each process has a folder of its own for the code of exports, and never a user's: set before the libraries are
# imported, for they go on using the first that they saw.
MODULES = tempfile.TemporaryDirectory(prefix="modules-")
os.environ["HF_MODULES_CACHE"] = MODULES.name

# The longest first, so that short ones fill the end. A file's tests go to one process, for what they share; those of
# some share nothing but what all do.
LONG = (
    *("slurm", "workflow", "data", "archive", "docs", "conda", "kills", "reruns", "start_chain", "captions_chain"),
    *("sweeps", "processes", "module", "schedulers", "bad_input", "battery"),
)
SPREAD = ("docs", "kills")


def made_once(name: str, tmp_path_factory: pytest.TempPathFactory, make: Callable[[Path], None]) -> Path:
    """Return a folder that one process of the session makes, while others wait for it; nobody changes it thereafter.

    Args:
        name: of the folder.
        tmp_path_factory: pytest's.
        make: fills the folder.
    """
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # that of all processes
    folder, made = base / name, base / f"{name}.made"
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def checks() -> Path:
    """Return the folder of programs that have an environment of their own."""
    folder = Path(sys.prefix, "checks", "bin")
    if not folder.is_dir():
        pytest.skip("needs .venv/checks, which `make test` sets up (requirements-checks.txt)")
    return folder


def short_name(nodeid: str) -> str:
    """Return what LONG and SPREAD call the file of a test."""
    return Path(nodeid.split("::")[0]).stem.removeprefix("test_")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest."""
    places = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(short_name(item.nodeid), len(LONG)))


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's; without it, all tests run in one process
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Hand the tests out file by file, some one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid if short_name(nodeid) in SPREAD else nodeid.split("::")[0]

    return ByFile(config, log)
