"""The chain in conda environments, made from our unmodified files, ends as without them.

conda is a real one; the channel is made here (conda.py tells what stands in for what). The pip sections are installed
from PyPI, or from pip's cache, as for any user.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow.conda import make_channel, make_conda
from tests.workflow.conftest import REPOSITORY, TINIEST, assert_same_results, run_snakemake

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or sys.version_info[:2] != (3, 11),
    reason="the local channel offers the Python that runs the tests: on Linux, and 3.11 as in envs/",
)


@pytest.fixture(scope="module")
def conda_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run the chain with --use-conda and return its folder."""
    base = tmp_path_factory.mktemp("conda")
    directory = tmp_path_factory.mktemp("conda_run")
    on_path = make_conda(base / "conda", base / "channels")
    make_channel(base / "channels" / "conda-forge", base / "conda" / "bin" / "patchelf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_NO_COMPILE", "0")  # pip's way to leave compiling to Python, for what is imported
        patch.setenv("PATH", f"{on_path}{os.pathsep}{os.environ['PATH']}")
        done = run_snakemake(directory, "--use-conda", overlay=TINIEST)
        assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
        yield directory


def test_tables_are_those_of_the_plain_set_up(conda_run: Path, tiniest_run: Path) -> None:
    assert_same_results(conda_run, tiniest_run)


def test_results_of_the_plain_set_up_stay(conda_run: Path, tiniest_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiniest_run, tmp_path, dirs_exist_ok=True)
    done = run_snakemake(tmp_path, "--use-conda", "--dry-run", overlay=TINIEST)
    assert "Nothing to be done" in done.stdout + done.stderr


def test_jobs_ran_in_environments_of_our_files(conda_run: Path) -> None:
    environments = conda_run / ".snakemake" / "conda"
    made = {path.read_text() for path in environments.glob("*.yaml")}
    assert made == {(REPOSITORY / "envs" / f"{name}.yaml").read_text() for name in ("data", "fairseq", "report")}
    for python in environments.glob("*/bin/python"):
        listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
        assert "snakemake" not in listed
