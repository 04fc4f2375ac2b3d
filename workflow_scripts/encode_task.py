"""Encode a task's sentences to BPE ids."""

from pathlib import Path

from cross_thought.data.bpe import encode_task
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        encode_task(Path(snakemake.input.task), Path(snakemake.output[0]), vocabulary=Path(snakemake.input.vocabulary))
