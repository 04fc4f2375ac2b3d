"""How `make test` spreads the tests over two processes, where Hugging Face's libraries put code, where checks lie."""

import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

# Each process has a folder of its own for the code of exports, and never a user's: set before the libraries are
# imported, for they go on using the first that they saw.
MODULES = tempfile.TemporaryDirectory(prefix="modules-")
os.environ["HF_MODULES_CACHE"] = MODULES.name

# long runs that several tests look at, the longest first: each is made once, by one process
SHARED_RUNS = ("tiniest_run", "tiny_run", "glue_run")
OF_SHARED_RUNS = {"binarized": "tiniest_run"}  # fixtures that are made of one


@pytest.fixture(scope="session")
def checks() -> Path:
    """Return the folder of programs that have an environment of their own."""
    folder = Path(sys.prefix, "checks", "bin")
    if not folder.is_dir():
        pytest.skip("needs .venv/checks, which `make test` sets up (requirements-checks.txt)")
    return folder


@cache
def group(file: str) -> str:
    """Return the shared run that a file of tests looks at, or else the file itself; one process runs all of a group."""
    text = Path(__file__).parents[1].joinpath(file).read_text(encoding="utf-8")
    fixtures = dict.fromkeys(SHARED_RUNS) | OF_SHARED_RUNS
    return next((run or fixture for fixture, run in fixtures.items() if f"{fixture}:" in text), file)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes longest."""

    def place(item: pytest.Item) -> int:
        name = group(item.nodeid.split("::")[0])
        return SHARED_RUNS.index(name) if name in SHARED_RUNS else len(SHARED_RUNS)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's; without it, all tests run in one process
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Hand the tests out group by group: pytest-xdist 3.8's own marks for groups do nothing under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid.split("::")[0])

    return ByGroup(config, log)
