"""Evaluate bags of words on all embedding tasks: what needs no training."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.data.tasks import EmbeddingTask
from cross_thought.evaluation.embeddings import LEXICAL, embeddings_document, evaluate_task, tf_idf, write_pairs
from cross_thought.files import write_json
from cross_thought.jobs import logged_job


def embed_words(
    tasks: Sequence[EmbeddingTask],
    prepared: Sequence[Path],
    *,
    pairs_files: Sequence[Path],
    metrics_files: Sequence[Path],
) -> None:
    """Write the scored pairs and the metrics of each task, from the folder of its prepared TSV files."""
    for task, folder, pairs_file, metrics_file in zip(tasks, prepared, pairs_files, metrics_files, strict=True):
        pairs, _ = evaluate_task(task, folder, tf_idf)
        write_pairs(pairs_file, pairs)
        write_json(metrics_file, embeddings_document(model=LEXICAL, task=task, seed=None, pooling=None, pairs=pairs))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        embed_words(
            snakemake.params.tasks,
            [Path(path) for path in snakemake.input.prepared],
            pairs_files=[Path(path) for path in snakemake.output.pairs],
            metrics_files=[Path(path) for path in snakemake.output.metrics],
        )
