"""One zip of a run that others can check: an RO-Crate of the workflow, its settings, jobs, data and results.

It follows the profile Provenance Run Crate 0.5, which is Workflow Run Crate with an action for each job, on RO-Crate
1.1. Source: https://www.researchobject.org/workflow-run-crate/profiles/0.5/provenance_run_crate/
"""

import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rocrate.rocrate import ROCrate

from cross_thought.environment import REPOSITORY, commit
from cross_thought.errors import UserError
from cross_thought.evaluation.result_files import read_json
from cross_thought.files import atomic_file, file_hash, files_of
from cross_thought.sources import workflow_files
from cross_thought.tables.recorded_jobs import Job, jobs_behind, read_records

# what a training says of itself, and what is right in a collection: small, and what tables are made from
RECORDS = ("command.json", "history.tsv", "settings.json", "sweep.json", "summary.json", ".qrels")

_PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
# terms that RO-Crate 1.1 lacks
_TERMS = {
    "resourceUsage": "https://w3id.org/ro/terms/workflow-run#resourceUsage",
    "sha256": "http://schema.org/sha256",
}
_SOURCE = ["File", "SoftwareSourceCode"]
_LICENSE = "https://spdx.org/licenses/MIT"
_RUN, _ENGINE, _PYTHON = "#run", "https://snakemake.github.io", "https://www.python.org"
# Snakemake's benchmarks: what they are, and their unit
_SECONDS, _MEBIBYTES = ({"@id": f"https://qudt.org/vocab/unit/{unit}"} for unit in ("SEC", "MebiBYTE"))
_USAGE: dict[str, dict[str, Any]] = {
    "s": {"name": "wall-clock time, s", "unitCode": _SECONDS},
    "cpu_time": {"name": "CPU time, s", "unitCode": _SECONDS},
    "max_rss": {"name": "most memory (resident set), MiB", "unitCode": _MEBIBYTES},
}
_FORMATS = {
    ".cff": "application/yaml",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".py": "text/x-python",
    ".tex": "application/x-tex",
    ".toml": "application/toml",
    ".tsv": "text/tab-separated-values",
    ".yaml": "application/yaml",
}


def write_archive(
    path: Path,
    *,
    results: Sequence[str],
    provenance: Path,
    records: Path,
    max_data_mb: float,
    engine_version: str,
) -> list[str]:
    """Write the archive of the run in the current folder.

    A UserError says that no job is on record at all.

    Args:
        path: the zip.
        results: files of the run that are what it is about; all of them are included.
        provenance: provenance.json of the same run: its data files are included up to `max_data_mb` each.
        records: Snakemake's record of what made each file, `.snakemake/metadata`.
        engine_version: of Snakemake.

    Returns:
        What to say of it, line by line: how much it has, and each file that is listed but not included, or that no job
        is on record for.
    """
    known = read_records(records)
    jobs = jobs_behind(results, known)
    if not jobs:
        raise UserError(
            f"{records} has no record of the jobs that made {results[0]}: run `snakemake archive` in the folder where "
            "the results were made"
        )
    document = read_json(provenance)
    crate = _RunCrate(results, data=[entry["path"] for entry in document["data"]], max_data_mb=max_data_mb)
    crate.add_workflow(jobs, made=document["made"], engine_version=engine_version)
    crate.add_jobs(jobs)
    crate.add_run(jobs, results)
    unknown = [name for name in results if name not in known]
    extent = f"{len(jobs)} jobs, {len(crate.included)} files of the run, {len(crate.listed)} listed without content"
    extent += f", {len(unknown)} results of no job on record" if unknown else ""
    crate.describe(extent)
    with atomic_file(path) as partial:
        crate.crate.write_zip(partial)
    listed = [f"listed: {name}: {reason}" for name, reason in crate.listed.items()]
    return [extent, *listed, *(f"no job is on record for {name}" for name in unknown)]


