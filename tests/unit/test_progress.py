"""How far trainings are, told from the logs that jobs write."""

import os
import time
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.jobs import logged_job
from cross_thought.progress import main
from cross_thought.training.launch import _explain, progress_line


def log(path: Path, *lines: str, age_s: float, error: str = "") -> None:
    """Have a job write its log so long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with logged_job(str(path)):
            for line in lines:
                print(line)
            if error:
                raise UserError(error)
    except SystemExit:
        pass
    os.utime(path, (time.time() - age_s,) * 2)


def report(update: int, total: int) -> str:
    """Return a line of progress: two updates a second."""
    return progress_line(update, total, "6.125 bits", (update - 20, time.monotonic() - 10))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return results with a training of each kind."""
    logs = tmp_path / "results/logs"
    lines = [report(20, 900), "update 20: valid loss 7.5 bits", report(40, 900), "update 40: valid loss 7.25 bits"]
    log(logs / "pretrain_model/mlm/seed-1.log", *lines, age_s=75)
    log(logs / "pretrain_model/mlm/seed-2.log", age_s=3)
    log(logs / "finetune_task/mlm/RTE/seed-1.log", report(50, 50), "trained in 0:00:12", age_s=500)
    stopped = _explain(1, ["CUDA out of memory"], Path("train.log"))
    log(logs / "finetune_kept_task/mlm/MNLI/seed-1.log", report(60, 70), error=stopped, age_s=40)
    tuning = "update 10/40 (25 %), loss 2.1477, 25.04 updates/s, 0:00:01 left"  # in nats
    log(logs / "tune_embeddings/mlm/SNLI/seed-1.log", tuning, age_s=60)
    log(logs / "evaluate_task/mlm/RTE/seed-1.log", "all well", age_s=40)
    return tmp_path / "results"


def test_running_trainings_are_listed(results: Path, capsys: pytest.CaptureFixture) -> None:
    main([str(results)])
    assert capsys.readouterr().out.splitlines() == [
        "training              update   of    loss  updates/s     left  last report",
        "pretrain/mlm/seed-1       40  900   6.125       2.00  0:07:10  0:01:15 ago",
        "pretrain/mlm/seed-2                                            0:00:03 ago",
        "tune/mlm/SNLI/seed-1      10   40  2.1477      25.04  0:00:01  0:01:00 ago",
        "3 running, 1 done, 1 failed",
    ]


def test_all_are_listed_if_asked_for(results: Path, capsys: pytest.CaptureFixture) -> None:
    main([str(results), "--all"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[-1]) for row in rows[1:-1]] == [
        ("finetune/mlm/MNLI/seed-1", "failed"),
        ("finetune/mlm/RTE/seed-1", "done"),
        ("pretrain/mlm/seed-1", "ago"),
        ("pretrain/mlm/seed-2", "ago"),
        ("tune/mlm/SNLI/seed-1", "ago"),
    ]


def test_a_folder_without_logs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path)])
    assert ended.value.code == 1
    assert f"error: {tmp_path} has no logs/: start in the folder of the run" in capsys.readouterr().err
