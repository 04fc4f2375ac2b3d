"""Binarize a task for fairseq."""

from pathlib import Path

from cross_thought.data.binarize import binarize_task
from cross_thought.data.tasks import task_from_config
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        binarize_task(
            task_from_config(snakemake.wildcards.task, snakemake.params.entry),
            prepared=Path(snakemake.input.prepared),
            encoded=Path(snakemake.input.encoded),
            vocabulary=Path(snakemake.input.vocabulary),
            output_dir=Path(snakemake.output[0]),
            max_sentence_tokens=snakemake.params.max_sentence_tokens,
        )
