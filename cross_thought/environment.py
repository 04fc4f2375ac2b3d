"""What a number was made with: this process's code, versions and machine; the command lines of trainings.

Standard library only: training jobs record their command with this where neither scikit-learn nor matplotlib is.
"""

import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from cross_thought.errors import UserError
from cross_thought.files import write_json

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = (
    "cross-thought", "fairseq", "gigatoken", "matplotlib", "numpy", "scikit-learn", "scipy", "snakemake", "tiktoken",
    "tokenizers", "torch",
)  # fmt: skip


def environment() -> dict[str, object]:
    """Describe this process's code and machine: commit, versions, CPU, memory, GPUs.

    `commit` and `dirty` are None outside a Git checkout. `dirty` also counts new files that Git does not ignore.
    """
    head, dirty = commit()
    return {
        "commit": head,
        "dirty": dirty,
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": _memory_gb(),
        "gpus": gpus(),
    }


def commit() -> tuple[str | None, bool | None]:
    """Return the commit of this code and whether it was changed since; None for what is not known."""
    # an installed package may lie in a checkout of something else
    is_checkout = (REPOSITORY / ".git").exists()
    status = _output("git", "-C", str(REPOSITORY), "status", "--porcelain") if is_checkout else None
    head = _output("git", "-C", str(REPOSITORY), "rev-parse", "--verify", "--quiet", "HEAD") if is_checkout else None
    return head or None, None if status is None else bool(status)


def slow_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """Return a line for those who compute in bfloat16 on a processor without instructions for it; None for others.

    Where nothing is known of the processor, nothing is said.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    flags = {
        flag
        for line in text.splitlines()
        if line.startswith(("flags", "Features"))
        for flag in line.partition(":")[2].split()
    }
    if not flags or flags & {"avx512_bf16", "amx_bf16", "bf16"}:
        return None
    return "this processor has no instructions for bfloat16: it works, but hardware.precision float32 is faster here"


def repository_file(path: Path) -> Path:
    """Return a file of the repository that is no part of the package.

    Raises:
        UserError: if it is not there, because the package was installed without the repository.
    """
    if not path.is_file():
        raise UserError(
            f"{path.relative_to(REPOSITORY)} is not in the installed package, but in the workflow's repository: run "
            "`python -m cross_thought ...` in its folder"
        )
    return path


def gpus() -> list[str]:
    """Name the GPUs that `nvidia-smi` lists, with their memory and driver; none if there is no such command."""
    listed = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return [line.strip() for line in (listed or "").splitlines() if line.strip()]


def record_command(
    path: Path | str, argv: Sequence[str], started: float, duration_s: float, **more: Mapping[str, object]
) -> None:
    """Write `command.json` beside a trained model: its command line, when it started, by `time.time`, for how long.

    What of `more` is not empty stands there, too.
    """
    record = {
        "argv": list(map(str, argv)),
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "duration_s": round(duration_s, 3),
        "host": {"name": socket.gethostname(), **environment()},
    }
    write_json(path, record | {key: value for key, value in more.items() if value})


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (OSError, ValueError):
        return None
