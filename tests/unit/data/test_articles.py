"""Articles streamed by the real `datasets` from a hub on this machine that fails half-way: what is written stays."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from cross_thought.data.download import Download, fetch
from cross_thought.errors import UserError
from tests.unit.data.hub import ARTICLES, PLACE, hub

pytest.importorskip("datasets", reason="needs the library `datasets`")

# the libraries as they are, but for their pauses; a note after each article
FETCH = """
import logging, os, signal, sys, time
from pathlib import Path
import datasets, huggingface_hub
from cross_thought.data import transfer
from cross_thought.data.download import Download, fetch
from cross_thought.errors import exit_on_user_error
from cross_thought.data.transfer import Partial

time.sleep = lambda seconds: None
datasets.config.STREAMING_READ_MAX_RETRIES = 1
huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT = float(sys.argv[4])
transfer._SECONDS_BETWEEN_NOTES = -1
keep = Partial.keep

def keep_and_die(self, handle, **origin):
    keep(self, handle, **origin)
    if origin["documents"] == int(sys.argv[3]):
        handle.write(b"half an artic")
        handle.flush()
        os.kill(os.getpid(), signal.SIGKILL)

Partial.keep = keep_and_die
logging.basicConfig(level=logging.INFO, format="%(message)s")
with exit_on_user_error():
    fetch(Download(name="text", url=sys.argv[1]), Path(sys.argv[2]), timeout_s=float(sys.argv[4]), attempts=1)
"""
WANTED = "".join(f"Title {number}\nParagraph {number}.\nAnother, é.\r\n\n" for number in range(len(ARTICLES))).encode()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with hub() as server:
        yield server


def run(
    server: ThreadingHTTPServer, folder: Path, *, die_after: int = -1, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Fetch the articles in a process of its own; the libraries read their environment once."""
    environment = {
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(folder / "home"),
        "USE_TORCH": "0",  # an import that takes seconds
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return subprocess.run(
        [sys.executable, "-c", FETCH, PLACE, str(folder), str(die_after), str(timeout_s)],
        cwd=Path(__file__).parents[3],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cut", "the connection broke off before the end of the file"),
        ("stall", "stalled, no data for 1 s"),
    ],
)
def test_a_hub_that_fails_half_way(fault: str, reason: str, server: ThreadingHTTPServer, tmp_path: Path) -> None:
    server.fault = fault
    done = run(server, tmp_path, timeout_s=1 if fault == "stall" else 60)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: text could not be fetched ({PLACE}: {reason}); 0.0 MB are kept to go on from; try")
    assert not (tmp_path / "text").exists()
    note = json.loads((tmp_path / ".text.partial.json").read_text())
    assert note["documents"] == len(ARTICLES) // 2
    assert (tmp_path / ".text.partial").read_bytes() == WANTED[: note["bytes"]]
    server.fault = None
    done = run(server, tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"goes on after {len(ARTICLES) // 2} documents" in done.stderr
    assert (tmp_path / "text").read_bytes() == WANTED
    assert not list(tmp_path.glob(".text*"))


def test_a_kill_between_two_articles(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    for documents in (17, 46):  # within either file
        assert run(server, tmp_path, die_after=documents).returncode == -signal.SIGKILL
        assert not (tmp_path / "text").exists()
        assert (tmp_path / ".text.partial").read_bytes().endswith(b"half an artic")
    done = run(server, tmp_path)
    assert "goes on after 46 documents" in done.stderr
    assert (tmp_path / "text").read_bytes() == WANTED


def test_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match="comes through the `datasets` library: install it with pip"):
        fetch(Download(name="text", url=PLACE), tmp_path)
