"""Evaluate bags of words on all embedding tasks: what needs no training."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.data.definitions import EmbeddingTask
from cross_thought.evaluation.embeddings import embeddings_document, evaluate_words, write_pairs
from cross_thought.files import write_json
from cross_thought.jobs import logged_job


def embed_words(tasks: Sequence[EmbeddingTask], prepared: Sequence[Path], *, folder: Path) -> None:
    """Write the scored pairs and the metrics of each task and method.

    Args:
        tasks: what to evaluate on.
        prepared: for each the folder of its prepared TSV files.
        folder: METHOD/TASK/pairs.tsv and metrics.json are written there.
    """
    for task, data in zip(tasks, prepared, strict=True):
        for method, pairs in evaluate_words(task, data).items():
            place = folder / method / task.name
            place.mkdir(parents=True, exist_ok=True)
            write_pairs(place / "pairs.tsv", pairs)
            document = embeddings_document(model=method, task=task, seed=None, pooling=None, pairs=pairs)
            write_json(place / "metrics.json", document)
            print(f"{method}, {task.name}: {document['splits']}")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        embed_words(
            snakemake.params.tasks,
            [Path(path) for path in snakemake.input.prepared],
            folder=Path(snakemake.params.folder),
        )
