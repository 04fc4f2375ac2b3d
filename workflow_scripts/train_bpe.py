"""Learn a BPE vocabulary from the training text, with fairseq's dictionary of it."""

from pathlib import Path

from cross_thought.data.bpe import train_vocabulary
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        train_vocabulary(
            Path(snakemake.input[0], "train.txt"),
            Path(snakemake.output[0]),
            vocab_size=snakemake.params.vocab_size,
            workers=snakemake.threads,
        )
