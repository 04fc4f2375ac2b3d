"""What Snakemake recorded of jobs, read back: which made a file, and those behind them."""

import json
import re
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest

from cross_thought.tables.recorded_jobs import jobs_behind, read_records

REPOSITORY = Path(__file__).parents[3]


def record(folder: Path, path: str, *, rule: str, inputs: tuple[str, ...] = (), start: float, **known: Any) -> None:
    """Write what Snakemake writes of a file that a job made."""
    encoded = urlsafe_b64encode(path.encode()).decode()
    *folders, name = (encoded[place : place + 200] for place in range(0, len(encoded), 200))
    place = folder.joinpath(*(f"@{part}" for part in folders), name)
    place.parent.mkdir(parents=True, exist_ok=True)
    document = {"rule": rule, "input": list(inputs), "log": [f"results/logs/{rule}.log"], "job_hash": 1}
    document |= {"code": f'        "../workflow_scripts/{rule}.py"\n', "starttime": start, "endtime": start + 1.5}
    place.write_text(json.dumps(document | known))


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of records in a run's folder: raw.txt -> prepared -> model, its log and a table; and another's."""
    monkeypatch.chdir(tmp_path)
    folder = Path(".snakemake/metadata")
    long = f"results/{'long/' * 80}model"
    record(folder, "results/prepared", rule="prepare", inputs=("raw.txt",), start=10)
    record(folder, long, rule="train", inputs=("results/prepared",), start=20)
    record(folder, "results/model/command.json", rule="train", inputs=("results/prepared",), start=20.25)
    record(folder, "results/model/before.json", rule="train", inputs=("gone",), start=2, job_hash=0)
    record(folder, "results/table", rule="tabulate", inputs=(long,), start=30, code='"echo"\n', log=[])
    record(folder, "results/unrelated", rule="prepare", inputs=("other.txt",), start=40, job_hash=2)
    record(folder, "results/begun", rule="begin", start=50, incomplete=True)
    (folder / "no-record").write_text("{")
    (folder / "nor-this").write_text("[]")
    Path("results/benchmarks").mkdir(parents=True)
    Path("results/benchmarks/train.jsonl").write_text('{"s": 1.5, "cpu_time": "NA", "max_rss": 80.5, "io_in": 1}\n')
    Path("results/model").mkdir()
    Path("results/model/command.json").write_text('{"argv": [], "host": {"name": "node-1", "cores": 2}}')
    return folder


def test_the_jobs_behind_a_file_are_found(records: Path) -> None:
    prepare, train, tabulate = jobs_behind(["results/table", "results/unknown"], read_records(records))
    assert (prepare.rule, prepare.script, prepare.inputs) == ("prepare", "prepare.py", ("raw.txt",))
    assert prepare.outputs == ("results/prepared",)
    assert (prepare.started, prepare.ended) == ("1970-01-01T00:00:10.000+00:00", "1970-01-01T00:00:11.500+00:00")
    assert (prepare.usage, prepare.machine) == ({}, {})
    assert len(train.outputs) == 2  # and nothing of what an earlier job of that rule made
    assert (train.started[17:], train.ended[17:]) == ("20.000+00:00", "21.750+00:00")
    assert train.usage == {"s": 1.5, "max_rss": 80.5}
    assert train.machine == {"name": "node-1", "cores": 2}
    assert (tabulate.script, tabulate.name) == (None, "results/table")


def test_files_without_a_record_have_no_jobs(tmp_path: Path) -> None:
    assert jobs_behind(["results/table"], read_records(tmp_path / "none")) == []


def test_a_rules_benchmark_lies_as_its_log_does() -> None:
    pairs = []
    for path in (REPOSITORY / "rules").glob("*.smk"):
        text = path.read_text(encoding="utf-8")
        pairs += re.findall(
            r'log:\s+f?"results/logs/(.+)\.log",\s+benchmark:\s+f?"results/benchmarks/(.+)\.jsonl"', text
        )
        assert text.count(" log:") == text.count(" benchmark:")
    assert len(pairs) > 30
    assert [pair for pair in pairs if pair[0] != pair[1]] == []
