"""The profiles of clusters: each plans the whole chain; PBS, whose commands are stand-ins here, runs a job of it."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

from tests.workflow.conftest import REPOSITORY, TINIEST, run_snakemake

STAGES = ["prepare_corpus", "train_bpe", "pretrain_model", "finetune_task", "evaluate_task", "tabulate_tasks"]
# qsub takes its options as PBS's does, and leaves the first job to a limit that ends it; qstat tells of a job as PBS's does
QSUB = """\
#!/bin/bash
echo "$*" >> qsub.log
number=$(wc -l < qsub.log)
if [ $number = 1 ]; then echo 271 > $number.status
else { bash "${@: -1}" > $number.out 2>&1; echo $? > $number.status; } & fi
echo $number.server
"""
QSTAT = """\
#!/bin/bash
echo "$*" >> qstat.log
status=${2%.server}.status
echo "Job Id: $2"
if [ -f $status ]; then echo "    job_state = F"; echo "    Exit_status = $(cat $status)"
else echo "    job_state = R"; fi
"""


def needs(scheduler: str) -> pytest.MarkDecorator:
    """Skip a test where the scheduler's plugin is not installed."""
    name = f"snakemake-executor-plugin-{scheduler}"
    there = importlib.util.find_spec(name.replace("-", "_")) is not None
    return pytest.mark.skipif(not there, reason=f"{name} is not installed")


def profiles(scheduler: str, directory: Path) -> list[str]:
    """Return the flags that name a cluster's profiles, as in a clone."""
    (directory / "profiles").symlink_to(REPOSITORY / "profiles")
    return [f"--profile=profiles/{name}" for name in ("cluster", scheduler)]


@pytest.mark.parametrize(
    "scheduler", [pytest.param(name, marks=needs(name)) for name in ("slurm", "lsf", "cluster-generic")]
)
def test_a_profile_plans_the_whole_chain(scheduler: str, tmp_path: Path) -> None:
    on_gpus = TINIEST | {"hardware": {"device": "cuda", "processes": 2}}
    on_gpus["model_defaults"] = {"pretraining": TINIEST["model_defaults"]["pretraining"] | {"update_freq": 2}}
    done = run_snakemake(tmp_path, "--dry-run", *profiles(scheduler, tmp_path), overlay=on_gpus)
    assert done.returncode == 0, done.stderr
    counts = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert [counts.get(stage) for stage in STAGES] == ["1", "1", "2", "2", "2", "1"]
    (pretraining,) = {
        match[1] for match in re.finditer(r"^rule pretrain_model:.*?resources: ([^\n]+)", done.stdout, re.M | re.S)
    }
    assert {"gpu=2", "lsf_extra=-gpu num=2", "mem_mb=16000", "runtime=10080"} <= set(pretraining.split(", "))


@needs("cluster-generic")
def test_a_scheduler_runs_a_job_and_a_killed_one_again_with_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, script in (("qsub", QSUB), ("qstat", QSTAT)):
        (tmp_path / name).write_text(script, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    target = "results/downloads/demo/corpus.txt"
    quick = ("--seconds-between-status-checks", "1")
    done = run_snakemake(tmp_path, target, *profiles("cluster-generic", tmp_path), *quick, overlay=TINIEST)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / target).is_file()
    asked = re.findall(
        r"-l select=1:ncpus=(\d+):mem=(\d+)mb:ngpus=(\d+) -l walltime=(\d+):00 \S*generate_demo\S*$",
        (tmp_path / "qsub.log").read_text(),
        re.MULTILINE,
    )
    assert asked == [("1", "1000", "0", "10"), ("1", "2000", "0", "20")]
    assert set((tmp_path / "qstat.log").read_text().splitlines()) == {"-xf 1.server", "-xf 2.server"}


def test_several_nodes_take_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    overlay = TINIEST | {"hardware": {"processes": 2, "nodes": 2}}
    overlay["model_defaults"] = {"pretraining": TINIEST["model_defaults"]["pretraining"] | {"update_freq": 2}}
    done = run_snakemake(tmp_path, overlay=overlay)
    assert done.returncode == 1
    assert "config: hardware.nodes is 2, which takes SLURM" in done.stderr
    assert not (tmp_path / "results/downloads").exists()
