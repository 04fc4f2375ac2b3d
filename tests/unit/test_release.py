"""What a release is made of: one version and date everywhere, a valid citation, and a workflow that refuses another tag."""

import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from cross_thought import __version__

REPOSITORY = Path(__file__).parents[2]
WORKFLOWS = REPOSITORY / ".github" / "workflows"


def test_the_version_is_one() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == __version__
    assert (project["license"], citation["license"]) == ("MIT", "MIT")
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert f"## [{__version__}] - {citation['date-released']}" in changelog


def test_the_citation_is_valid(checks: Path) -> None:
    command = [checks / "cffconvert", "--validate", "--infile", REPOSITORY / "CITATION.cff"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "valid" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("tag", "changelog", "said"),
    [
        (f"v{__version__}", f"## [{__version__}] - 2026-01-01\n\n- New.\n\n## [0.0.1]\n\n- Old.\n", ""),
        ("v9.9.9", "## [9.9.9]\n\n- New.\n", "pyproject.toml has another version than the tag\n"),
        (f"v{__version__}", "## [0.0.1]\n\n- Old.\n", f"CHANGELOG.md has no section [{__version__}]\n"),
    ],
)
def test_a_release_is_of_its_version(tag: str, changelog: str, said: str, tmp_path: Path) -> None:
    steps = yaml.safe_load((WORKFLOWS / "release.yml").read_text(encoding="utf-8"))["jobs"]["build"]["steps"]
    (step,) = [step["run"] for step in steps if "changelog" in step.get("name", "")]
    for name in ("pyproject.toml", "CITATION.cff"):
        (tmp_path / name).write_bytes((REPOSITORY / name).read_bytes())
    (tmp_path / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    done = subprocess.run(
        ["bash", "-e", "-c", step],
        cwd=tmp_path,
        env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (said, int(bool(said)))
    if not said:
        assert (tmp_path / "notes.md").read_text(encoding="utf-8").split() == ["-", "New."]


def test_a_release_waits_for_all_checks() -> None:
    release = yaml.safe_load((WORKFLOWS / "release.yml").read_text(encoding="utf-8"))
    assert release[True] == {"push": {"tags": ["v*"]}}  # YAML 1.1 reads the key `on` as true
    jobs = release["jobs"]
    assert set(jobs["release"]["needs"]) == {"build", "checks"}
    assert jobs["checks"] == {"uses": "./.github/workflows/ci.yml"}
    assert "workflow_call" in yaml.safe_load((WORKFLOWS / "ci.yml").read_text(encoding="utf-8"))[True]
