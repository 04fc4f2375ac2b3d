"""fairseq 0.10.0 on today's Python, numpy and torch; loading stays safe."""

import argparse
import dataclasses
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Optional

import numpy as np
import pytest
import torch

from cross_thought.errors import UserError
from cross_thought.fairseq import bridge
from cross_thought.training.checkpoints import export_model, load_checkpoint, newest_checkpoint

bridge.install()


def test_dataclasses_are_strict_again_after_the_import() -> None:
    class Unhashable:
        __hash__ = None

    with pytest.raises(ValueError, match="mutable default"):

        @dataclasses.dataclass
        class Holder:
            value: Unhashable = Unhashable()


def test_optional_fields_are_unwrapped() -> None:
    from fairseq.dataclass.utils import FairseqDataclass

    @dataclasses.dataclass
    class Options(FairseqDataclass):
        old: Optional[int] = None  # noqa: UP045
        new: int | None = None
        text: str = ""

    options = Options()
    assert [options._get_type(name) for name in ("old", "new", "text")] == [int, int, str]


def test_getargspec_is_there_for_the_multi_gpu_wrapper() -> None:
    assert "check_reduction" in inspect.getargspec(lambda check_reduction: None)[0]


def test_training_loads_neither_transformers_nor_a_compiler() -> None:
    pytest.importorskip("transformers")
    code = (
        "import sys\n"
        "from cross_thought.fairseq import bridge\n"
        "bridge.install()\n"
        "import torch\n"
        "from fairseq.optim.adam import Adam\n"
        "weight = torch.ones(1, requires_grad=True)\n"
        "optimizer = Adam([weight], lr=0.5)\n"
        "(weight * 2).sum().backward()\n"
        "optimizer.step()\n"
        "optimizer.zero_grad()\n"
        "optimizer.load_state_dict(optimizer.state_dict())\n"
        "print(f'{weight.item():.3f}', [name for name in ('transformers', 'torch._dynamo') if name in sys.modules])\n"
        "import transformers\n"
        "print(transformers.__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["0.500 []", "transformers"]


@pytest.fixture
def state() -> dict:
    """Return what a fairseq checkpoint holds."""
    return {
        "args": argparse.Namespace(arch="cross_thought_tiny", lr=[0.1]),
        "model": {"weight": torch.ones(2)},
        "optimizer_history": [{"num_updates": 7}],
        "extra_state": {"best": np.float64(1.5), "metrics": [np.int64(3), np.float32(0.5)]},
        "last_optimizer_state": {"state": {0: torch.ones(2)}},
    }


def test_a_fairseq_checkpoint_loads(state: dict, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "checkpoint.pt")
    loaded = load_checkpoint(tmp_path / "checkpoint.pt")
    assert loaded["args"] == state["args"]
    assert loaded["extra_state"] == state["extra_state"]


def test_the_exported_model_lacks_the_optimizers_state_alone(state: dict, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "checkpoint.pt")
    export_model(tmp_path / "checkpoint.pt", tmp_path / "model.pt")
    assert set(load_checkpoint(tmp_path / "model.pt")) == set(state) - {"last_optimizer_state"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "model.pt"]


def test_a_run_goes_on_from_its_newest_sound_checkpoint(
    state: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert newest_checkpoint(tmp_path) == (None, 0)
    for name, num_updates in (("checkpoint_1_40.pt", 40), ("checkpoint_1_80.pt", 80), ("checkpoint_last.pt", 90)):
        torch.save(state | {"optimizer_history": [{"num_updates": num_updates}]}, tmp_path / name)
    (tmp_path / "checkpoint_best.pt").write_bytes(b"")
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint_last.pt", 90)
    (tmp_path / "checkpoint_last.pt").write_bytes(b"cut")
    assert newest_checkpoint(tmp_path) == (tmp_path / "checkpoint_1_80.pt", 80)
    assert "checkpoint_last.pt cannot be read as a checkpoint" in capsys.readouterr().out


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("was-here"),))


@pytest.mark.parametrize("content", ["hostile", "hostile legacy", "cut", "text", "no checkpoint"])
def test_what_is_no_checkpoint_is_refused_and_runs_nothing(
    content: str, state: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.pt"
    if content == "hostile":
        torch.save(state | {"extra_state": Hostile()}, path)
    elif content == "hostile legacy":
        path.write_bytes(pickle.dumps(Hostile()))
    elif content == "cut":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:500])
    elif content == "text":
        path.write_text("<html>quota exceeded</html>")
    else:
        torch.save({"model": {}}, path)
    with pytest.raises(UserError, match=r"checkpoint\.pt") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "was-here").exists()
