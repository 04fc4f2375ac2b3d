"""Running the real workflow in a folder of its own."""

import copy
import csv
import os
import shutil
import signal
import site
import subprocess
import sys
import venv
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest
import torch
import yaml

from cross_thought.training.checkpoints import load_checkpoint
from tests.conftest import made_once

REPOSITORY = Path(__file__).parents[2]

# the demo's chain, cut to what a test needs: it learns nothing
TINY = {
    "corpus": {"demo_documents": 300, "valid_fraction": 0.1},
    "model_defaults": {"pretraining": {"max_updates": 6, "warmup_updates": 2, "save_interval_updates": 2}},
    "finetuning": {"num_epochs": 1},
    "tasks": {
        "demo-match": {"max_train_examples": 96},
        "demo-overlap": {"max_train_examples": 96},
        "demo-job": {"max_train_examples": 96, "start_from": "demo-match", "keep_checkpoints": True},
    },
    "embedding_tasks": {"demo-overlap": {}, "demo-match": {}, "demo-find": {}},
    "seeds": [1, 2],
}

# one task and one seed of it, for tests that run the whole chain in some special way
TINIEST = TINY | {"tasks": {"demo-match": {"max_train_examples": 96}}, "embedding_tasks": {}, "seeds": [1]}
TINIEST["model_defaults"] = {
    "pretraining": {"max_updates": 200, "warmup_updates": 10, "save_interval_updates": 20, "batch_size": 8}
}

# one pre-training, by a process and by two
ONE_PROCESS = copy.deepcopy(TINIEST)
ONE_PROCESS["model_defaults"]["pretraining"] |= {"max_updates": 60, "update_freq": 2}
TWO_PROCESSES = ONE_PROCESS | {"hardware": {"processes": 2}}
PRETRAINED = "results/pretrain/cross_thought/seed-1"


PROGRAM = ("-m", "snakemake")
LIMIT_S = 600  # of a run: longer than any takes on a slow machine


def run_snakemake(
    directory: Path, *arguments: str, overlay: dict | None = None, program: tuple[str, str] = PROGRAM
) -> subprocess.CompletedProcess:
    """Run the workflow in a folder, with an overlay for its config.

    Args:
        directory: where results/ is made; a clone made by `clone_with_python` runs its own workflow.
        arguments: targets and flags.
        overlay: what is laid over config.yaml.
        program: what Python runs.
    """
    return ended(start_snakemake(directory, *arguments, overlay=overlay, program=program))


