"""Where a training goes on: what the next attempt at a run is told. A script stands in for fairseq."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch

from cross_thought.errors import UserError
from cross_thought.progress import _state
from cross_thought.training.runs import go_on
from workflow_scripts.finetune import _drop_without_best

FLAGS = ["--lr", "0.1", "--save-interval-minutes", "5"]
START = {"restore_file": "pretrained.pt", "reset_optimizer": True}
PLACES = {"no_last_checkpoints": True, "save_interval_minutes": 10}


@pytest.fixture(autouse=True)
def _fairseq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in fairseq's place that notes its arguments."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\npathlib.Path('told.json').write_text(json.dumps(sys.argv[3:]))\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


def attempt(*, ends_at_total: bool = False) -> list[str] | None:
    """Make an attempt at a run of 100 updates; return what fairseq was told, None if it was not called."""
    told = Path("told.json")
    told.unlink(missing_ok=True)
    go_on(
        Path("run"),
        Path("data"),
        FLAGS,
        places=PLACES,
        start=START,
        total_updates=100,
        threads=1,
        ends_at_total=ends_at_total,
    )
    return json.loads(told.read_text()) if told.exists() else None


def save(name: str, num_updates: int, **state: object) -> None:
    """Write a checkpoint of a training in progress."""
    Path("run").mkdir(exist_ok=True)
    history = [{"num_updates": num_updates}]
    model = {"weight": torch.ones(1)}
    content = {"args": argparse.Namespace(), "model": model, "optimizer_history": history, **state}
    torch.save(content, Path("run", name))


def test_the_first_attempt_starts_where_it_is_told() -> None:
    told = attempt()
    assert told is not None
    assert told[:2] == ["train", "data"]
    assert told[told.index("--restore-file") + 1] == "pretrained.pt"
    assert "--reset-optimizer" in told
    # what defines the run stands last, and wins
    assert told[told.index("--lr") :][:4] == FLAGS


def test_the_next_goes_on_with_all_of_its_state(capsys: pytest.CaptureFixture) -> None:
    save("checkpoint_last.pt", 40, last_optimizer_state={})
    save("checkpoint_best.pt", 60)  # without the optimizer's state
    told = attempt()
    assert told is not None
    assert told[told.index("--restore-file") + 1] == "run/checkpoint_last.pt"
    assert not [flag for flag in told if flag.startswith("--reset")]
    assert "going on from run/checkpoint_last.pt, 40 of 100 updates" in capsys.readouterr().out


def test_a_run_that_is_through_is_not_trained_on(capsys: pytest.CaptureFixture) -> None:
    save("checkpoint_last.pt", 100, last_optimizer_state={})
    assert attempt(ends_at_total=True) is None
    assert _state(capsys.readouterr().out) == "done"
    assert attempt() is not None


def test_a_run_whose_best_model_is_damaged_begins_anew(capsys: pytest.CaptureFixture) -> None:
    save("checkpoint_best.pt", 60)
    _drop_without_best(Path("run"))
    assert Path("run").exists()
    whole = Path("run/checkpoint_best.pt").read_bytes()
    Path("run/checkpoint_best.pt").write_bytes(whole[: len(whole) // 2])
    _drop_without_best(Path("run"))
    assert not Path("run").exists()
    assert "checkpoint_best.pt cannot be read as a checkpoint" in capsys.readouterr().out
    _drop_without_best(Path("run"))  # nothing there, nothing to do


def test_a_failed_attempt_leaves_its_run(tmp_path: Path) -> None:
    save("checkpoint_last.pt", 40, last_optimizer_state={})
    (tmp_path / "python").write_text("#!/bin/sh\nexit 143\n")
    with pytest.raises(UserError, match="asked to stop and has saved its state"):
        attempt()
    assert Path("run/checkpoint_last.pt").exists()
