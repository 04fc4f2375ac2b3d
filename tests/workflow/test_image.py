"""The image runs the chain without a network, to the results of the plain set-up (`make test-image`: it takes minutes).

No registry is asked: the stages of `Containerfile` are built on a base of Debian's own packages.
"""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.workflow.conftest import REPOSITORY, TINIEST, assert_same_results

OPTIONS = os.environ.get("CROSS_THOUGHT_IMAGE")  # of buildah build, such as volumes with pip's settings; may be empty
PACKAGES = "python3,python3-venv,python3-dev,ca-certificates"
LACKING = [name for name in ("buildah", "mmdebstrap", "unshare") if shutil.which(name) is None]

pytestmark = [
    pytest.mark.skipif(OPTIONS is None, reason="builds an image, for minutes: make test-image"),
    pytest.mark.skipif(bool(LACKING), reason=f"{', '.join(LACKING)} not found: apt-get install buildah mmdebstrap"),
    pytest.mark.skipif(os.geteuid() != 0, reason="builds an image as root"),
]


def run(*command: object) -> str:
    """Run a command and return what it prints."""
    done = subprocess.run(list(map(str, command)), cwd=REPOSITORY, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


def test_the_chain_runs_in_the_image_without_a_network(tiniest_run: Path, tmp_path: Path) -> None:
    buildah = ("buildah", "--root", tmp_path / "root", "--runroot", tmp_path / "run", "--storage-driver", "vfs")
    run("mmdebstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", tmp_path / "base.tar")
    base = run(*buildah, "from", "scratch")
    run(*buildah, "add", base, tmp_path / "base.tar", "/")
    run(*buildah, "commit", "--rm", base, "localhost/base")
    options = ("--isolation", "chroot", "--build-arg", "BASE=localhost/base", *shlex.split(OPTIONS or ""))
    run(*buildah, "build", *options, "--tag", "localhost/cross-thought", ".")

    container = run(*buildah, "from", "localhost/cross-thought")
    config = json.loads(run(*buildah, "inspect", container))["OCIv1"]["config"]
    assert config["User"] == "cross-thought"
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)  # for the image's user
    (work / "overlay.yaml").write_text(yaml.safe_dump(TINIEST), encoding="utf-8")
    inside = ("unshare", "--net", *buildah, "run", "--isolation", "chroot", "--volume", f"{work}:/work", container)
    run(*inside, "--", *config["Cmd"], "--configfile", "overlay.yaml")
    assert_same_results(work, tiniest_run)
    # what is in it belongs to another user, and is left as it is
    assert (work / "results/report.html").stat().st_uid != 0
    run(*buildah, "rm", container)