def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """Wait for the end of what `start_snakemake` started, and return what it said; what is stuck is killed."""
    try:
        stdout, stderr = process.communicate(timeout=LIMIT_S)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _, stderr = process.communicate(timeout=60)
        error.add_note((stderr or "")[-5000:])
        raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def start_snakemake(
    directory: Path,
    *arguments: str,
    overlay: dict | None = None,
    program: tuple[str, str] = PROGRAM,
    output: IO | None = None,
) -> subprocess.Popen:
    """Start the workflow as `run_snakemake` does, in a process group of its own, and leave it running.

    Its output goes to a file, if one is given.
    """
    is_clone = (directory / "Snakefile").exists()
    snakefile = (directory if is_clone else REPOSITORY) / "Snakefile"
    python = directory / ".venv/bin/python" if is_clone else sys.executable
    command = [str(python), *program, "--snakefile", str(snakefile), "--cores", "2"]
    if overlay is not None:
        (directory / "overlay.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
        command += ["--configfile", "overlay.yaml"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # targets stand before `--configfile`, which would take them for files
    command[3:3] = arguments
    out, err = (output, subprocess.STDOUT) if output else (subprocess.PIPE, subprocess.PIPE)
    return subprocess.Popen(
        command, cwd=directory, env=environment, stdout=out, stderr=err, text=True, start_new_session=True
    )


def clone_with_python(directory: Path) -> None:
    """Make a folder what `make install` makes of a clone: the workflow, and a Python of its own with our packages."""
    for name in ("Snakefile", "config.yaml"):
        shutil.copyfile(REPOSITORY / name, directory / name)
    for name in (
        *("rules", "schemas", "workflow_scripts", "envs", "profiles"),
        *("cross_thought", "config", "resources", "report"),
    ):
        shutil.copytree(REPOSITORY / name, directory / name)
    venv.create(directory / ".venv", symlinks=True)
    packages = next((directory / ".venv/lib").glob("python*/site-packages"))
    (packages / "ours.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the tiny chain once, in a clone whose path is such as users have them, and return its folder.

    What a second run says, `second-run.log` has.
    """

    def make(directory: Path) -> None:
        clone_with_python(directory)
        done = run_snakemake(directory, overlay=TINY)
        assert done.returncode == 0, done.stderr[-5000:]
        again = run_snakemake(directory, overlay=TINY)
        assert again.returncode == 0, again.stderr[-5000:]
        (directory / "second-run.log").write_text(again.stderr, encoding="utf-8")

    return made_once("tiny 'rün' & more", tmp_path_factory, make)


@pytest.fixture
def clone(tiny_run: Path, tmp_path: Path) -> Path:
    """Return a copy of that clone after its run, to be changed."""
    return Path(shutil.copytree(tiny_run, tmp_path / "clone", symlinks=True))


@pytest.fixture(scope="session")
def tiniest_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the smallest chain once, in the plain way, and return its folder."""

    def make(directory: Path) -> None:
        done = run_snakemake(directory, overlay=TINIEST)
        assert done.returncode == 0, done.stderr[-5000:]

    return made_once("tiniest", tmp_path_factory, make)


def without_pretraining(tiniest_run: Path, directory: Path) -> Path:
    """Make in a folder all that a pre-training of `cross_thought` needs, and return it."""
    shutil.copytree(tiniest_run, directory, dirs_exist_ok=True)
    shutil.rmtree(directory / "results/pretrain/cross_thought")
    return directory


@pytest.fixture
def binarized(tiniest_run: Path, tmp_path: Path) -> Path:
    """Return a folder in which all that a pre-training of `cross_thought` needs is made."""
    return without_pretraining(tiniest_run, tmp_path)


@pytest.fixture(scope="session")
def run_of_two_processes(tiniest_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pre-train `cross_thought` once by two processes of this machine, and return the folder."""

    def make(directory: Path) -> None:
        without_pretraining(tiniest_run, directory)
        done = run_snakemake(directory, f"{PRETRAINED}/model.pt", overlay=TWO_PROCESSES)
        assert done.returncode == 0, done.stderr[-5000:]

    return made_once("two processes", tmp_path_factory, make)


def losses(history: Path) -> dict[tuple[str, int], float]:
    """Return the loss at each split and update that it was reported for."""
    with history.open() as file:
        rows = csv.DictReader(file, delimiter="\t")
        return {(row["split"], int(row["num_updates"])): float(row["loss"]) for row in rows}


def assert_same_results(found: Path, expected: Path) -> None:
    """Hold the tables and the trained models of two runs against each other, bit by bit but for the hours they took."""
    assert result_rows(found) == result_rows(expected)
    models = list(expected.glob("results/pretrain/*/seed-*/model.pt"))
    assert models
    for path in models:
        assert_same_weights(found / path.relative_to(expected), path)


def result_rows(directory: Path) -> dict[str, list[dict]]:
    """Return the rows of each table of a run, without the hours."""
    tables = {}
    for path in directory.glob("results/tables/*.csv"):
        with path.open() as file:
            tables[path.name] = [
                {key: value for key, value in row.items() if "hours" not in key} for row in csv.DictReader(file)
            ]
    return tables


def assert_same_weights(found: Path, expected: Path) -> None:
    """Hold the weights of two checkpoints against each other, bit by bit."""
    weights, wanted = load_checkpoint(found)["model"], load_checkpoint(expected)["model"]
    assert weights.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(weights[name], tensor), name
