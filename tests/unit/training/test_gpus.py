"""A GPU is one job's at a time, whoever started the jobs. An `nvidia-smi` pretends the GPUs."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cross_thought.errors import UserError
from cross_thought.training import gpus
from cross_thought.training.devices import VISIBLE
from cross_thought.training.gpus import own_gpus

HOLD = """
import os, sys
from cross_thought.training.gpus import own_gpus
with own_gpus(int(sys.argv[1])):
    print("has", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def three_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Pretend a machine of three GPUs that nobody else knows, and return their UUIDs."""
    uuids = [f"GPU-{uuid.uuid4()}" for _ in range(3)]
    pretend_gpus(tmp_path, uuids)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setattr(gpus, "_SECONDS_BETWEEN_TRIES", 0.01)
    yield uuids
    for name in uuids:
        (gpus._LOCKS / f"cross-thought-gpu-{name}.lock").unlink(missing_ok=True)


def pretend_gpus(folder: Path, uuids: list[str]) -> None:
    """Put an `nvidia-smi` into a folder that lists GPUs."""
    lines = [f"echo 'GPU {number}: NVIDIA A100 (UUID: {name})'" for number, name in enumerate(uuids)]
    (folder / "nvidia-smi").write_text("\n".join(["#!/bin/sh", *lines, ""]))
    (folder / "nvidia-smi").chmod(0o755)


def holder(number: int, visible: str | None = None) -> tuple[subprocess.Popen, str]:
    """Start a process that holds GPUs; return it and what it has."""
    environment = os.environ | ({} if visible is None else {VISIBLE: visible})
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(number)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout
    return process, next(line for line in process.stdout if line.startswith("has ")).split()[1]


def test_each_job_has_gpus_of_its_own_and_of_the_callers(three_gpus: list[str]) -> None:
    first, has = holder(1)
    second, has_too = holder(1, visible=f"0,{three_gpus[2][:20]}")  # 0 is taken, under its number
    with first, second:
        assert (has, has_too) == ("0", three_gpus[2][:20])
        with own_gpus(1):
            assert os.environ[VISIBLE] == "1"
        assert VISIBLE not in os.environ
        for process in (first, second):
            process.communicate("\n")
    with own_gpus(3):
        assert os.environ[VISIBLE] == "0,1,2"


def test_a_job_waits_for_all_it_needs(
    three_gpus: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    process, _ = holder(2)

    def end_the_other_job(_: float) -> None:
        process.kill()
        process.wait()  # its locks go one after the other: only now are both free

    monkeypatch.setattr(gpus, "time", SimpleNamespace(sleep=end_the_other_job))
    with process, own_gpus(2):
        assert os.environ[VISIBLE] == "0,1"
    assert "waiting for 2 of the GPUs 0, 1, 2: other jobs have them\nGPU 0, 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("visible", ["", "-1", "0"])
def test_too_few_are_refused(visible: str, three_gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, visible)
    with pytest.raises(UserError, match=VISIBLE), own_gpus(2):
        pass
    assert os.environ[VISIBLE] == visible


def test_what_slurm_gives_is_taken_as_it_is(three_gpus: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    process, _ = holder(3)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv(VISIBLE, "1")
    with process:
        with own_gpus(1):
            assert os.environ[VISIBLE] == "1"
        process.communicate("\n")
    monkeypatch.setenv(VISIBLE, "0,1,2")  # an allocation that jobs of a local Snakemake share
    with own_gpus(1):
        assert os.environ[VISIBLE] == "0"


def test_without_need_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "none")
    with own_gpus(0):
        assert os.environ[VISIBLE] == "none"
