"""Pre-training by two processes, over gloo: the same numbers as one process with twice the update frequency."""

from pathlib import Path

import pytest
import torch

from cross_thought.config import load_config
from cross_thought.errors import UserError
from cross_thought.training.checkpoints import load_checkpoint
from tests.workflow.conftest import ONE_PROCESS, PRETRAINED, losses, run_snakemake


def test_two_processes_train_as_one_does(run_of_two_processes: Path, binarized: Path) -> None:
    done = run_snakemake(binarized, f"{PRETRAINED}/model.pt", overlay=ONE_PROCESS)
    assert done.returncode == 0, done.stderr[-5000:]
    (one, model), (two, model_of_two) = (
        (losses(folder / PRETRAINED / "history.tsv"), load_checkpoint(folder / PRETRAINED / "model.pt"))
        for folder in (binarized, run_of_two_processes)
    )

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
        load_config(ONE_PROCESS | {"hardware": hardware})
