"""Draw the task results with their spread over seeds."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.data.tasks import tasks_of
from cross_thought.jobs import logged_job
from cross_thought.tables.figures import plot_tasks
from cross_thought.tables.tasks import read_task_rows


def plot(metrics: Sequence[Path], *, models: Sequence[str], task_entries: dict, figures: Sequence[Path]) -> None:
    """Read every `metrics.json` and write the figure in each format; `task_entries` is the config's `tasks`."""
    tasks = tasks_of(task_entries)
    plot_tasks(read_task_rows(metrics, models=models, tasks=tasks), figures)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        plot(
            [Path(path) for path in snakemake.input.metrics],
            models=snakemake.params.models,
            task_entries=snakemake.params.tasks,
            figures=[Path(path) for path in snakemake.output],
        )
