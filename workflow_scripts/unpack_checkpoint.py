"""Take the checkpoint out of a tar archive as fairseq publishes them."""

from pathlib import Path

from cross_thought.data.archives import unpack
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        output = Path(snakemake.output[0])
        unpack(Path(snakemake.input[0]), output.parent, required=output.name)
