"""Machines that are not as they should be, and what a user sees on the terminal: a real Snakemake, a real make."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from cross_thought.training.devices import all_gpus
from tests.bad_input.cases import Case
from tests.bad_input.config_cases import without_privileges
from tests.bad_input.data_cases import ENTRY, HEADER, ROWS
from tests.workflow.conftest import REPOSITORY, ended, run_snakemake, start_snakemake

TASK = {"tasks": {"mine": ENTRY}, "models": {"mlm": {"cross_sequence": False}}}


def printed(output: str, *, sign: str = "") -> str:
    """Return what Snakemake says in place of a traceback: the line after `WorkflowError`, or the first with a sign."""
    assert "Traceback" not in output
    lines = output.splitlines()
    if sign:
        return next(line for line in lines if sign in line)
    return lines[next(number for number, line in enumerate(lines) if line.startswith("WorkflowError")) + 1]


def snakemake(*arguments: str, prefix: Sequence[str] = (), folder: Path = Path()) -> str:
    """Run Snakemake, which must fail; return what it prints."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", f"{REPOSITORY}/Snakefile", "--cores", "1", *arguments]
    done = subprocess.run(
        [*prefix, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    return done.stdout


def key_twice() -> str:
    """Run with a key that stands twice in the config file."""
    Path("my.yaml").write_text("seeds: [1]\nseeds: [2]\n")
    said = printed(snakemake("--dry-run", "--configfile", "my.yaml"))
    assert not Path("results").exists()
    return said


def failing_job() -> str:
    """Run a job that refuses its data, in a folder with a space and letters beyond ASCII."""
    folder = Path("mes données")
    folder.mkdir()
    (folder / "train.tsv").write_bytes(HEADER + ROWS + b"a bird\tan animal\tmaybe\n")
    (folder / "dev.tsv").write_bytes(HEADER + ROWS)
    done = run_snakemake(folder, "results/tasks/mine", overlay=TASK | {"control": None})
    assert done.returncode != 0
    assert not list(folder.glob("results/tasks/*"))
    return printed(done.stderr, sign="error: ")


def read_only(folder: str) -> str:
    """Run where a folder may not be written."""
    place = Path("my-runs")
    (place / folder).mkdir(parents=True)
    (place / folder).chmod(0o555)
    said = snakemake("--dry-run", prefix=without_privileges(), folder=place)
    (place / folder).chmod(0o755)
    return printed(said)


def no_gpu() -> str:
    """Run jobs for a GPU on a machine that has none."""
    if all_gpus():
        pytest.skip("this machine has a GPU")
    Path("my.yaml").write_text("hardware: {device: cuda}\n")
    said = printed(snakemake("--configfile", "my.yaml"))
    assert not Path("results").exists()
    return said


def no_package(package: str, target: str, config: str) -> str:
    """Run a target where a package is not installed that its last job needs."""
    Path("my.yaml").write_text(config)
    hidden = (
        "import importlib.util as util, sys; found = util.find_spec; "
        f"util.find_spec = lambda name, *rest: None if name == {package!r} else found(name, *rest); "
        "from snakemake.cli import main; main()"
    )
    command = [sys.executable, "-c", hidden, target, "--snakefile", f"{REPOSITORY}/Snakefile", "--cores", "1"]
    done = subprocess.run([*command, "--configfile", "my.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not Path("results").exists()
    return printed(done.stdout + done.stderr)


def fairseq(command: str, *arguments: str) -> str:
    """Call fairseq's command line on a folder without data; it must refuse before it looks there."""
    Path("data").mkdir()
    Path(f"a{os.pathsep}b").mkdir()
    flags = ("--task", "masked_lm", "--arch", "cross_thought_tiny") if command == "train" else ("--task", "masked_lm")
    done = subprocess.run(
        [sys.executable, "-m", "cross_thought.fairseq", command, *arguments, *flags],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert not Path("checkpoints").exists()
    return done.stderr.strip().removeprefix("error: ")


def full_disk() -> str:
    """Run in a folder on a disk without a free byte."""
    place = Path("my-runs")
    place.mkdir()
    with small_disk(place):
        with pytest.raises(OSError, match="No space left on device"):
            (place / "all").write_bytes(bytes(1 << 20))
        return printed(snakemake("--dry-run", folder=place))


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """Mount a disk of 64 kB."""
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=64k", "none", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def second_run() -> str:
    """Start a second run beside one that works, then end that with Ctrl-C: nothing half-made is left, nor a lock."""
    overlay = {"corpus": {"demo_documents": 1_000_000}}
    target = "results/downloads/demo/corpus.txt"
    with open("first.log", "w") as log:
        first = start_snakemake(Path(), target, overlay=overlay, output=log)
    while "rule generate_demo" not in Path("first.log").read_text():
        assert first.poll() is None, Path("first.log").read_text()
        time.sleep(0.05)
    second = snakemake(target, "--configfile", "overlay.yaml")
    os.killpg(first.pid, signal.SIGINT)
    assert ended(first).returncode != 0
    assert not Path(target).exists()
    assert run_snakemake(Path(), target, "--dry-run", overlay=overlay).returncode == 0
    text = second[second.index("LockException:") :].replace(str(Path.cwd()), "FOLDER")
    assert "Traceback" not in second
    return " ".join(text.split()).removeprefix("LockException: ")


def make(*arguments: str, **environment: str) -> str:
    """Run make in a copy of its file; return what it prints."""
    shutil.copy(REPOSITORY / "Makefile", "Makefile")
    shutil.copy(REPOSITORY / "requirements.txt", "requirements.txt")
    # make below make, as in `make test`, would also name the folders that it enters
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MAKE")}
    done = subprocess.run(["make", *arguments], env=plain | environment, capture_output=True, text=True, check=False)
    assert not Path(".venv").exists()
    return done.stdout


def no_compiler() -> str:
    """Install without a compiler."""
    return make("install", f"PYTHON={sys.executable}", "CXX=no-such-compiler").splitlines()[-1]


def no_home() -> str:
    """Ask make where Snakemake's cache goes if the home folder cannot be written."""
    (said,) = re.findall(r"XDG_CACHE_HOME := (.*)", make("-pn", "demo", HOME="/no-such-home"))
    return said.replace(str(Path.cwd()), "FOLDER")


CASES = [
    Case(group="Environment", what="a key twice in a config file, as Snakemake shows it", run=key_twice),
    Case(
        group="Environment", what="a job that fails, as Snakemake shows it: in the log that it prints", run=failing_job
    ),
    Case(group="Environment", what="a read-only folder", run=partial(read_only, ".")),
    Case(group="Environment", what="a read-only results folder", run=partial(read_only, "results")),
    Case(group="Environment", what="a full disk", run=full_disk),
    Case(group="Environment", what="two runs at once in one folder; the first ends by Ctrl-C", run=second_run),
    Case(group="Environment", what="`hardware: {device: cuda}` on a machine without a GPU", run=no_gpu),
    Case(
        group="Environment",
        what="`snakemake archive` without the package rocrate",
        run=partial(no_package, "rocrate", "archive", "archive: {max_data_mb: 2}\n"),
    ),
    Case(
        group="Environment",
        what="`embedding_tuning` without Sentence Transformers",
        run=partial(no_package, "sentence_transformers", "embeddings", "embedding_tuning: {pairs: {demo-match: {}}}\n"),
    ),
    Case(group="Environment", what="no compiler, with `make`", run=no_compiler),
    Case(
        group="Environment",
        what="a home that cannot be written, with `make demo`: where Snakemake's cache goes",
        run=no_home,
        refused=False,
    ),
    *(
        Case(group="fairseq's own command line", what=f"`{' '.join(words)}`", run=partial(fairseq, *words))
        for words in (
            ("train", "data", "--restore-file", "gone.pt"),
            ("train", "a:b"),
            ("validate", "data", "--path", "gone.pt"),
        )
    ),
]
