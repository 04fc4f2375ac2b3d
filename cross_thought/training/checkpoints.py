"""Reading fairseq checkpoints without fairseq, and writing the trained model for those who go on from it."""

import argparse
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cross_thought.errors import OUT_OF_MEMORY, UserError
from cross_thought.files import atomic_file, file_hash, refuse_lfs_pointer

VOCABULARY_HASH = "dictionary_sha256"  # entry of our final checkpoints: of the dict.txt that ids come from
FINE_TUNED_ON = "fine_tuned_on"  # entry of fine-tuned checkpoints: labels, scale, columns of their task
_AGAIN = "fetch or make the file again"


class _Meter:
    """Stands in for the meters that old checkpoints hold beside the weights: what they measured, and no code."""


# where fairseq 0.9 and before had them; since then checkpoints hold their numbers alone
_METERS = ("AverageMeter", "TimeMeter", "StopwatchMeter")


def load_checkpoint(path: Path) -> dict:
    """Load a fairseq checkpoint on the CPU; nothing in it can run code.

    Raises:
        UserError: if the file is missing, cut, no fairseq checkpoint, or holds objects that could run code.
    """
    allow_checkpoint_types()
    refuse_lfs_pointer(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        damaged = _damaged_part(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give the path of a fairseq checkpoint") from None
    except Exception as error:  # torch reports a broken file in many ways
        raise UserError(unreadable(path, error)) from None
    if damaged:
        raise UserError(f"{path} cannot be read as a checkpoint: its part {damaged} is damaged; {_AGAIN}")
    weights = state.get("model") if isinstance(state, dict) else None
    is_model = isinstance(weights, dict) and all(map(torch.is_tensor, weights.values()))
    if not is_model or not isinstance(state.get("args"), argparse.Namespace):
        raise UserError(
            f"{path} is no fairseq checkpoint: it lacks `args` or `model`: take a checkpoint that fairseq wrote"
        )
    return state


def allow_checkpoint_types() -> None:
    """Let `torch.load` read the plain types of a fairseq checkpoint and still refuse anything that could run code."""
    scalar: Any = np.float64(0).__reduce__()[0]
    torch.serialization.add_safe_globals(
        [
            argparse.Namespace,
            np.dtype,
            type(np.dtype(np.float64)),
            type(np.dtype(np.float32)),
            type(np.dtype(np.int64)),
            scalar,
            (scalar, "numpy.core.multiarray.scalar"),  # the name in checkpoints that numpy 1.x wrote
            *((_Meter, f"fairseq.meters.{name}") for name in _METERS),
        ]
    )


def _damaged_part(path: Path) -> str | None:
    """Return the first part of a checkpoint that has not its checksum, which torch writes but does not hold it to."""
    if not zipfile.is_zipfile(path):  # torch's old format, without checksums
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def unreadable(path: str | Path, error: Exception) -> str:
    """Return a sentence on why torch did not load a file; its own advice, to load it unsafely, is kept back."""
    reason = f"it is cut, damaged, or no checkpoint at all; {_AGAIN}"
    if foreign := re.search(r"[Uu]nsupported (?:global: )?GLOBAL (\S+)", str(error)):
        reason = f"it holds {foreign[1]}, which could run code and is no part of a checkpoint, and was not loaded: "
        reason += "take one from a source that you trust"
    elif isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
        reason = OUT_OF_MEMORY
    elif isinstance(error, OSError) and error.strerror:
        reason = f"{error.strerror}; correct the path or its permissions"
    return f"{path} cannot be read as a checkpoint: {reason}"


def newest_checkpoint(run: Path) -> tuple[Path | None, int]:
    """Find the checkpoint to go on from in the folder of a training run.

    Returns:
        The checkpoint of the most updates that can be read, whatever the files' times are (clocks jump), and those
        updates; (None, 0) if there is none. A broken one is reported and passed over.
    """
    best: tuple[Path | None, int] = (None, 0)
    for path in sorted(run.glob("checkpoint_*.pt")):
        if path.name == "checkpoint_best.pt":  # the best need not be the newest
            continue
        try:
            state = load_checkpoint(path)
            if getattr(state["args"], "no_save_optimizer_state", False) and "last_optimizer_state" not in state:
                continue  # a model of a validation within an epoch: not to go on from, as it is told not to be
            history = state.get("optimizer_history")
            if not history or "last_optimizer_state" not in state:
                raise UserError(f"{path} is no checkpoint of a training in progress: it lacks the optimizer's state")
        except UserError as error:
            print(f"warning: {error}; going on from an older checkpoint", flush=True)
            continue
        if history[-1]["num_updates"] > best[1]:
            best = (path, history[-1]["num_updates"])
    return best


def export_model(
    checkpoint: Path,
    destination: Path,
    *,
    dictionary: Path | None = None,
    without_heads: bool = False,
    fine_tuned_on: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint without the optimizer's state, whole or not at all; fairseq restores it all the same.

    Args:
        checkpoint: of training.
        destination: the file to write.
        dictionary: dict.txt of the training; its checksum goes into the file, so that another one is noticed.
        without_heads: leave the classification heads out, so that another task begins with fresh ones.
        fine_tuned_on: what goes into the file of the task, so that it can be used alone.
    """
    state = load_checkpoint(checkpoint)
    state.pop("last_optimizer_state", None)
    if dictionary is not None:
        state[VOCABULARY_HASH] = file_hash(dictionary)
    if fine_tuned_on is not None:
        state[FINE_TUNED_ON] = dict(fine_tuned_on)
    if without_heads:
        state.pop(FINE_TUNED_ON, None)
        state["model"] = {key: value for key, value in state["model"].items() if "classification_heads." not in key}
    with atomic_file(destination) as partial:
        torch.save(state, partial)
