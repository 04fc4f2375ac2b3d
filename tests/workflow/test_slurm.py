"""The chain on a real SLURM of two nodes, with what happens to jobs on a cluster happening to them.

One run sees it all, and must end in the tables and the models of an undisturbed run without SLURM. What stands in for
a cluster is told in slurm.py. A time limit is brought near by `scontrol update`, for nobody waits for it here; a memory
limit is set below what the job needs.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from tests.workflow import slurm
from tests.workflow.conftest import (
    LIMIT_S,
    PRETRAINED,
    REPOSITORY,
    TINIEST,
    TWO_PROCESSES,
    assert_same_results,
    losses,
    run_snakemake,
    start_snakemake,
)
from tests.workflow.slurm import Slurm, name_of, processes_with, run, wait_for

pytestmark = pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())

DATA = (
    *("generate_demo", "prepare_corpus", "prepare_task", "train_bpe"),
    *("encode_corpus", "encode_task", "binarize_corpus", "binarize_task"),
)
TABLES = (
    *("tabulate_tasks", "tabulate_pretraining", "tabulate_masked_words", "tabulate_cross_path"),
    *("plot_cross_attention", "write_config", "record_provenance", "write_report"),
)
PROFILE = {
    "jobs": 4,
    "latency-wait": 10,
    "slurm-status-command": "squeue",  # no accounting here
    "slurm-init-seconds-before-status-checks": 2,
    # a fake GPU each, and room for more than one job on a small node; an evaluation's first attempt has too little
    "set-resources": {
        "pretrain_model": {"gpu": 1, "mem_mb": 3000},
        "finetune_task": {"mem_mb": 3000},
        "evaluate_task": {"mem_mb": "400 if attempt == 1 else 3000"},
        "train_bpe": {"mem_mb": 2000},
    },
    # Each job starts Snakemake twice, for longer than most of these take: one for the data, one for the tables.
    "groups": dict.fromkeys(DATA, "data") | dict.fromkeys(TABLES, "tables"),
    "resources": {"mem_mb": 6000},  # what a group asks for at most
}
# SLURM's plugin looks at its jobs after 2 s, and each time that none has ended 10 s later than before. Nobody waits here.
LOOKING_OFTEN = (
    "-c",
    "import asyncio; from snakemake.cli import main; "
    "from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor; "
    "RemoteExecutor.sleep = lambda self: asyncio.sleep(2); main()",
)
PROFILES = tuple(
    f"--profile={name}" for name in (REPOSITORY / "profiles/cluster", REPOSITORY / "profiles/slurm", "my-cluster")
)


def write_profile(directory: Path, profile: dict) -> None:
    """Write the profile that is laid over ours."""
    (directory / "my-cluster").mkdir()
    (directory / "my-cluster" / "config.yaml").write_text(yaml.safe_dump(profile))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Bring up SLURM, and take it down."""
    daemons = Slurm(tmp_path_factory.mktemp("slurm"))
    try:
        daemons.start()
        yield daemons
    finally:
        daemons.stop()


@pytest.fixture(scope="module")
def disturbed_run(cluster: Slurm, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, dict[str, list[dict]]]:
    """Run the chain with our profile and one over it, and disturb it; return its folder, its output and its jobs."""
    directory = tmp_path_factory.mktemp("disturbed")
    write_profile(directory, PROFILE)
    with (directory / "out").open("w") as output:
        process = start_snakemake(directory, *PROFILES, overlay=TINIEST, program=LOOKING_OFTEN, output=output)
        try:
            disturb(cluster, directory, process)
            process.wait(LIMIT_S)  # a group does its jobs one by one
        except BaseException as error:
            jobs = run("squeue", "--states=all", "--format=%i %k %T %N %r", check=False)
            error.add_note(f"{jobs}\n{(directory / 'out').read_text()[-5000:]}")
            raise
        finally:
            process.kill()
            cluster.end_jobs()
        said = (directory / "out").read_text()
    assert process.returncode == 0, said[-5000:]
    return directory, said, jobs_by_rule()


def disturb(cluster: Slurm, directory: Path, process: subprocess.Popen) -> None:
    """Requeue one pre-training, then take its node away; let the other, and a fine-tuning, meet their time limits.

    The other is stopped until the node is back: what went on from it might be started on the lost node, and fail.
    """
    requeued = await_update("cross_thought", 20, directory, process)
    run("scontrol", "requeue", requeued)
    limited = await_update("mlm", 20, directory, process)
    assert await_update("cross_thought", 100, directory, process) == requeued
    node = job_details(requeued)["NodeList"]
    cluster.lose_node(node)
    try:
        wait_for(lambda: job_details(requeued)["JobState"] != "RUNNING", "SLURM has missed the node", process)
    finally:
        cluster.start_node(node)
    end_time(limited)
    end_time(hold("results/finetune/", process))


