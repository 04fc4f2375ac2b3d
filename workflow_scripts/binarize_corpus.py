"""Binarize the pre-training text for fairseq."""

from pathlib import Path

from cross_thought.data.binarize import binarize_corpus
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        encoded = {folder.name: folder for folder in sorted(Path(snakemake.input.encoded).iterdir()) if folder.is_dir()}
        binarize_corpus(encoded, Path(snakemake.input.vocabulary), Path(snakemake.output[0]))
