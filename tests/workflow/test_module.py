"""The workflow as a module of another one; and as many GPU jobs at a time as there are GPUs, in one and in the other."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.unit.training.test_gpus import three_gpus  # noqa: F401  (a fixture)
from tests.workflow.conftest import REPOSITORY, run_snakemake

IMPORTER = """\
configfile: "mine.yaml"
module cross_thought:
    snakefile: "{repository}/Snakefile"
    config: config["encoder"]
use rule * from cross_thought
"""
JOBS = """
rule mine:
    default_target: True
    input: expand("{{number}}.json", number=range(5))
rule job:
    output: "{{number}}.json"
    resources: gpu=1
    shell: "{python} job.py {{output}}"
"""
JOB = """\
import json, os, sys, time
from pathlib import Path
from cross_thought.training.gpus import own_gpus
planned = time.time()
with own_gpus(1):
    started = time.time()
    Path(sys.argv[1]).with_suffix(".started").touch()
    while len([*Path().glob("*.started")]) < 2:  # the first two are there at a time, however slow the machine
        time.sleep(0.01)
    time.sleep(0.5)
    json.dump([planned, time.time(), os.environ["CUDA_VISIBLE_DEVICES"]], open(sys.argv[1], "w"))
"""


def snakemake(directory: Path, *arguments: str, more: str = "", **encoder: dict) -> str:
    """Run a workflow that imports ours, with a config of its own; return what it prints."""
    text = IMPORTER.format(repository=REPOSITORY) + more.format(python=sys.executable)
    (directory / "Snakefile").write_text(text, encoding="utf-8")
    (directory / "mine.yaml").write_text(yaml.safe_dump({"encoder": encoder, "other": 1}), encoding="utf-8")
    command = [sys.executable, "-m", "snakemake", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_another_workflow_imports_this_one(tmp_path: Path) -> None:
    corpus = {"demo_documents": 300}
    assert "rule write_report:" in snakemake(tmp_path, "--dry-run", corpus=corpus)
    snakemake(tmp_path, "--cores", "2", "results/tasks/demo-job", corpus=corpus)
    assert (tmp_path / "results/tasks/demo-job/train.tsv").is_file()


def test_a_snakefile_without_its_package_says_so(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "Snakefile", tmp_path)
    shutil.copytree(REPOSITORY / "rules", tmp_path / "rules")
    command = [sys.executable, "-m", "snakemake", "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "the package is not beside this Snakefile: clone the whole repository" in done.stdout + done.stderr


def test_gpu_jobs_start_as_many_at_a_time_as_there_are_gpus(
    three_gpus: list[str],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{three_gpus[2]},0")
    (tmp_path / "job.py").write_text(JOB)
    snakemake(tmp_path, "--cores", "4", more=JOBS, hardware={"device": "cuda"})
    jobs = sorted(json.loads((tmp_path / f"{number}.json").read_text()) for number in range(5))
    for began, _, gpu in jobs:
        at_a_time = {other for start, end, other in jobs if start <= began < end}
        assert len([start for start, end, _ in jobs if start <= began < end]) == len(at_a_time) <= 2
        assert at_a_time <= {three_gpus[2], "0"}
        assert gpu in at_a_time
    assert {gpu for *_, gpu in jobs} == {three_gpus[2], "0"}


def test_processes_on_one_node_ask_slurm_for_one(tmp_path: Path) -> None:
    submit = pytest.importorskip("snakemake_executor_plugin_slurm.submit_string")
    utils = pytest.importorskip("snakemake_executor_plugin_slurm.utils")
    overlay = {
        "model_defaults": {"pretraining": {"update_freq": 8}},
        "hardware": {"device": "cuda", "processes": 8, "nodes": 1, "threads": 2},
    }
    done = run_snakemake(tmp_path, "--dry-run", "results/pretrain/mlm/seed-1/model.pt", overlay=overlay)
    (printed,) = re.findall(r"rule pretrain_model:\n(?:    .*\n)*?    resources: (.*)", done.stdout + done.stderr)
    resources = Resources(dict(pair.split("=", 1) for pair in printed.split(", ")))
    resources |= {key: int(value) for key, value in resources.items() if value.isdecimal()}
    job = SimpleNamespace(resources=resources, threads=16)
    names = ("run_uuid", "slurm_logfile", "comment_str", "account", "partition", "workdir")
    asked = submit.get_submit_command(job, dict.fromkeys(names, "")) + utils.set_gres_string(job)
    assert re.findall(r"--(nodes|ntasks\S*|cpus-per-task|gpus)=(\d+)", asked) == [
        ("nodes", "1"),
        ("cpus-per-task", "16"),
        ("gpus", "8"),
    ]


class Resources(dict):
    """Resources of a job as Snakemake's SLURM plugin reads them: by key or by attribute."""

    __getattr__ = dict.__getitem__
