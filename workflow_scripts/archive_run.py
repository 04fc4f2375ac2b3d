"""Zip the run as an RO-Crate."""

from pathlib import Path

from cross_thought.jobs import logged_job
from cross_thought.tables.archive import write_archive

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        said = write_archive(
            Path(snakemake.output[0]),
            results=list(snakemake.input),
            provenance=Path("results/provenance.json"),
            records=Path(".snakemake/metadata"),
            max_data_mb=snakemake.params.max_data_mb,
            engine_version=snakemake.params.engine_version,
        )
        print("\n".join(said))
