"""Kills at random moments: what is run again goes on, and ends as if nothing had happened.

By default a few moments are tried; CROSS_THOUGHT_KILLS=full tries ten for pre-training, five for fine-tuning and five
for Snakemake.
"""

import copy
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.workflow.conftest import (
    TINIEST,
    assert_same_results,
    assert_same_weights,
    ended,
    losses,
    run_snakemake,
    start_snakemake,
)

FULL = os.environ.get("CROSS_THOUGHT_KILLS") == "full"
NUM_TRAINING_KILLS, NUM_FINETUNING_KILLS, NUM_SNAKEMAKE_KILLS = (10, 5, 5) if FULL else (2, 2, 1)
MODEL = "results/pretrain/cross_thought/seed-1/model.pt"
LOG = "results/logs/pretrain_model/cross_thought/seed-1.log"
FINETUNED = Path("results/finetune/cross_thought/demo-match/seed-1")
FINETUNING_LOG = "results/logs/finetune_task/cross_thought/demo-match/seed-1.log"
PREDICTIONS = "results/evaluate/cross_thought/demo-match/seed-1/predictions.tsv"

# a fine-tuning of some seconds, which draws at random and whose best epoch need not be the last
FINETUNING = TINIEST | {
    "finetuning": {"num_epochs": 4, "dropout": 0.1, "keep_checkpoints": True},
    "tasks": {"demo-match": {"max_train_examples": 800}},
}
NUM_UPDATES = 100


def training_process(directory: Path) -> int:
    """Return the fairseq process that works in a folder; 0 if there is none."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if b"cross_thought.fairseq\0train" in (path / "cmdline").read_bytes() and (path / "cwd").samefile(
                directory
            ):
                return int(path.name)
        except OSError:  # gone in the meantime
            continue
    return 0


def wait_until(condition: Callable[[], object], process: subprocess.Popen) -> bool:
    """Wait until a condition holds, or the process has ended; return whether the condition held first."""
    while not condition():
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    return True


def run_and_kill_training(
    directory: Path,
    moment: Callable[[], object],
    delay_s: float = 0,
    *,
    target: str = MODEL,
    overlay: dict = TINIEST,
    number: int = signal.SIGKILL,
) -> bool:
    """Train, and send a signal to the training process some time after its moment; return whether that ended it."""
    process = start_snakemake(directory, target, overlay=overlay)
    killed = wait_until(moment, process)
    if killed:
        time.sleep(delay_s)
        pid = training_process(directory)
        killed = bool(pid)
        if killed:
            os.kill(pid, number)
    ended(process)
    assert killed == (process.returncode != 0)
    return killed


def saved_updates(directory: Path) -> int:
    """Return the update of the newest checkpoint that is whole."""
    paths = directory.glob("results/pretrain/cross_thought/seed-1/runs/*/checkpoint_*_*.pt")
    return max((int(path.stem.split("_")[2]) for path in paths), default=0)


def has_trained(directory: Path, update: int) -> bool:
    """Whether there is a training process, and a checkpoint of an update or a later one."""
    return saved_updates(directory) >= update and bool(training_process(directory))


def is_saving(directory: Path) -> bool:
    """Whether a checkpoint is being written, under its temporary name."""
    return any(directory.glob("results/pretrain/cross_thought/seed-1/runs/*/.*.partial"))


def test_a_killed_training_goes_on_to_the_same_weights(binarized: Path, tiniest_run: Path) -> None:
    draw = random.Random(5)
    kills = {"saving": 0, "anywhere": 0}
    for number in range(NUM_TRAINING_KILLS):
        for rest in binarized.glob("results/pretrain/cross_thought/seed-1/runs/*/.*.partial"):
            rest.unlink()
        if number % 2:
            kills["saving"] += run_and_kill_training(binarized, partial(is_saving, binarized))
        else:
            moment = partial(has_trained, binarized, draw.randrange(100))
            kills["anywhere"] += run_and_kill_training(binarized, moment, delay_s=draw.uniform(0, 0.5))
    assert all(kills.values())
    done = run_snakemake(binarized, MODEL, overlay=TINIEST)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_same_weights(binarized / MODEL, tiniest_run / MODEL)
    found, expected = (losses((folder / MODEL).with_name("history.tsv")) for folder in (binarized, tiniest_run))
    assert found["valid", 200] == expected["valid", 200]


def test_a_cut_checkpoint_is_passed_over_with_a_warning(binarized: Path, tiniest_run: Path) -> None:
    assert run_and_kill_training(binarized, lambda: saved_updates(binarized) >= 60)
    (run,) = binarized.glob("results/pretrain/cross_thought/seed-1/runs/*")
    newest = max(run.glob("checkpoint_*_*.pt"), key=lambda path: int(path.stem.split("_")[2]))
    whole = newest.read_bytes()
    newest.unlink()  # checkpoint_last is another name of the same bytes
    for path in (newest, run / "checkpoint_last.pt"):
        path.unlink(missing_ok=True)
        path.write_bytes(whole[: len(whole) // 2])
    done = run_snakemake(binarized, MODEL, overlay=TINIEST)
    assert done.returncode == 0, done.stderr[-3000:]
    log = (binarized / LOG).read_text()
    assert re.search(rf"warning: \S+{newest.name} cannot be read as a checkpoint: .*; going on from an older", log)
    assert re.search(r"going on from \S+, [1-9]\d* of 200 updates", log)
    assert_same_weights(binarized / MODEL, tiniest_run / MODEL)


def test_after_ctrl_c_the_same_command_goes_on(binarized: Path, tiniest_run: Path) -> None:
    process = start_snakemake(binarized, MODEL, overlay=TINIEST)
    assert wait_until(lambda: saved_updates(binarized) >= 60, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to all processes
    stopped = ended(process)
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.stderr
    done = run_snakemake(binarized, MODEL, overlay=TINIEST)  # no lock is left
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"going on from \S+, [1-9]\d* of 200 updates", (binarized / LOG).read_text())
    assert_same_weights(binarized / MODEL, tiniest_run / MODEL)


def test_a_changed_learning_rate_trains_anew(tiniest_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiniest_run, tmp_path, dirs_exist_ok=True)
    (old,) = tmp_path.glob("results/pretrain/cross_thought/seed-1/runs/*")
    before = {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in old.iterdir()}
    changed = copy.deepcopy(TINIEST)
    changed["model_defaults"]["pretraining"] |= {"learning_rate": 1.0e-3, "max_updates": 20}
    done = run_snakemake(tmp_path, MODEL, overlay=changed)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on" not in (tmp_path / LOG).read_text()
    assert len([*old.parent.iterdir()]) == 2
    assert {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in old.iterdir()} == before


@pytest.fixture(scope="module")
def finetuned(tiniest_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fine-tune once without a disturbance, and return the folder."""
    directory = tmp_path_factory.mktemp("finetuned")
    shutil.copytree(tiniest_run, directory, dirs_exist_ok=True)
    done = run_snakemake(directory, PREDICTIONS, overlay=FINETUNING)
    assert done.returncode == 0, done.stderr[-3000:]
    return directory


