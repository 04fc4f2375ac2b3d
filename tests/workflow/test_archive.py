"""The archive of a run: made by its rule, a valid RO-Crate, verified elsewhere without torch, each change named."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest

from cross_thought.environment import commit
from cross_thought.errors import UserError
from cross_thought.tables.archive import write_archive
from cross_thought.tables.verify import main
from tests.workflow.conftest import TINIEST, run_snakemake

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
# of the validator's environment: fills its cache with what it would fetch, from a package that ships it
FILL_CACHE = f"""
import io, sys
from importlib.resources import files
from requests import Response
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse

class Shipped(BaseAdapter):
    def send(self, request, **_):
        body = io.BytesIO(files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes())
        response = Response()
        response.status_code, response.url, response.request = 200, request.url, request
        response.headers["Content-Type"] = "application/ld+json"
        response.raw = HTTPResponse(body, response.headers, 200, preload_content=False)
        return response
    def close(self): pass

session = CachedSession(sys.argv[1])
session.mount({CONTEXT!r}, Shipped())
assert session.get({CONTEXT!r}).json()["@id"] == {CONTEXT!r}
"""
# a machine that has what envs/report.yaml lists, and neither torch nor what makes archives
ELSEWHERE = """
import runpy, sys

class Missing:
    @staticmethod
    def find_spec(name, *_):
        if name in ("torch", "fairseq", "snakemake", "rocrate"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing)
sys.argv[1:] = ["archive.zip"]
runpy.run_module("cross_thought.tables.verify", run_name="__main__")
"""


@pytest.fixture(scope="module")
def run(tiniest_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run with its archive."""
    assert not (tiniest_run / "results/archive.zip").exists()  # it is no part of the default target
    directory = tmp_path_factory.mktemp("archived") / "run"
    shutil.copytree(tiniest_run, directory)
    done = run_snakemake(directory, "archive", overlay=TINIEST)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "localrule archive" in done.stderr + done.stdout
    return directory


@pytest.fixture
def archive(run: Path) -> Path:
    """Return that archive."""
    return run / "results/archive.zip"


def entities(archive: Path) -> dict[str, dict]:
    """Return what an archive's metadata say, by @id."""
    with zipfile.ZipFile(archive) as packed:
        return {entity["@id"]: entity for entity in json.loads(packed.read("ro-crate-metadata.json"))["@graph"]}


def changed(archive: Path, path: Path, changes: Mapping[str, tuple[str, str]]) -> Path:
    """Write a copy of an archive, in some of whose files a text is replaced, once."""
    with zipfile.ZipFile(archive) as packed, zipfile.ZipFile(path, "w") as copy:
        for name in packed.namelist():
            content = packed.read(name)
            if name in changes:
                old, new = (text.encode() for text in changes[name])
                assert old in content
                content = content.replace(old, new, 1)
            copy.writestr(name, content)
    return path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_it_has_the_workflow_the_results_and_what_they_are_computed_from(run: Path, archive: Path) -> None:
    known = entities(archive)
    assert known["./"]["mainEntity"] == {"@id": "Snakefile"}
    assert known["Snakefile"]["version"].startswith(str(commit()[0]))
    with zipfile.ZipFile(archive) as packed:
        assert packed.testzip() is None
        names = set(packed.namelist())
        files = {unquote(name): entity for name, entity in known.items() if "File" in entity["@type"]}
        assert names == {*files, "ro-crate-metadata.json"}
        for name, entity in files.items():
            content = packed.read(name)
            assert (entity["sha256"], entity["contentSize"]) == (sha256(content), str(len(content))), name
        assert packed.read("results/config.yaml") == (run / "results/config.yaml").read_bytes()
    evaluation = "results/evaluate/mlm/demo-match/seed-1"
    assert {
        *("Snakefile", "rules/common.smk", "workflow_scripts/score.py", "cross_thought/tables/verify.py", "LICENSE"),
        *("results/tables/tasks.csv", "results/figures/tasks.svg", "results/report.html", "results/provenance.json"),
        *(f"{evaluation}/predictions.tsv", f"{evaluation}/metrics.json"),
        *("results/pretrain/mlm/seed-1/history.tsv", "results/finetune/mlm/demo-match/seed-1/command.json"),
        *("results/corpus/train.txt", "results/tasks/demo-match/test.tsv", "results/bpe/vocabulary/dict.txt"),
    } <= names
    assert [name for name in names if name.endswith((".pt", ".bin", ".pyc", "~")) or "/." in name] == []


