"""GPUs that are asked for and not there: told before anything is done. Where there is none, an `nvidia-smi` pretends."""

import os
from pathlib import Path

import pytest
import torch

from cross_thought.errors import UserError
from cross_thought.training.devices import VISIBLE, check_gpus, usable_device, visible_gpus

PLACE = "config: hardware.device is 'cuda'"


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend a machine of two GPUs, as its driver's command lists them."""
    command = tmp_path / "nvidia-smi"
    command.write_text(
        "#!/bin/sh\n"
        "echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aa11-22)'\n"
        "echo 'GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bb33-44)'\n"
        "echo '  MIG 1g.10gb     Device  0: (UUID: MIG-cc55-66)'\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(VISIBLE, raising=False)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("asked", "visible"),
    [
        (None, ["0", "1"]),
        ("1", ["1"]),
        ("1, 0", ["1", "0"]),
        ("GPU-bb33-44", ["GPU-bb33-44"]),
        ("GPU-aa,1", ["GPU-aa", "1"]),
        ("0,0", ["0"]),
        ("MIG-cc55-66", ["MIG-cc55-66"]),
        ("0,7,1", ["0"]),  # the driver reads no further than what names none
        ("-1", []),
        ("", []),
        ("GPU-ff", []),
    ],
)
def test_the_callers_choice_is_read_as_the_driver_reads_it(
    asked: str | None, visible: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if asked is not None:
        monkeypatch.setenv(VISIBLE, asked)
    assert visible_gpus() == visible


@pytest.mark.usefixtures("two_gpus")
def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_gpus(2, place=PLACE)
    with pytest.raises(UserError, match="but 2 can be used here and a job needs 3; this machine's GPUs are 0, 1"):
        check_gpus(3, place=PLACE)
    monkeypatch.setenv(VISIBLE, "1")
    with pytest.raises(UserError, match=rf"a job needs 2 \({VISIBLE} is '1'\); this machine's GPUs are 0, 1"):
        check_gpus(2, place=PLACE)
    monkeypatch.setenv(VISIBLE, "7")
    with pytest.raises(UserError, match=rf"but {VISIBLE} is '7', which names no GPU here .*: correct or unset it"):
        check_gpus(1, place=PLACE)


def test_a_machine_without_a_gpu_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if visible_gpus():
        pytest.skip("this machine has a GPU")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="this machine has no NVIDIA GPU that its driver lists: set hardware.device to"):
        check_gpus(1, place=PLACE)


def test_what_torch_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_device("cpu") == torch.device("cpu")
    for name in ("abacus", "cuda:x", "meta"):
        with pytest.raises(UserError, match=f"device '{name}' cannot be used here .*: try cpu"):
            usable_device(name)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UserError, match="torch .* was built without CUDA; use cpu, or install"):
        usable_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv(VISIBLE, "7")
    with pytest.raises(UserError, match=rf"torch sees no GPU \({VISIBLE} is '7'\)"):
        usable_device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert usable_device("cuda", number=2) == torch.device("cuda")
    for name, number, needed in (("cuda:7", 1, 8), ("cuda", 3, 3)):
        with pytest.raises(UserError, match=f"torch sees 2 GPUs, the last one is cuda:1, and {needed} are needed"):
            usable_device(name, number=number)
