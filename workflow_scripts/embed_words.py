"""Evaluate bags of words on all embedding tasks: what needs no training."""

from pathlib import Path

from cross_thought.evaluation.embeddings import embeddings_document, evaluate_words, write_pairs
from cross_thought.files import write_json
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        for task, prepared in zip(snakemake.params.tasks, snakemake.input.prepared, strict=True):
            for method, pairs in evaluate_words(task, Path(prepared)).items():
                place = Path(snakemake.params.folder, method, task.name)
                place.mkdir(parents=True, exist_ok=True)
                write_pairs(place / "pairs.tsv", pairs)
                document = embeddings_document(model=method, task=task, seed=None, pooling=None, pairs=pairs)
                write_json(place / "metrics.json", document)
                print(f"{method}, {task.name}: {document['splits']}")
