"""The battery for a GPU, tried out on a CPU at tiny sizes: with torch alone, and through fairseq."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BARE = ("numpy", "yaml", "jsonschema", "tokenizers", "sentence_transformers", "fairseq", "pandas", "scipy")


def run_battery(out: Path, *flags: object, environment: dict[str, str] | None = None) -> tuple[dict, str]:
    """Run it; return its parts by name, and its Markdown."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--out", out, "--device", "cpu", "--small", *flags],
        cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"} | (environment or {}), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / "battery.json").read_text())["parts"], (out / "battery.md").read_text()


@pytest.mark.slow
def test_with_torch_alone_the_other_parts_skip_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({BARE}))\n")
    parts, page = run_battery(tmp_path / "out", environment={"PYTHONPATH": str(tmp_path)})
    states = {name: part["state"] for name, part in parts.items()}
    skipped = ("pretraining", "finetuning", "resume", "embedding", "fairseq-tests")
    assert {name for name, state in states.items() if state == "done"} == states.keys() - set(skipped)
    assert states["pretraining"] == states["resume"] == "skipped: fairseq is not installed"
    assert states["embedding"] == "skipped: sentence_transformers is not installed"
    for name in skipped:
        assert f"{states[name]}." in page

    figures = {name: part["outcome"]["figures"] for name, part in parts.items() if "outcome" in part}
    assert figures["processes"]["processes"] == 2
    assert figures["processes"]["gradient_difference"] < 1e-5
    assert figures["losses"]["bfloat16"] == pytest.approx(figures["losses"]["float32"], abs=0.01)
    assert figures["step"]["float32"]["matrix products"] > 0
    assert "| pre-training, 320 tokens | train | bfloat16 |" in page


@pytest.mark.slow
def test_trainings_and_a_resume_through_fairseq(tmp_path: Path) -> None:
    pytest.importorskip("fairseq_cli", reason="fairseq is not installed")
    tests = tmp_path / "fairseq" / "tests"
    tests.mkdir(parents=True)
    (tests / "__init__.py").touch()
    (tests / "test_fp16_a.py").write_text(
        "import unittest\nfrom fairseq.optim.fp16_optimizer import FP16Optimizer\nimport tests\n"
        "class TestA(unittest.TestCase):\n    def test_good(self):\n        assert FP16Optimizer\n"
        "    def test_bad(self):\n        self.assertEqual(1, 2)\n"
    )
    parts, page = run_battery(
        tmp_path / "out", "--fairseq-tests", tests, "--parts", "pretraining", "finetuning", "resume", "fairseq-tests"
    )  # fmt: skip
    figures = {name: part["outcome"]["figures"] for name, part in parts.items()}
    losses = figures["pretraining"]["float32"]["losses_bits"]
    assert losses[-1] < losses[0]
    assert figures["finetuning"]["float32"]["updates_per_s"] > 0
    assert figures["resume"]["largest_difference"] == 0
    assert figures["fairseq-tests"] == {
        "tests.test_fp16_a.TestA.test_bad": "failed: 1 != 2",
        "tests.test_fp16_a.TestA.test_good": "passed",
    }
    assert "| float32 | 40 | none |" in page


def test_a_part_that_fails_or_takes_too_long_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from argparse import Namespace

    from benchmarks.gpu.battery import run_part

    options = Namespace(out=tmp_path, device="cpu", small=True, data=None, fairseq_tests=None)
    assert run_part("processes", options, limit_s=0.2)["state"].startswith("failed: not done in 0 s (see ")
    assert run_part("processes", options, limit_s=-1)["state"] == "left out: the 480 s were used up"
    options.fairseq_tests = tmp_path
    assert "has no test whose name has fp16" in run_part("fairseq-tests", options, limit_s=600)["state"]
