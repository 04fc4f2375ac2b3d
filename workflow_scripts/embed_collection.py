"""Embed the passages and queries of a collection by one pre-trained or tuned model."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import torch

from cross_thought.data.retrieval import PASSAGES, QUERIES
from cross_thought.files import atomic_directory, write_json
from cross_thought.inference.embed import SentenceEncoder, embed_file
from cross_thought.inference.loading import vocabulary_for
from cross_thought.inference.tally import remarks, tally
from cross_thought.jobs import logged_job
from cross_thought.training.gpus import own_gpus


def embed_collection(
    checkpoint: Path,
    vocabulary: Path,
    prepared: Path,
    *,
    poolings: Sequence[str],
    precision: str,
    device: str,
    folders: Sequence[Path],
) -> None:
    """Write `passages.npy` and `queries.npy` of a prepared collection, at unit length, and `counts.json`.

    The checkpoint is the pre-trained model, with its vocabulary, or the export of a tuned one; `poolings` are ways to
    make an embedding of slot states, each with its folder to write; `precision` is that of the numbers on disk.
    """
    encoder = SentenceEncoder.from_pretrained(
        checkpoint, vocabulary=vocabulary_for(checkpoint, vocabulary), device=device
    )
    with ExitStack() as stack:
        partials = [stack.enter_context(atomic_directory(folder)) for folder in folders]
        num_texts = 0
        for kind in (PASSAGES, QUERIES):
            outputs = {pooling: partial / f"{kind}.npy" for pooling, partial in zip(poolings, partials, strict=True)}
            num_texts += embed_file(encoder, prepared / f"{kind}.txt", outputs, normalize=True, precision=precision)
        read = tally(encoder)
        counts = {"sentences": num_texts, **(read if read["unknown"] else {"cut": read["cut"]})}
        for partial in partials:
            write_json(partial / "counts.json", counts)
    print(counts)
    for remark in remarks(encoder):
        print(remark)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]), own_gpus(int(snakemake.params.device == "cuda")):
        torch.set_num_threads(snakemake.threads)
        embed_collection(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.vocabulary),
            Path(snakemake.input.prepared),
            poolings=snakemake.params.poolings,
            precision=snakemake.params.precision,
            device=snakemake.params.device,
            folders=[Path(path) for path in snakemake.output],
        )
