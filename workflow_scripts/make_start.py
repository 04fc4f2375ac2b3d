"""Make the checkpoint that a pre-training starts from, of a RoBERTa or another Cross-Thought encoder."""

from pathlib import Path

from cross_thought.fairseq.start import write_start
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        write_start(
            [Path(path) for path in snakemake.params.files],
            Path(snakemake.input.vocabulary),
            Path(snakemake.output[0]),
            name=snakemake.wildcards.model,
            model=snakemake.params.model,
            seed=int(snakemake.wildcards.seed),
        )
