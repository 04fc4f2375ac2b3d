"""Write docs/bad-input.md out of all cases: `python -m tests.bad_input.page` runs each and notes what it prints."""

import contextlib
import sys
import tempfile
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from tests.bad_input import (
    archive_cases,
    checkpoint_cases,
    config_cases,
    data_cases,
    environment_cases,
    inference_cases,
    training_cases,
)
from tests.bad_input.cases import Case

MODULES = (
    config_cases,
    data_cases,
    checkpoint_cases,
    training_cases,
    inference_cases,
    archive_cases,
    environment_cases,
)
CASES = [case for module in MODULES for case in module.CASES]
PAGE = Path(__file__).parents[2] / "docs" / "bad-input.md"
HEAD = """# What goes wrong, and what is said

Written by `python -m tests.bad_input.page`, which does each of these things; the tests do them again, and fail where
something else is said. A config is refused before any job starts. A job that fails ends with status 1 and a last line
`error: ...` in its log, which Snakemake prints; nothing half-written takes the place of a result, and the same command
goes on once the cause is gone. What can be meant so goes through, and is counted in the log.

`python -m cross_thought.config my.yaml` checks config files without Snakemake, which reads them first and ends with a
traceback of its own where one is missing, a folder or not UTF-8; or where its cache folder, by default at home, cannot be
written: set `XDG_CACHE_HOME` to the full path of one that can. Without `setpriv`, or the right to mount a disk, some tests
skip.
"""


def row(case: Case, said: str) -> str:
    """Return a line of the page."""
    return f"| {case.what} | {said} |".replace("\n", " ")


def render(said: Mapping[str, str]) -> str:
    """Return the page, given what each case prints by its name."""
    parts = [HEAD]
    for group, cases in groupby(CASES, key=lambda case: case.group):
        parts += [f"\n## {group}\n", "| what | what is said |", "|---|---|"]
        parts += [*(row(case, said[case.name]) for case in cases)]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Run the cases and write the page."""
    said = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            said[case.name] = case.run()
        print(case.name, file=sys.stderr)
    PAGE.write_text(render(said), encoding="utf-8")


if __name__ == "__main__":
    main()
