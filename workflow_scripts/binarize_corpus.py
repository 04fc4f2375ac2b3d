"""Binarize the pre-training text for fairseq."""

from pathlib import Path

from cross_thought.data.binarize import binarize_corpus
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        encoded = {split: Path(snakemake.input.encoded, split) for split in ("train", "valid")}
        binarize_corpus(encoded, Path(snakemake.input.vocabulary), Path(snakemake.output[0]))
