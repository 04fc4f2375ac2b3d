"""Evaluate the embeddings of one pre-trained or tuned model on all tasks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from cross_thought.data.definitions import EmbeddingTask
from cross_thought.data.pairs import shown_name
from cross_thought.evaluation.embeddings import embeddings_document, evaluate_task, write_pairs
from cross_thought.files import write_json
from cross_thought.inference.embed import SentenceEncoder
from cross_thought.inference.encoded_once import EncodedOnce
from cross_thought.inference.loading import vocabulary_for
from cross_thought.inference.tally import remarks
from cross_thought.jobs import logged_job
from cross_thought.training.gpus import own_gpus


def embed_tasks(
    checkpoint: Path,
    vocabulary: Path,
    tasks: Sequence[EmbeddingTask],
    prepared: Sequence[Path],
    *,
    model: str,
    seed: int,
    poolings: Sequence[str],
    device: str,
    pairs_files: Sequence[Path],
    metrics_files: Sequence[Path],
) -> None:
    """Write the scored pairs and the metrics of each task.

    Args:
        checkpoint: the pre-trained model, or the export of a tuned one.
        vocabulary: folder of encoder.json, vocab.bpe and dict.txt, for a checkpoint.
        tasks: what to evaluate on.
        prepared: for each the folder of its prepared TSV files.
        model: its name in tables.
        seed: of the pre-training, or the tuning.
        poolings: how slot states become an embedding, each way of them.
        device: "cpu" or "cuda".
        pairs_files, metrics_files: to write: of each task, and of it each pooling.
    """
    encoder = SentenceEncoder.from_pretrained(
        checkpoint, vocabulary=vocabulary_for(checkpoint, vocabulary), device=device
    )
    evaluations = [(*data, pooling) for data in zip(tasks, prepared, strict=True) for pooling in poolings]
    once = EncodedOnce(encoder, poolings)
    for (task, folder, pooling), pairs_file, metrics_file in zip(evaluations, pairs_files, metrics_files, strict=True):
        if pooling == poolings[0]:
            once.forget()  # the task before
        encode = partial(once.encode, pooling=pooling)
        pairs, counts = evaluate_task(task, folder, encode, tally=lambda: once.read)
        document = embeddings_document(model=model, task=task, seed=seed, pooling=pooling, pairs=pairs, counts=counts)
        write_pairs(pairs_file, pairs)
        write_json(metrics_file, document)
        print(f"{task.name}, {pooling}: {document['splits']}")
    for remark in remarks(encoder):
        print(remark)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]), own_gpus(int(snakemake.params.device == "cuda")):
        torch.set_num_threads(snakemake.threads)
        embed_tasks(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.vocabulary),
            snakemake.params.tasks,
            [Path(path) for path in snakemake.input.prepared],
            model=shown_name(snakemake.wildcards.model),
            seed=int(snakemake.wildcards.seed),
            poolings=snakemake.params.poolings,
            device=snakemake.params.device,
            pairs_files=[Path(path) for path in snakemake.output.pairs],
            metrics_files=[Path(path) for path in snakemake.output.metrics],
        )
