"""The jobs behind a run's files: what Snakemake recorded of them, what they took, and on which machine they ran."""

import re
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from cross_thought.evaluation.result_files import read_json, read_json_lines

Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job that ran to its end."""

    rule: str
    name: str  # its own, among all jobs
    script: str | None  # file name in workflow_scripts/; None for a rule of another workflow
    inputs: tuple[str, ...]  # files and folders, by their paths as Snakemake has them
    outputs: tuple[str, ...]
    started: str  # ISO 8601, UTC; so is `ended`
    ended: str
    usage: Mapping[str, float]  # `s` and `cpu_time` in seconds, `max_rss` in MiB, as far as they could be measured
    machine: Mapping[str, Any]  # where it ran, as of `environment()`; empty where no file tells


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what Snakemake recorded of each file that a job made, by the file's path.

    A record's own path is the file's in Base64, a long one cut into folders that begin with @. What is no such record
    is passed over, as Snakemake does. `folder` is `.snakemake/metadata`; there need be none.
    """
    records = {}
    for path in folder.rglob("*"):
        if path.is_file():
            encoded = "".join(part.removeprefix("@") for part in path.relative_to(folder).parts)
            with suppress(ValueError):
                record = read_json(path)
                if isinstance(record, dict) and not record.get("incomplete"):
                    records[urlsafe_b64decode(encoded).decode()] = record
    return records


def jobs_behind(paths: Iterable[str], records: Records) -> list[Job]:
    """Return the jobs that made files, those that made what these read, and so on, in the order of their starts."""
    made: dict[tuple, list[str]] = defaultdict(list)
    for path, record in records.items():
        made[_key(record)].append(path)
    found: dict[tuple, Job] = {}
    queue = list(paths)
    while queue:
        path = queue.pop()
        if path in records and (key := _key(records[path])) not in found:
            job = found[key] = _job(sorted(made[key]), records)
            queue += job.inputs
    return sorted(found.values(), key=lambda job: (job.started, job.name))


def _key(record: Mapping[str, Any]) -> tuple:
    """Return what the records of one job have in common."""
    return record["rule"], tuple(record.get("log") or ()), record.get("job_hash")


def _job(outputs: list[str], records: Records) -> Job:
    known = [records[path] for path in outputs]
    script = re.search(r"workflow_scripts/(\w+\.py)", known[0].get("code") or "")
    return Job(
        rule=known[0]["rule"],
        name=outputs[0],
        script=script and script[1],
        inputs=tuple(known[0].get("input") or ()),
        outputs=tuple(outputs),
        started=_time(min(record["starttime"] for record in known)),
        ended=_time(max(record["endtime"] for record in known)),
        usage=_usage(PurePosixPath(next(iter(known[0].get("log") or ()), ""))),
        machine=_machine(outputs),
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _usage(log: PurePosixPath) -> dict[str, float]:
    """Read a job's benchmark, which lies as its log does."""
    benchmark = Path("results", "benchmarks", *log.parts[2:]).with_suffix(".jsonl")
    if log.parts[:2] != ("results", "logs") or not benchmark.is_file():
        return {}
    measured = read_json_lines(benchmark)[-1]
    return {key: measured[key] for key in ("s", "cpu_time", "max_rss") if isinstance(measured.get(key), int | float)}


def _machine(outputs: Iterable[str]) -> Mapping[str, Any]:
    """Return what a job wrote of its machine: trainings and the provenance do."""
    for path in map(Path, outputs):
        if path.name in ("command.json", "provenance.json") and path.is_file():
            document = read_json(path)
            return document["host"] if path.name == "command.json" else document["made"]
    return {}
