"""Score the runs over all collections."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_thought.data.definitions import RetrievalTask
from cross_thought.data.pairs import shown_name
from cross_thought.evaluation.result_files import read_json
from cross_thought.evaluation.retrieval import retrieval_document
from cross_thought.files import write_json
from cross_thought.jobs import logged_job

# model, collection, pooling, seed: the last two None for BM25
RetrievalRun = tuple[str, str, str | None, int | None]


def score_retrieval(
    runs: Sequence[RetrievalRun],
    tasks: Mapping[str, RetrievalTask],
    *,
    prepared: Mapping[str, Path],
    run_files: Sequence[Path],
    metrics_files: Sequence[Path],
) -> None:
    """Write the metrics of each run.

    Args:
        runs: which they are.
        tasks: the collections, by name.
        prepared: the folder of each prepared collection.
        run_files: TREC file of each run, `counts.json` beside it where sentences were embedded.
        metrics_files: JSON files to write.
    """
    for (model, name, pooling, seed), run, metrics in zip(runs, run_files, metrics_files, strict=True):
        counts = None if pooling is None else read_json(run.with_name("counts.json"))
        document = retrieval_document(
            model=shown_name(model),
            task=tasks[name],
            seed=seed,
            pooling=pooling,
            run=run,
            prepared=prepared[name],
            counts=counts,
        )
        write_json(metrics, document)
        print(f"{run}: {document['splits']}")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tasks = snakemake.params.tasks
        score_retrieval(
            snakemake.params.runs,
            tasks,
            prepared=dict(zip(tasks, map(Path, snakemake.input.prepared), strict=True)),
            run_files=[Path(path) for path in snakemake.input.runs],
            metrics_files=[Path(path) for path in snakemake.output],
        )
