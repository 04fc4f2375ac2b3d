"""Starting fairseq, and reading its log."""

import io
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.training import launch
from cross_thought.training.launch import _explain, as_flags, hardware_flags, run_key, train, write_history

LOG = """2026-01-01 00:00:00 | INFO | fairseq_cli.train | Namespace(...)
2026-01-01 00:00:01 | INFO | train_inner | {"epoch": 1, "loss": "6.5", "ppl": "90.5", "num_updates": "20", "lr": "0.001", "wpb": "100", "wall": "3"}
2026-01-01 00:00:02 | INFO | valid | {"epoch": 1, "valid_loss": "6.1", "valid_ppl": "70.1", "valid_num_updates": "20"}
2026-01-01 00:00:02 | INFO | train | {"epoch": 1, "train_loss": "6.4", "train_num_updates": "20"}
2026-01-01 00:00:03 | INFO | train_inner | {"epoch": 2, "loss": "5.0", "ppl": "32", "num_updates": "40", "lr"
2026-01-01 00:09:03 | INFO | train_inner | {"epoch": 2, "loss": "5.1", "ppl": "34", "num_updates": "40", "lr": "0.002", "wpb": "50", "wall": "2"}
2026-01-01 00:09:04 | INFO | valid1 | {"epoch": 1, "valid1_loss": "6.0", "valid1_accuracy": "71.5", "valid1_num_updates": "40"}
"""


def test_history_has_each_update_once(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text(LOG)
    write_history(tmp_path / "train.log", tmp_path / "history.tsv")
    assert (tmp_path / "history.tsv").read_text().split("\n") == [
        "split\tnum_updates\tloss\tppl\taccuracy\tlearning_rate\ttokens\telapsed_s",
        "train\t20\t6.5\t90.5\t\t0.001\t2000\t3",
        "train\t40\t5.1\t34\t\t0.002\t3000\t2",
        "valid\t20\t6.1\t70.1\t\t\t\t",
        "valid1\t40\t6.0\t\t71.5\t\t\t",
        "",
    ]


def test_as_flags() -> None:
    settings = {"lr": 0.1, "cpu": True, "fp16": False, "arch": None, "num_slots": 0}
    assert list(as_flags(settings)) == ["--lr", "0.1", "--cpu", "--num-slots", "0"]


def test_run_key_depends_on_arguments_and_content(tmp_path: Path) -> None:
    (tmp_path / "train.bin").write_bytes(b"abc")
    key = run_key(["--lr", "1"], tmp_path)
    assert key == run_key(["--lr", "1"], tmp_path)
    assert key != run_key(["--lr", "2"], tmp_path)
    (tmp_path / ".snakemake_timestamp").touch()  # which Snakemake puts there
    assert key == run_key(["--lr", "1"], tmp_path)
    (tmp_path / "train.bin").write_bytes(b"abd")
    assert key != run_key(["--lr", "1"], tmp_path)


def test_run_key_depends_on_what_the_start_holds_and_not_on_its_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, content in (("a.pt", b"abc"), ("b.pt", b"abc"), ("c.pt", b"abd")):
        (tmp_path / name).write_bytes(content)
    first, second, third = (run_key([], tmp_path / "data", start=tmp_path / name) for name in ("a.pt", "b.pt", "c.pt"))
    assert first == second
    assert len({run_key([], tmp_path / "data"), first, third}) == 3


def test_a_failure_is_told_in_one_sentence(tmp_path: Path) -> None:
    log = tmp_path / "run" / "train.log"
    with pytest.raises(UserError, match="fairseq stopped with status 2: .*--no-such-flag") as error:
        train([str(tmp_path), "--arch", "cross_thought_tiny", "--no-such-flag"], log=log, threads=1, total_updates=1)
    assert "\n" not in str(error.value)
    assert "no-such-flag" in log.read_text()


def test_the_log_of_several_attempts_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    lines = "\n".join(f"echo '{line}'" for line in LOG.splitlines()[1:3])
    script.write_text(f"#!/bin/sh\n{lines}\nprintf 'no line end'\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    said = io.StringIO()
    log = tmp_path / "run" / "train.log"
    with redirect_stdout(said):
        for _ in range(2):
            train([], log=log, threads=1, total_updates=40)
    # the second attempt shows its own lines alone, and starts a line of its own
    assert said.getvalue().count("update 20/40 (50 %), loss 6.5 bits") == 2
    assert said.getvalue().count("update 20: valid loss 6.1 bits") == 2
    attempt = "".join(f"{line}\n" for line in LOG.splitlines()[1:3]) + "no line end"
    assert log.read_text() == f"{attempt}\n{attempt}"


def test_the_process_that_failed_is_told_of_and_not_those_that_waited_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "rank"
    script.write_text(
        '#!/bin/sh\ncase "$*" in *"--distributed-rank 1 "*) echo "ValueError: no such row"; exit 1;; esac\nexec sleep 600\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr(launch, "_GRACE_S", 0.1)
    with pytest.raises(UserError, match="fairseq stopped with status 1: ValueError: no such row"):
        train([], log=tmp_path / "train.log", threads=1, total_updates=1, processes=3)


def test_training_keeps_its_memory_from_update_to_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\necho "maps $MALLOC_MMAP_MAX_, trims at $MALLOC_TRIM_THRESHOLD_"\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")  # what a user sets goes before
    train([], log=tmp_path / "train.log", threads=1, total_updates=1)
    assert "maps 0, trims at 7" in (tmp_path / "train.log").read_text()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_hardware_as_flags(precision: str) -> None:
    flags = list(as_flags(hardware_flags("cpu", precision)))
    assert flags == ["--cpu", *["--bf16"] * (precision == "bfloat16"), "--distributed-world-size", "1"]
    assert launch.optimizer(precision) == {"float32": "adam", "bfloat16": "fused_adam"}[precision]


@pytest.mark.parametrize(
    ("status", "output", "sentence"),
    [
        (1, "FloatingPointError: Minimum loss scale reached (0.0001).", "the loss became infinite in float16: lower"),
        (1, "RuntimeError: CUDA out of memory. Tried", "the GPU's memory does not hold a batch: lower batch_size"),
        (1, "DefaultCPUAllocator: can't allocate", "or set hardware.checkpoint_activations to true"),
        (143, "SIGTERM: saving", "training was asked to stop and has saved its state: the same command goes on"),
        (-9, "| train_inner |", "training was killed, most likely for want of memory"),
        (-11, "", "fairseq was ended by signal 11; the same command goes on from the last checkpoint"),
        (2, "usage: ...\nerror: bad flag\n\n", "fairseq stopped with status 2: error: bad flag"),
        (2, "", "fairseq stopped with status 2: no output"),
    ],
)
def test_the_reason_of_a_failure_is_found(status: int, output: str, sentence: str) -> None:
    assert sentence in _explain(status, output.splitlines(keepends=True), Path("train.log"))
