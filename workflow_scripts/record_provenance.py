"""Tie every number of the tables to the code, data, machine and command lines behind it."""

from pathlib import Path

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.result_files import read_json
from cross_thought.files import write_json
from cross_thought.jobs import logged_job
from cross_thought.tables.provenance import assemble

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        document = assemble(
            RunResults(read_json(snakemake.input.settings)),
            config_path=Path(snakemake.input.config),
            data_paths=[Path(path) for path in snakemake.input.data],
        )
        write_json(snakemake.output[0], document)
        print(f"{len(document['numbers'])} numbers, {len(document['runs'])} runs, {len(document['data'])} data files")