def await_update(model: str, update: int, directory: Path, process: subprocess.Popen) -> str:
    """Wait until a running pre-training has saved after an update, and stop it there; return its job."""
    pattern = f"results/pretrain/{model}/seed-1/runs/*/checkpoint_*_*.pt"

    def is_there() -> bool:
        return any(int(path.stem.split("_")[2]) >= update for path in directory.glob(pattern))

    wait_for(is_there, f"{model} has saved after update {update}", process)
    return hold(f"results/pretrain/{model}/", process)


def hold(folder: str, process: subprocess.Popen) -> str:
    """Stop a training below a folder, once there is one, and return its job: it might end before what is to happen does.

    A time limit comes late: SLURM looks at them twice a minute. Before SLURM ends a job, it lets it go on.
    """
    jobs: list[str] = []

    def is_held() -> bool:
        for pid, job in processes_with("SLURM_JOB_ID").items():
            if "cross_thought.fairseq" in name_of(pid) and folder in name_of(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    jobs.append(job)
                    break
        return bool(jobs)

    wait_for(is_held, f"a training in {folder} is stopped", process)
    return jobs[0]


def end_time(job: str) -> None:
    """Let a job meet its time limit."""
    run("scontrol", "update", f"JobId={job}", "EndTime=now")


def job_details(job: str) -> dict[str, str]:
    """Return what SLURM knows of a job."""
    return dict(pair.partition("=")[::2] for pair in run("scontrol", "--oneliner", "show", "job", job).split())


def jobs_by_rule() -> dict[str, list[dict]]:
    """Return what SLURM knows of the jobs of each rule or group, in the order of their numbers."""
    jobs: dict[str, list[dict]] = {}
    for number in re.findall(r"JobId=(\d+)", run("scontrol", "--oneliner", "show", "job")):
        details = job_details(number)
        name = details["Comment"].removeprefix("rule_").partition("_wildcards_")[0]
        group = re.match(r"(data|tables)_", name)  # the names of its rules follow
        jobs.setdefault(group[1] if group else name, []).append(details)
    return jobs


def test_the_chain_ends_as_without_slurm(disturbed_run: tuple, tiniest_run: Path) -> None:
    assert_same_results(disturbed_run[0], tiniest_run)


def test_jobs_go_to_the_partition_of_their_kind(disturbed_run: tuple) -> None:
    jobs = disturbed_run[2]
    assert {job["Partition"] for job in jobs["pretrain_model"]} == {"gpu"}
    assert all("gpu:1" in job["TresPerJob"] for job in jobs["pretrain_model"])
    alone = {"finetune_task", "evaluate_task", "score_task", "measure_cross_path", "measure_masked_words"}
    assert jobs.keys() == {"data", "pretrain_model", *alone, "study_cross_attention", "tables"}
    others = {job["Partition"] for rule, entries in jobs.items() if rule != "pretrain_model" for job in entries}
    assert others == {"cpu"}


def test_a_job_over_a_limit_comes_back_with_more(disturbed_run: tuple) -> None:
    jobs = disturbed_run[2]
    # a job of which SLURM ended just the step shows as FAILED
    over = {"FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
    evaluations = [(job["JobState"] in over, job["MinMemoryNode"], job["TimeLimit"]) for job in jobs["evaluate_task"]]
    assert sorted(evaluations) == [(False, "3000M", "02:00:00")] * 2 + [(True, "400M", "01:00:00")] * 2
    finetunings = sorted((job["JobState"] in over, job["TimeLimit"]) for job in jobs["finetune_task"])
    assert finetunings[:2] == [(False, "1-00:00:00"), (False, "2-00:00:00")]
    assert [failed for failed, _ in finetunings[2:]] == [True]


def test_pretraining_resumes(disturbed_run: tuple) -> None:
    directory, _, jobs = disturbed_run
    states = sorted((job["JobState"], int(job["Restarts"])) for job in jobs["pretrain_model"])
    assert states == [("COMPLETED", 0), ("COMPLETED", 2), ("TIMEOUT", 0)]  # 2: the requeue and the lost node
    for model in ("cross_thought", "mlm"):
        log = (directory / f"results/logs/pretrain_model/{model}/seed-1.log").read_text()
        assert re.search(r"going on from \S+, \d+ of 200 updates", log), log


def test_processes_on_two_nodes_train_as_those_on_one(
    cluster: Slurm, run_of_two_processes: Path, binarized: Path
) -> None:
    write_profile(binarized, PROFILE | {"set-resources": {"pretrain_model": {"gpu": 2, "mem_mb": 3000}}})
    overlay = TWO_PROCESSES | {"hardware": {"processes": 2, "nodes": 2}}
    done = run_snakemake(binarized, f"{PRETRAINED}/model.pt", *PROFILES, overlay=overlay, program=LOOKING_OFTEN)
    assert done.returncode == 0, done.stderr[-5000:]
    found, expected = (losses(folder / PRETRAINED / "history.tsv") for folder in (binarized, run_of_two_processes))
    assert found == expected
    (job,) = [job for job in jobs_by_rule()["pretrain_model"] if job["NumNodes"] == "2"]
    assert job["NodeList"] == "node[1-2]"
