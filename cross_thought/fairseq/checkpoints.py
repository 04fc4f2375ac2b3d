"""Reading fairseq checkpoints without fairseq, and writing the trained model for those who go on from it."""

import argparse
import os
from pathlib import Path

import torch

from cross_thought.errors import UserError
from cross_thought.fairseq.bridge import allow_checkpoint_types


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


def num_updates_of(path: Path) -> int:
    """Return how many updates a training checkpoint has behind it; 0 if there is none."""
    if not path.exists():
        return 0
    return load_checkpoint(path)["optimizer_history"][-1]["num_updates"]


def export_model(checkpoint: Path, destination: Path) -> None:
    """Write a checkpoint without the optimizer's state, whole or not at all; fairseq restores it all the same."""
    state = load_checkpoint(checkpoint)
    state.pop("last_optimizer_state", None)
    partial = destination.with_name(destination.name + ".partial")
    torch.save(state, partial)
    os.replace(partial, destination)
