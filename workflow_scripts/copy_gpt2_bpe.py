"""Take GPT-2's published BPE as the vocabulary."""

from pathlib import Path

from cross_thought.data.bpe import copy_vocabulary
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        files = {name: Path(path) for name, path in snakemake.input.items()}
        copy_vocabulary(**files, output_dir=Path(snakemake.output[0]))
