"""fairseq 0.10.0's own tests of float16, under the bridge: five need a GPU.

    python -m benchmarks.gpu.fairseq_suite TESTS

runs those of `tests/` in fairseq's sources whose name has "fp16", and prints what became of each, as JSON.
"""

import json
import os
import subprocess
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.part import Outcome, Settings, Skip, need

REPOSITORY = Path(__file__).parents[2]


def fairseq_tests(settings: Settings) -> Outcome:
    """fairseq's own tests of float16, under the bridge."""
    if settings.fairseq_tests is None:
        raise Skip("it needs --fairseq-tests FOLDER, the tests/ of fairseq 0.10.0's sources")
    need("fairseq")
    tests = settings.fairseq_tests.resolve()
    # they import each other as `tests`
    path = os.pathsep.join([str(tests.parent), str(REPOSITORY)])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu.fairseq_suite", str(tests)],
        cwd=settings.folder,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    if not found:
        raise RuntimeError(f"{tests} has no test whose name has fp16: give the tests/ of fairseq 0.10.0's sources")
    return Outcome(header=["test", "result"], rows=[[name, what] for name, what in found.items()], figures=found)


class _Results(unittest.TestResult):
    """Notes what became of each test."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.found[test.id()] = "passed"

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.found[test.id()] = f"skipped: {reason}"

    def addFailure(self, test: unittest.TestCase, err: tuple) -> None:
        self.found[test.id()] = f"failed: {err[1]}".splitlines()[0]

    addError = addFailure


def _tests(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from _tests(test)
        elif "fp16" in test.id():
            yield test


def main() -> None:
    """Run the tests of the folder that the command line names."""
    from cross_thought.fairseq import bridge

    bridge.install()
    folder = Path(sys.argv[1])
    results = _Results()
    for path in sorted(folder.glob("test_*.py")):
        if "fp16" in path.name + path.read_text(encoding="utf-8"):
            for test in _tests(unittest.defaultTestLoader.discover(str(folder), path.name, str(folder.parent))):
                test.run(results)
    print(json.dumps(results.found))


if __name__ == "__main__":
    main()
