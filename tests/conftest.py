"""How the tests are spread over two processes by `make test`: `pytest --dist loadgroup` keeps a group in one of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

# runs of the whole chain that several files look at, the longest first: each is made once, by one process
SHARED_RUNS = ("tiniest_run", "tiny_run")


@pytest.hookimpl(wrapper=True)  # so it is before xdist's own, which reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Keep the tests of a file, and of files that share a run, in one process; start with these, they take longest."""
    if hasattr(config, "workerinput"):
        _group(items)
    yield


def _group(items: list[pytest.Item]) -> None:
    groups: dict[Path, str] = {}
    for item in items:
        for run in SHARED_RUNS:
            if run in getattr(item, "fixturenames", ()):
                groups.setdefault(item.path, run)
    for item in items:
        item.add_marker(pytest.mark.xdist_group(groups.get(item.path, str(item.path))))

    def place(item: pytest.Item) -> int:
        group = groups.get(item.path)
        return SHARED_RUNS.index(group) if group else len(SHARED_RUNS)

    items.sort(key=place)