class _RunCrate:
    """The crate as it grows: the workflow's files first, then jobs, each with the files that it names."""

    def __init__(self, results: Iterable[str], *, data: Iterable[str], max_data_mb: float) -> None:
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_terms = _TERMS
        self.results, self.data, self.max_data_mb = set(results), set(data), max_data_mb
        self.workflow_files = {path: path.relative_to(REPOSITORY).as_posix() for path in workflow_files(REPOSITORY)}
        self.included: dict[str, str] = {}  # path -> @id
        self.listed: dict[str, str] = {}  # path -> why its content is not there

    def add_workflow(self, jobs: Iterable[Job], *, made: Mapping[str, Any], engine_version: str) -> None:
        """Add the workflow's files, the steps and scripts that jobs were of, and what they ran with."""
        head, dirty = commit()
        version = f"{head or 'unknown'}{' with uncommitted changes' if dirty else ''}"
        rules = {job.rule: job.script for job in jobs}
        for path, name in self.workflow_files.items():
            facts = _facts(path, name)
            if name == "Snakefile":
                facts |= {"@type": [*_SOURCE, "ComputationalWorkflow", "HowTo"], "version": version}
                language = {"lang": "snakemake", "lang_version": engine_version}
                self.crate.add_workflow(path, name, main=True, **language, properties=facts)
                continue
            if path.parent.name == "workflow_scripts" and path.name in rules.values():
                facts |= {"@type": _SOURCE, "version": version, "programmingLanguage": _ref(_PYTHON)}
            elif name == "README.md":
                facts["about"] = _ref("./")
            self.crate.add_file(path, name, properties=facts)
        workflow = self.crate.mainEntity
        self.add(_PYTHON, "ComputerLanguage", name="Python", version=made["python"])
        self.add(_ENGINE, "SoftwareApplication", name="Snakemake", softwareVersion=engine_version, url=_ref(_ENGINE))
        packages = [made["packages"], *(job.machine.get("packages", {}) for job in jobs)]
        for name, installed in sorted({package for found in packages for package in found.items()}):
            place = f"#package/{name}/{quote(installed)}"
            package = self.add(place, "SoftwareApplication", name=name, softwareVersion=installed)
            workflow.append_to("softwareRequirements", package)
        for position, (rule, script) in enumerate(rules.items(), start=1):
            step = self.add(f"#step/{rule}", "HowToStep", name=rule, position=position, workExample=self._tool(script))
            workflow.append_to("step", step)
        for script in dict.fromkeys(filter(None, rules.values())):
            workflow.append_to("hasPart", self._tool(script))

    def add_jobs(self, jobs: Iterable[Job]) -> None:
        """Add each job as an action, with the files it read and made, its times, what it took, and its machine."""
        for job in jobs:
            at = f", at commit {job.machine['commit']}" if job.machine.get("commit") else ""
            action = self.add(
                f"#job/{quote(job.name)}",
                "CreateAction",
                name=f"{job.rule}: {job.name}",
                description=f"A job of rule {job.rule}{at}.",
                instrument=self._tool(job.script),
                object=self.references(job.inputs),
                result=self.references(job.outputs),
                startTime=job.started,
                endTime=job.ended,
            )
            for key, value in job.usage.items():
                facts = {"propertyID": key, "value": str(value), **_USAGE[key]}
                usage = self.add(f"#usage/{key}/{quote(job.name)}", "PropertyValue", **facts)
                action.append_to("resourceUsage", usage)
            if job.machine:
                action["location"] = self._machine(job.machine)
            control = self.add(
                f"#control/{quote(job.name)}",
                "ControlAction",
                name=f"Snakemake runs {job.name}",
                instrument=_ref(f"#step/{job.rule}"),
                object=action,
            )
            self.crate.root_dataset.append_to("mentions", [action, control])

    def add_run(self, jobs: Sequence[Job], results: Iterable[str]) -> None:
        """Add the run as a whole: from what no job made to the results."""
        made = {path for job in jobs for path in job.outputs}
        given = dict.fromkeys(path for job in jobs for path in job.inputs if path not in made)
        run = self.add(
            _RUN,
            "CreateAction",
            name="The run of the workflow",
            description="All jobs behind the results, whenever they ran.",
            instrument=self.crate.mainEntity,
            object=self.references(["results/config.yaml", *given]),
            result=self.references(results),
            startTime=jobs[0].started,
            endTime=max(job.ended for job in jobs),
        )
        engine = self.add(
            "#engine-run",
            "OrganizeAction",
            name="Snakemake runs the workflow",
            instrument=_ref(_ENGINE),
            object=[_ref(f"#control/{quote(job.name)}") for job in jobs],
            result=run,
        )
        self.crate.root_dataset.append_to("mentions", [run, engine])

    def describe(self, extent: str) -> None:
        """Say what the crate is, which profiles it follows, and its licence."""
        terms = "Of the workflow; data have terms of their own."
        self.add(_LICENSE, "CreativeWork", name="MIT License", description=terms)
        root = self.crate.root_dataset
        root["name"] = "A run of Cross-Thought, reproduced"
        root["description"] = (
            f"{extent}. results/report.html shows the results on one page, results/provenance.json ties each number to "
            "what made it, and `python -m cross_thought.tables.verify` recomputes all of them. The licence is the "
            "workflow's; data have terms of their own."
        )
        root["license"] = _ref(_LICENSE)
        root["conformsTo"] = [
            self.add(url, "CreativeWork", name=name, version=url.rpartition("/")[2]) for url, name in _PROFILES.items()
        ]

    def add(self, identifier: str, kind: str, **properties: Any) -> Any:
        """Add an entity that is no file, and return it; what is empty is left out, and a list of one is that one."""
        compact = {
            key: value[0] if isinstance(value, list) and len(value) == 1 else value
            for key, value in properties.items()
            if value != []
        }
        return self.crate.add_jsonld({"@id": identifier, "@type": kind, **compact})

    def references(self, paths: Iterable[str]) -> list[dict[str, str]]:
        """Refer to files, and to those of the folders among them; what is not in the crate yet is added."""
        found = [file for path in paths for file in files_of([path]) or [Path(path)]]
        return [_ref(self._file(path)) for path in dict.fromkeys(found)]

    def _file(self, path: Path) -> str:
        """Return a file's @id: of one that is included its path in the zip."""
        name = path.as_posix()
        if path in self.workflow_files:
            return quote(self.workflow_files[path])
        if name not in self.included and name not in self.listed:
            if reason := self._why_not(path):
                self.listed[name] = reason
                facts = {"name": name, **(_content(path) if path.is_file() else {})}
                self.add(f"#{quote(name)}", "CreativeWork", description=f"Not in this archive: {reason}.", **facts)
            else:
                self.included[name] = self.crate.add_file(path, name, properties=_facts(path, name)).id
        return self.included.get(name, f"#{quote(name)}")

    def _why_not(self, path: Path) -> str | None:
        """Return why a file is listed without its content; None if it is included."""
        if not path.exists():
            return "it is no longer there"
        if path.as_posix() in self.results or (path.parts[0] == "results" and path.name.endswith(RECORDS)):
            return None
        if path.suffix in (".pt", ".safetensors"):
            return "a checkpoint"
        if path.as_posix() not in self.data:
            is_raw = path.parts[0] != "results" or path.parts[1] == "downloads"
            return "raw data" if is_raw else "an intermediate file"
        if path.stat().st_size <= self.max_data_mb * 1e6:
            return None
        return f"more than {self.max_data_mb:g} MB of data (archive.max_data_mb)"

    def _tool(self, script: str | None) -> dict[str, str]:
        """Refer to a rule's script; a rule of another workflow has none here, and the workflow stands for it."""
        name = f"workflow_scripts/{script}"
        return _ref(name if name in self.workflow_files.values() else "Snakefile")

    def _machine(self, facts: Mapping[str, Any]) -> dict[str, str]:
        """Refer to a machine, which is added when it is first met."""
        parts = [facts["cpu"], f"{facts['cores']} cores", f"{facts['memory_gb']} GB", *facts["gpus"], facts["platform"]]
        text = ", ".join(map(str, parts))
        identifier = f"#machine/{quote(text)}"
        if self.crate.get(identifier) is None:
            self.add(identifier, "Place", name=facts.get("name", "a machine"), description=text)
        return _ref(identifier)


def _ref(identifier: str) -> dict[str, str]:
    return {"@id": identifier}


def _facts(path: Path, name: str) -> dict[str, Any]:
    """Return what the crate says of a file that is included."""
    form = _FORMATS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "text/plain"
    return {"name": name, "encodingFormat": form, **_content(path)}


def _content(path: Path) -> dict[str, str]:
    """Return a file's size in bytes, and its checksum."""
    return {"contentSize": str(path.stat().st_size), "sha256": file_hash(path)}