def logged_update(directory: Path) -> int:
    """Return the last update that a fine-tuning in progress has reported."""
    for log in directory.glob(f"{FINETUNED}/runs/*/train.log"):
        return max(map(int, re.findall(r'"num_updates": "(\d+)"', log.read_text(errors="replace"))), default=0)
    return 0


def history_rows(directory: Path) -> list[dict[str, str]]:
    """Return the loss curves of the fine-tuning, without the seconds that it took."""
    with (directory / FINETUNED / "history.tsv").open() as file:
        return [{key: row[key] for key in row if key != "elapsed_s"} for row in csv.DictReader(file, delimiter="\t")]


def test_a_killed_fine_tuning_ends_as_if_undisturbed(finetuned: Path, tmp_path: Path) -> None:
    shutil.copytree(finetuned, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / FINETUNED)
    shutil.rmtree((tmp_path / PREDICTIONS).parent)
    # saving all the time, where ten minutes would do
    overlay = copy.deepcopy(FINETUNING)
    overlay["finetuning"]["extra_args"] = ["--save-interval-minutes", "0.005"]
    draw = random.Random(6)
    # not at the very end: it would be over before the signal comes
    moments = sorted(draw.randrange(5, NUM_UPDATES // 2) for _ in range(NUM_FINETUNING_KILLS))
    for place, update in enumerate(moments):
        number = (signal.SIGTERM, signal.SIGKILL)[place % 2]
        assert run_and_kill_training(
            tmp_path,
            lambda update=update: logged_update(tmp_path) >= update,
            draw.uniform(0, 0.1),
            target=PREDICTIONS,
            overlay=overlay,
            number=number,
        )
        said = (tmp_path / FINETUNING_LOG).read_text()
        assert ("has saved its state: the same command goes on" in said) == (number == signal.SIGTERM)
        assert bool(re.search(r"going on from \S+, [1-9]\d* of", said)) == (place > 0)
        assert len([*tmp_path.glob(f"{FINETUNED}/runs/*")]) == 1
    done = run_snakemake(tmp_path, PREDICTIONS, overlay=overlay)
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"going on from \S+, [1-9]\d* of", (tmp_path / FINETUNING_LOG).read_text())
    assert {path.name for path in (tmp_path / FINETUNED).iterdir()} == {"best.pt", "history.tsv", "command.json"}
    assert_same_weights(tmp_path / FINETUNED / "best.pt", finetuned / FINETUNED / "best.pt")
    assert history_rows(tmp_path) == history_rows(finetuned)
    assert (tmp_path / PREDICTIONS).read_bytes() == (finetuned / PREDICTIONS).read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux does a job end with its Snakemake")
@pytest.mark.parametrize("number", range(NUM_SNAKEMAKE_KILLS))
def test_a_killed_snakemake_goes_on_to_the_same_results(number: int, tiniest_run: Path, tmp_path: Path) -> None:
    # moments over the whole chain, by the share of its steps that are done
    share = (number + random.Random(number).random()) / NUM_SNAKEMAKE_KILLS
    process = start_snakemake(tmp_path, overlay=TINIEST)
    for line in process.stderr:
        progress = re.match(r"(\d+) of (\d+) steps", line)
        if progress and int(progress[1]) >= share * int(progress[2]):
            break
    time.sleep(random.Random(number).random())
    process.kill()
    ended(process)
    # what docs/running.md says to type
    assert run_snakemake(tmp_path, "--unlock", overlay=TINIEST).returncode == 0
    done = run_snakemake(tmp_path, overlay=TINIEST)
    assert done.returncode == 0, done.stderr[-5000:]
    assert_same_results(tmp_path, tiniest_run)
