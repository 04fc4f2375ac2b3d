"""What surrounds a workflow script's work: its log, its last words, its end with the process that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.jobs import import_from

REPOSITORY = Path(__file__).parents[2]
HEAD = """
import errno, logging, sys, time
from cross_thought.errors import UserError
from cross_thought.jobs import logged_job
with logged_job(sys.argv[1]):
    print("first")
    logging.getLogger("any").info("second")
    """


def run_job(body: str, log: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", HEAD + body, str(log)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("body", "status", "last_words"),
    [
        ("pass", 0, []),
        ("raise UserError('a.txt is empty: fill it')", 1, ["error: a.txt is empty: fill it"]),
        (
            "raise OSError(errno.ENOSPC, 'No space left', 'b.bin')",
            1,
            ["error: b.bin: the disk is full: free some space"],
        ),
        ("raise MemoryError", 1, ["error: the memory does not hold it: give the job more"]),
        ("raise KeyboardInterrupt", 1, ["error: stopped by Ctrl-C: the same command goes on"]),
        ("raise KeyError('x')", 1, ["Traceback (most recent call last):", "KeyError: 'x'"]),
    ],
)
def test_the_log_has_all_that_a_job_says(body: str, status: int, last_words: list[str], tmp_path: Path) -> None:
    done = run_job(body, tmp_path / "job.log")
    lines = (tmp_path / "job.log").read_text().splitlines()
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
    assert lines[:2] == ["first", "second"]
    if len(last_words) == 1:
        assert len(lines) == 3
        assert lines[2].startswith(last_words[0])
    else:
        assert [lines[2], lines[-1]] == last_words if last_words else len(lines) == 2


def test_a_log_that_cannot_be_written_is_told_on_the_terminal(tmp_path: Path) -> None:
    done = run_job("pass", tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: {tmp_path}: it is a folder where a file is needed: correct the path or move the folder away\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has died")
def test_a_job_ends_with_its_parent(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    starter = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"
    body = "import os; print(os.getpid()); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", starter, HEAD + body, str(log)], cwd=REPOSITORY) as parent:
        wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 3)
        job = int(log.read_text().splitlines()[2])
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: has_ended(job))


def has_ended(process: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{process}/stat").read_text()  # nobody has asked how it ended
    except OSError:
        return True


def wait_until(condition: Callable[[], bool], timeout_s: float = 300) -> None:
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_processes_import_from_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    import_from("/one")
    assert os.environ["PYTHONPATH"] == "/one"
    import_from("/two")
    assert os.environ["PYTHONPATH"] == f"/two{os.pathsep}/one"


def test_a_repository_that_python_cannot_import_from_is_refused() -> None:
    before = os.environ.get("PYTHONPATH")
    with pytest.raises(UserError, match=f"/home/a{os.pathsep}b: Python finds no package below a name with .*: rename"):
        import_from(f"/home/a{os.pathsep}b")
    assert os.environ.get("PYTHONPATH") == before
