"""What fairseq's command line passes over, or ends in a traceback for: refused in one sentence before it runs."""

import argparse
import os
from collections.abc import Iterator
from importlib import util
from pathlib import Path

from cross_thought.errors import UserError

_NOT_RESTORED = "checkpoint_last.pt"  # fairseq's default: the newest in --save-dir, if there is one


def check_arguments(args: argparse.Namespace) -> None:
    """Refuse what of fairseq's arguments cannot be meant, or cannot be done here.

    Raises:
        UserError: naming the flag, its value and the remedy.
    """
    for sentence in _faults(args):
        raise UserError(sentence)


def _faults(args: argparse.Namespace) -> Iterator[str]:
    """Yield what is wrong, in a sentence each."""
    if getattr(args, "data", None):  # fairseq's dummy tasks have none
        yield from _data_faults(args.data)
    restored, start = getattr(args, "restore_file", _NOT_RESTORED), getattr(args, "finetune_from_model", None)
    resets = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")
    reset = next((f"--{name.replace('_', '-')}" for name in resets if getattr(args, name, False)), None)
    if start is not None and restored != _NOT_RESTORED:
        yield "--finetune-from-model and --restore-file both name where to start: give one of them"
    if start is not None and reset:
        yield f"--finetune-from-model starts with a new optimizer anyway: leave {reset} out"
    given = {"--path": getattr(args, "path", None), "--finetune-from-model": start}
    if restored != _NOT_RESTORED:
        given["--restore-file"] = restored
    for flag, path in given.items():
        if path is not None and not Path(path).is_file():
            yield f"{flag} {path} is no file: give the path of a checkpoint that is there"
    if getattr(args, "tpu", False) and util.find_spec("torch_xla") is None:
        yield "--tpu needs torch_xla, which is not installed: leave the flag out"
    if getattr(args, "tensorboard_logdir", None) and util.find_spec("tensorboardX") is None:
        yield "--tensorboard-logdir needs tensorboardX, which is not installed: install it, or leave the flag out"
    if getattr(args, "bfloat16", False):
        arch = getattr(args, "arch", "cross_thought")
        if not arch.startswith("cross_thought"):
            yield f"--bf16 is for cross_thought's architectures, not for {arch}: leave it out"
        if args.fp16:
            yield "--fp16 and --bf16 exclude each other: leave one of them out"
    if getattr(args, "memory_efficient_fp16", False) and getattr(args, "optimizer", None) == "fused_adam":
        yield "--memory-efficient-fp16 has no float32 weights, which --optimizer fused_adam needs: take adam"
    if getattr(args, "segment_by", None) == "sentence" and getattr(args, "task", None) == "masked_lm":
        yield (
            "--task masked_lm masks the `</s>` that --segment-by sentence cuts at: take --task masked_sentences, or "
            "--segment-by tokens"
        )
    if args.cpu and args.fp16:
        yield "--fp16 needs a GPU: leave it out, or leave --cpu out"


def _data_faults(data: str) -> Iterator[str]:
    """Yield what is wrong with the data's path, which fairseq splits into several at each `os.pathsep`."""
    parts = data.split(os.pathsep)
    if len(parts) > 1 and Path(data).exists():
        yield (
            f"{data}: fairseq would read several folders here, with {os.pathsep!r} between them: rename the folder, or "
            "start in it and name the data from there"
        )
    for part in parts:
        if not Path(part).is_dir():
            yield f"{part} is no folder: give the folder of the binarized data"
