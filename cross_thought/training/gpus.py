"""Sharing a machine's GPUs out: each job is bound to some of its own, whoever started it.

On a SLURM cluster the scheduler does that, and what it gives is taken as it is. Standard library only.
"""

import fcntl
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cross_thought.training.devices import VISIBLE, all_gpus, check_gpus, visible_gpus

# not the user's TMPDIR: all users of the machine have to meet
_LOCKS = Path("/tmp")
_SECONDS_BETWEEN_TRIES = 1.0


@contextmanager
def own_gpus(number: int) -> Iterator[None]:
    """Let this process, and those that it starts, see so many GPUs, which no other job has meanwhile.

    Of those that the caller's `CUDA_VISIBLE_DEVICES` allows; where too many are taken, wait. 0: nothing is done.

    Raises:
        UserError: if there are not so many.
    """
    if number == 0 or ("SLURM_JOB_ID" in os.environ and len(visible_gpus()) <= number):
        yield
        return
    check_gpus(number, place="config: hardware.device is 'cuda'")
    before = os.environ.get(VISIBLE)
    with ExitStack() as locks:
        names = _take(number, locks)
        os.environ[VISIBLE] = ",".join(names)
        print(f"GPU {', '.join(names)}", flush=True)
        try:
            yield
        finally:
            del os.environ[VISIBLE]
            if before is not None:
                os.environ[VISIBLE] = before


def _take(number: int, locks: ExitStack) -> list[str]:
    """Return that many GPUs, once all of them are free at a time; `locks` holds them."""
    gpus, is_told = all_gpus(), False
    files = {name: _LOCKS / f"cross-thought-gpu-{_identity(name, gpus)}.lock" for name in visible_gpus()}
    while True:
        with ExitStack() as taken:
            mine: list[str] = []
            for name, file in files.items():
                if len(mine) < number and _lock(file, taken):
                    mine.append(name)
            if len(mine) == number:
                locks.push(taken.pop_all())
                return mine
        if not is_told:
            print(f"waiting for {number} of the GPUs {', '.join(files)}: other jobs have them", flush=True)
            is_told = True
        time.sleep(_SECONDS_BETWEEN_TRIES)


def _lock(path: Path, locks: ExitStack) -> bool:
    """Lock a GPU's file for as long as `locks` is open; return whether it was free."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o644))
        path.chmod(0o644)  # whatever the umask: others have to open it
    file = locks.enter_context(path.open("rb"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _identity(name: str, gpus: Sequence[tuple[str, str]]) -> str:
    """Return the one name of a GPU that `CUDA_VISIBLE_DEVICES` may name in several ways; `gpus` are all there are."""
    for number, uuid in gpus:
        if (name.isdecimal() and name == number) or (name.startswith("GPU-") and uuid.startswith(name)):
            return uuid or number
    return name
