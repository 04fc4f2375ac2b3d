"""Pre-training by two processes, over gloo: the same numbers as one process with twice the update frequency."""

import copy
import shutil
from pathlib import Path

import pytest
import torch

from cross_thought.config import load_config
from cross_thought.errors import UserError
from cross_thought.training.checkpoints import load_checkpoint
from tests.workflow.conftest import TINIEST, losses, run_snakemake

ONE = copy.deepcopy(TINIEST)
ONE["model_defaults"]["pretraining"] |= {"max_updates": 60, "batch_size": 8, "update_freq": 2}
TWO = ONE | {"hardware": {"processes": 2}}
RESULT = "results/pretrain/cross_thought/seed-1"


def test_two_processes_train_as_one_does(binarized: Path) -> None:
    found = {}
    for name, overlay in (("one", ONE), ("two", TWO)):
        done = run_snakemake(binarized, f"{RESULT}/model.pt", overlay=overlay)
        assert done.returncode == 0, done.stderr[-5000:]
        found[name] = losses(binarized / RESULT / "history.tsv"), load_checkpoint(binarized / RESULT / "model.pt")
        shutil.rmtree(binarized / RESULT)
    (one, model), (two, model_of_two) = found.values()

    assert len(one) > 60
    assert one.keys() == two.keys()
    for key, loss in one.items():
        assert two[key] == pytest.approx(loss, abs=0.0011), key  # fairseq reports three decimals
    assert one["train", 60] < one["train", 1] - 0.5  # there was something to learn

    assert (model["args"].update_freq, model_of_two["args"].update_freq) == ([2], [1])
    assert model_of_two["args"].distributed_world_size == 2
    for name, weights in model["model"].items():  # gradients are added up in another order
        torch.testing.assert_close(model_of_two["model"][name], weights, rtol=0, atol=1e-3)


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
