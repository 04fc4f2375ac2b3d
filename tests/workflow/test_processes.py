"""Pre-training by two processes, over gloo: the same numbers as one process with twice the update frequency."""

import copy
import csv
from pathlib import Path

import pytest
import torch

from cross_thought.config import load_config
from cross_thought.errors import UserError
from cross_thought.fairseq.checkpoints import load_checkpoint
from tests.workflow.conftest import TINIEST, run_snakemake

ONE = copy.deepcopy(TINIEST) | {"models": {"cross_thought": {}}, "control": None}
ONE["model_defaults"]["pretraining"] |= {"max_updates": 60, "batch_size": 8, "update_freq": 2}
TWO = ONE | {"hardware": {"processes": 2}}
RESULT = "results/pretrain/cross_thought/seed-1"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Pre-train with one process and with two; return the folders of the results."""
    folders = []
    for name, overlay in (("one", ONE), ("two", TWO)):
        directory = tmp_path_factory.mktemp(name)
        done = run_snakemake(directory, f"{RESULT}/model.pt", overlay=overlay)
        assert done.returncode == 0, done.stderr[-5000:]
        folders.append(directory / RESULT)
    return folders


def losses(folder: Path) -> dict[tuple[str, str], float]:
    """Return the loss at each update that it was reported for."""
    rows = csv.DictReader((folder / "history.tsv").open(), delimiter="\t")
    return {(row["split"], row["num_updates"]): float(row["loss"]) for row in rows}


def test_the_losses_are_those_of_one_process(runs: list[Path]) -> None:
    one, two = map(losses, runs)
    assert len(one) > 60
    assert one.keys() == two.keys()
    for key, loss in one.items():
        assert two[key] == pytest.approx(loss, abs=0.002), key  # fairseq reports three decimals
    assert one["train", "60"] < one["train", "1"] - 0.5  # there was something to learn


def test_the_weights_are_close(runs: list[Path]) -> None:
    one, two = (load_checkpoint(folder / "model.pt") for folder in runs)
    assert two["args"].distributed_world_size == 2
    assert (one["args"].update_freq, two["args"].update_freq) == ([2], [1])
    for name, weights in one["model"].items():
        torch.testing.assert_close(two["model"][name], weights, rtol=0, atol=1e-3)  # sums in another order


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ({"processes": 3}, "update_freq 2 is no multiple of hardware.processes 3"),
        ({"processes": 2, "nodes": 4}, "hardware.processes 2 is no multiple of hardware.nodes 4"),
    ],
)
def test_processes_that_cannot_share_are_refused(hardware: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config(ONE | {"hardware": hardware})
