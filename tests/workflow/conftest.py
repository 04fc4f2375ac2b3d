"""Running the real workflow in a folder of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

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
    "seeds": [1, 2],
}

Run = Callable[..., subprocess.CompletedProcess]


def run_snakemake(directory: Path, *arguments: str, overlay: dict | None = None) -> subprocess.CompletedProcess:
    """Run the workflow in a folder, with an overlay for its config.

    Args:
        directory: where results/ is made.
        arguments: targets and flags.
        overlay: what is laid over config.yaml.
    """
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "2"]
    if overlay is not None:
        (directory / "overlay.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
        command += ["--configfile", "overlay.yaml"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # targets stand before `--configfile`, which would take them for files
    command[3:3] = arguments
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the tiny chain once and return its folder."""
    directory = tmp_path_factory.mktemp("tiny run")  # a space in the path, as users have them
    done = run_snakemake(directory, overlay=TINY)
    assert done.returncode == 0, done.stderr[-5000:]
    return directory
