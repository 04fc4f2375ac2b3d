"""What fairseq's command line would pass over, or find late."""

import argparse
import os
import sys
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.fairseq.checks import check_arguments


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where there are data and a checkpoint."""
    monkeypatch.chdir(tmp_path)
    for name in ("data", "shard", f"da{os.pathsep}ta"):
        Path(name).mkdir()
    Path("model.pt").touch()


def arguments(**changes: object) -> argparse.Namespace:
    """Return a training's arguments as fairseq has them when nothing is said."""
    return argparse.Namespace(
        **{"data": "data", "restore_file": "checkpoint_last.pt", "cpu": False, "fp16": False} | changes
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"data": f"data{os.pathsep}shard"},
        {"restore_file": "model.pt", "reset_optimizer": True},
        {"finetune_from_model": "model.pt"},
        {"path": "model.pt"},
        {"cpu": True},
        {"tensorboard_logdir": ""},
        {"data": None},
        {"fp16": True, "optimizer": "fused_adam"},
        {"segment_by": "sentence", "task": "masked_sentences"},
        {"segment_by": "sentence", "task": "sentence_prediction"},
        {"segment_by": "tokens", "task": "masked_lm"},
    ],
)
def test_what_can_be_done_goes_through(changes: dict) -> None:
    check_arguments(arguments(**changes))


@pytest.fixture
def _without_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)  # as where it is not installed


@pytest.mark.usefixtures("_without_tensorboard")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"restore_file": "gone.pt"}, "--restore-file gone.pt is no file: give the path of a checkpoint that is there"),
        ({"restore_file": "data"}, "--restore-file data is no file"),
        ({"finetune_from_model": "gone.pt"}, "--finetune-from-model gone.pt is no file"),
        ({"path": "gone.pt"}, "--path gone.pt is no file"),
        ({"finetune_from_model": "model.pt", "restore_file": "model.pt"}, "both name where to start: give one of them"),
        ({"finetune_from_model": "model.pt", "reset_meters": True}, "anyway: leave --reset-meters out"),
        ({"data": "gone"}, "gone is no folder: give the folder of the binarized data"),
        ({"data": f"data{os.pathsep}gone"}, "gone is no folder"),
        ({"data": f"da{os.pathsep}ta"}, "fairseq would read several folders here, .* rename the folder"),
        ({"tpu": True}, "--tpu needs torch_xla, which is not installed"),
        ({"tensorboard_logdir": "logs"}, "--tensorboard-logdir needs tensorboardX, which is not installed"),
        (
            {"segment_by": "sentence", "task": "masked_lm"},
            "--task masked_lm masks the `</s>` that --segment-by sentence cuts at: take --task masked_sentences",
        ),
        ({"cpu": True, "fp16": True}, "--fp16 needs a GPU: leave it out"),
        (
            {"fp16": True, "memory_efficient_fp16": True, "optimizer": "fused_adam"},
            "--memory-efficient-fp16 has no float32 weights, which --optimizer fused_adam needs: take adam",
        ),
    ],
)
def test_what_cannot_is_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        check_arguments(arguments(**changes))
