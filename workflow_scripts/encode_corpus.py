"""Encode the pre-training text to BPE ids: train.txt, valid.txt and, if it is there, test.txt."""

from pathlib import Path

from cross_thought.data.bpe import encode_file
from cross_thought.files import atomic_directory
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]), atomic_directory(Path(snakemake.output[0])) as folder:
        vocabulary = Path(snakemake.input.vocabulary)
        for text in sorted(Path(snakemake.input.corpus).glob("*.txt")):
            encode_file(text, folder / text.stem, vocabulary=vocabulary, workers=snakemake.threads)