def test_every_job_is_in_it(run: Path, archive: Path) -> None:
    known = entities(archive)
    actions = [entity for name, entity in known.items() if name.startswith("#job/")]
    logs = {path.relative_to(run / "results/logs").parts[0] for path in (run / "results/logs").rglob("*.log")}
    rules = {action["name"].split(":")[0] for action in actions}
    assert rules == {name.removesuffix(".log") for name in logs} - {"archive_run"}
    assert len(actions) == len(list((run / "results/logs").rglob("*.log"))) - 1
    (training,) = [action for action in actions if action["name"].endswith("results/pretrain/mlm/seed-1/command.json")]
    assert training["instrument"] == {"@id": "workflow_scripts/pretrain.py"}
    assert {"@id": "#results/binarized/corpus/train.bin"} in training["object"]
    assert training["startTime"] < training["endTime"] <= known["#run"]["endTime"]
    usage = {known[entry["@id"]]["propertyID"]: known[entry["@id"]]["value"] for entry in training["resourceUsage"]}
    measured = json.loads((run / "results/benchmarks/pretrain_model/mlm/seed-1.jsonl").read_text())
    assert usage == {key: str(measured[key]) for key in ("s", "cpu_time", "max_rss")}
    host = json.loads((run / "results/pretrain/mlm/seed-1/command.json").read_text())["host"]
    machine = known[training["location"]["@id"]]
    assert machine["name"] == host["name"]
    assert f"{host['cpu']}, {host['cores']} cores" in machine["description"]
    model = "results/pretrain/mlm/seed-1/model.pt"
    listed = known[f"#{model}"]
    assert {"@id": f"#{model}"} in training["result"]
    assert listed["description"] == "Not in this archive: a checkpoint."
    assert listed["sha256"] == sha256((run / model).read_bytes())
    gone = known["#results/finetune/mlm/demo-match/seed-1/best.pt"]
    assert (gone["description"], "sha256" in gone) == ("Not in this archive: it is no longer there.", False)
    assert "#results/downloads/demo/corpus.txt" in known
    references = {"@id": "resources/reference_results.tsv"}
    assert references in known["#run"]["object"]


def test_larger_data_are_listed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    corpus = Path("results/corpus/train.txt")
    limit = (corpus.stat().st_size - 1) / 1e6
    arguments = {"results": ["results/tables/tasks.csv"], "provenance": Path("results/provenance.json")}
    arguments |= {"max_data_mb": limit, "engine_version": "9"}
    said = write_archive(tmp_path / "a.zip", records=Path(".snakemake/metadata"), **arguments)
    known = entities(tmp_path / "a.zip")
    assert "results/corpus/train.txt" not in known
    assert known[f"#{corpus}"]["sha256"] == sha256(corpus.read_bytes())
    assert f"listed: {corpus}: more than {limit:g} MB of data (archive.max_data_mb)" in said
    assert "results/tasks/demo-match/train.tsv" in known
    with pytest.raises(UserError, match=r"none has no record of the jobs that made results/tables/tasks\.csv"):
        write_archive(tmp_path / "b.zip", records=tmp_path / "none", **arguments)
    assert not (tmp_path / "b.zip").exists()


def test_it_is_a_valid_provenance_run_crate(archive: Path, checks: Path, tmp_path: Path) -> None:
    cache = str(tmp_path / "cache.sqlite")
    subprocess.run([checks / "python", "-c", FILL_CACHE, cache], check=True)
    validator = [checks / "rocrate-validator", "--no-interactive", "validate", "--offline", "--cache-path", cache]
    options = ["--profile-identifier", "provenance-run-crate", "--requirement-severity", "required", "--verbose"]
    done = subprocess.run([*validator, *options, "--no-paging", archive], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "RO-Crate is a valid provenance-run-crate-0.5" in done.stdout


def test_it_is_verified_by_its_own_code_where_there_is_no_torch(archive: Path, tmp_path: Path) -> None:
    shutil.copyfile(archive, tmp_path / "archive.zip")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path / "unpacked")
    shutil.rmtree(tmp_path / "unpacked/results")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "unpacked")}
    command = [sys.executable, "-c", ELSEWHERE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    assert re.fullmatch(r"\d+ numbers and \d+ checksums recomputed; all agree\n", done.stdout)


def test_a_changed_number_is_named(archive: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with zipfile.ZipFile(archive) as packed:
        header, row, *_ = packed.read("results/tables/tasks.csv").decode().splitlines()
        svg = packed.read("results/figures/tasks.svg").decode()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    written = ",".join(list(cells.values())[:5])
    other = changed(
        archive,
        tmp_path / "changed.zip",
        {
            "results/tables/tasks.csv": (f"{written},{cells['mean']}", f"{written},99.9"),
            "results/figures/tasks.svg": (svg[-20:], svg[-20:] + "<!-- -->"),
        },
    )
    assert main([str(other)]) == 1
    said = capsys.readouterr().err.splitlines()
    place = f"results/tables/tasks.csv: {written.replace(',', ', ')}"
    assert [line.split(": the file says")[0] for line in said[:2]] == [
        "sha256: results/figures/tasks.svg",
        "sha256: results/tables/tasks.csv",
    ]
    assert said[2] == f"{place}: mean: the file says 99.9, recomputed {cells['mean']}"
    assert re.match(r"error: 3 of \d+ numbers and \d+ checksums differ: a file was changed after", said[3])
    assert len(said) == 4
