"""The GPUs of this machine, as told without torch; and, inside a job, whether torch can use a device.

Nothing is imported at module level but the standard library: where the workflow is started there need be no torch.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from cross_thought.errors import UserError

if TYPE_CHECKING:
    import torch

VISIBLE = "CUDA_VISIBLE_DEVICES"
_REMEDY = "set hardware.device to cpu, or run where there is a GPU"


def all_gpus() -> list[tuple[str, str]]:
    """Return the number and the UUID of each NVIDIA GPU of this machine; UUIDs are empty without `nvidia-smi`."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        listed = None
    if listed is not None and listed.returncode == 0:
        return re.findall(r"^GPU (\d+): .*\(UUID: (\S+)\)", listed.stdout, re.MULTILINE)
    numbers = sorted(int(path.name[6:]) for path in Path("/dev").glob("nvidia*") if path.name[6:].isdecimal())
    return [(str(number), "") for number in numbers]


def visible_gpus() -> list[str]:
    """Return the GPUs that a process started here may use, each as `CUDA_VISIBLE_DEVICES` names one.

    Those that the variable names, as the driver reads it: by number or by a UUID's beginning, up to the first entry
    that names none of this machine; all, where it is not set.
    """
    gpus = all_gpus()
    asked = os.environ.get(VISIBLE)
    if asked is None:
        return [number for number, _ in gpus]
    visible: list[str] = []
    for entry in map(str.strip, asked.split(",")):
        by_uuid = entry.startswith("GPU-") and any(uuid.startswith(entry) or not uuid for _, uuid in gpus)
        by_number = entry.isdecimal() and str(int(entry)) in (number for number, _ in gpus)
        # an instance of a divided GPU is no GPU of the list
        if not (by_uuid or by_number or (gpus and entry.startswith("MIG-"))):
            break
        if entry not in visible:  # named twice, it is one all the same
            visible.append(entry)
    return visible


def check_gpus(number: int, *, place: str) -> None:
    """Refuse to work for a GPU that is not there, before anything else is done.

    Raises:
        UserError: if fewer than one job needs can be used here; `place` says who asks for them.
    """
    visible = visible_gpus()
    if len(visible) >= number:
        return
    asked = os.environ.get(VISIBLE)
    gpus = all_gpus()
    if not gpus:
        raise UserError(f"{place}, but this machine has no NVIDIA GPU that its driver lists: {_REMEDY}")
    there = f"this machine's GPUs are {', '.join(number for number, _ in gpus)}"
    if asked is not None and not visible:
        raise UserError(f"{place}, but {VISIBLE} is {asked!r}, which names no GPU here ({there}): correct or unset it")
    limit = "" if asked is None else f" ({VISIBLE} is {asked!r})"
    raise UserError(f"{place}, but {len(visible)} can be used here and a job needs {number}{limit}; {there}")


def usable_device(name: str, *, number: int = 1) -> "torch.device":
    """Return torch's device of a name (`cpu`, `cuda`, `cuda:1`, ...), once it is known that torch can use it.

    Of GPUs torch is asked how many there are, and no memory is taken: the process that computes may be another one.
    `number` are needed, where no one is named.

    Raises:
        UserError: if torch cannot use it here.
    """
    import torch

    try:
        device = torch.device(name)
        if device.type != "cuda":
            torch.zeros(1, device=device).item()
            return device
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch raises any of these
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"device {name!r} cannot be used here ({reason}): try cpu") from None
    if torch.version.cuda is None and torch.version.hip is None:
        raise UserError(
            f"device {name!r} cannot be used here: torch {torch.__version__} was built without CUDA; use cpu, or "
            "install the build of torch for your GPU"
        )
    count = torch.cuda.device_count()
    if count == 0:
        asked = os.environ.get(VISIBLE)
        why = "is its driver new enough?" if asked is None else f"{VISIBLE} is {asked!r}"
        raise UserError(f"device {name!r} cannot be used here: torch sees no GPU ({why}); use cpu, or mend that")
    needed = number if device.index is None else device.index + 1
    if needed > count:
        raise UserError(
            f"device {name!r} cannot be used here: torch sees {count} GPU{'s' * (count > 1)}, the last one is "
            f"cuda:{count - 1}, and {needed} are needed; name another, or change {VISIBLE}"
        )
    return device
