"""Zip one model's test predictions for GLUE's leaderboard."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.data.tasks import tasks_of
from cross_thought.jobs import logged_job
from cross_thought.tables.submission import choose_seeds, write_submission


def zip_submission(
    metrics: Sequence[Path], archive: Path, *, model: str, task_entries: dict, complete: bool = True
) -> None:
    """Choose each task's seed by its development results and write the zip.

    Args:
        metrics: of all tasks and seeds.
        archive: the zip.
        model: whose predictions.
        task_entries: the config's `tasks`.
        complete: refuse to write what the leaderboard would not score.
    """
    tasks = tasks_of(task_entries)
    others = {name: task.evaluated_with for name, task in tasks.items() if task.evaluated_with}
    chosen = choose_seeds(metrics, model=model, evaluated_with=others)
    for name, path in chosen.items():
        print(f"{name}: {path}")
    for fault in write_submission(archive, chosen, tasks=tasks, complete=complete):
        print(f"incomplete: {fault}")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        zip_submission(
            [Path(path) for path in snakemake.input.metrics],
            Path(snakemake.output[0]),
            model=snakemake.wildcards.model,
            task_entries=snakemake.params.tasks,
            complete=snakemake.params.complete,
        )
