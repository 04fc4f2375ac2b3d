"""Encode the pre-training text to BPE ids."""

from pathlib import Path

from cross_thought.data.bpe import encode_file
from cross_thought.files import atomic_directory
from cross_thought.jobs import logged_job


def encode_corpus(corpus: Path, vocabulary: Path, output_dir: Path, *, workers: int) -> None:
    """Encode train.txt, valid.txt and, if it is there, test.txt, each to a folder of arrays."""
    with atomic_directory(output_dir) as folder:
        for text in sorted(corpus.glob("*.txt")):
            encode_file(text, folder / text.stem, vocabulary=vocabulary, workers=workers)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        encode_corpus(
            Path(snakemake.input.corpus),
            Path(snakemake.input.vocabulary),
            Path(snakemake.output[0]),
            workers=snakemake.threads,
        )
