"""atheris for a few seconds; `python -m tests.fuzz.bytes_target -max_total_time=600` for longer."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.conftest import FACTOR


def test_no_bytes_give_a_traceback() -> None:
    pytest.importorskip("atheris", reason="there is no atheris for this platform")
    command = [sys.executable, "-m", "tests.fuzz.bytes_target", f"-runs={2000 * FACTOR}", "-seed=1"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr
