"""Reading fairseq checkpoints without fairseq, and writing the trained model for those who go on from it."""

import argparse
import hashlib
from pathlib import Path

import torch

from cross_thought.errors import UserError
from cross_thought.fairseq.bridge import allow_checkpoint_types
from cross_thought.files import atomic_file

VOCABULARY_HASH = "dictionary_sha256"  # entry of our final checkpoints: of the dict.txt that ids come from


def load_checkpoint(path: Path) -> dict:
    """Load a fairseq checkpoint on the CPU; nothing in it can run code.

    Raises:
        UserError: if the file is missing, cut, no fairseq checkpoint, or holds objects that could run code.
    """
    allow_checkpoint_types()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: give the path of a fairseq checkpoint") from None
    except Exception as error:  # torch reports a broken file in many ways
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}): fetch or make the file again") from None
    if not isinstance(state, dict) or "model" not in state or not isinstance(state.get("args"), argparse.Namespace):
        raise UserError(f"{path} is no fairseq checkpoint: it lacks `args` and `model`")
    return state


def newest_checkpoint(run: Path) -> tuple[Path | None, int]:
    """Find the checkpoint to go on from in the folder of a training run.

    Returns:
        The newest checkpoint that can be read and its updates; (None, 0) if there is none. A broken one is reported
        and passed over.
    """
    candidates = sorted(run.glob("checkpoint_*.pt"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    best: tuple[Path | None, int] = (None, 0)
    for path in candidates:
        if path.name == "checkpoint_best.pt":  # the best need not be the newest
            continue
        try:
            num_updates = load_checkpoint(path)["optimizer_history"][-1]["num_updates"]
        except UserError as error:
            print(f"warning: {error}; going on from an older checkpoint", flush=True)
            continue
        if num_updates > best[1]:
            best = (path, num_updates)
    return best


def export_model(
    checkpoint: Path, destination: Path, *, dictionary: Path | None = None, without_heads: bool = False
) -> None:
    """Write a checkpoint without the optimizer's state, whole or not at all; fairseq restores it all the same.

    Args:
        checkpoint: of training.
        destination: the file to write.
        dictionary: dict.txt of the training; its checksum goes into the file, so that another one is noticed.
        without_heads: leave the classification heads out, so that another task begins with fresh ones.
    """
    state = load_checkpoint(checkpoint)
    state.pop("last_optimizer_state", None)
    if dictionary is not None:
        state[VOCABULARY_HASH] = hashlib.sha256(dictionary.read_bytes()).hexdigest()
    if without_heads:
        state["model"] = {key: value for key, value in state["model"].items() if "classification_heads." not in key}
    with atomic_file(destination) as partial:
        torch.save(state, partial)
