"""Write the task results as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_thought.data.tasks import tasks_of
from cross_thought.evaluation.aggregate import read_metrics
from cross_thought.jobs import logged_job
from cross_thought.tables.layout import markdown, write_table
from cross_thought.tables.tasks import data_counts, read_task_rows, task_page


def tabulate_tasks(
    metrics: Sequence[Path],
    *,
    models: Sequence[str],
    task_entries: dict,
    control: str | None,
    references: Path,
    num_settings: Mapping[str, int] | None = None,
    files: Mapping[str, str],
) -> None:
    """Compute the rows once and lay them out.

    Args:
        metrics: every `metrics.json`, with its `predictions.tsv` beside it.
        models: names, in the order of the rows.
        task_entries: the config's `tasks`.
        control: the model that the others are compared with; None for no comparison.
        references: TSV of published figures.
        num_settings: of each task with a sweep, how many settings each model's was chosen from.
        files: the paths to write, as `csv`, `markdown` and `latex`.
    """
    tasks = tasks_of(task_entries)
    rows = read_task_rows(metrics, models=models, tasks=tasks, control=control, references_path=references)
    page = task_page(rows, tasks=tasks, counts=data_counts(read_metrics(metrics)), num_settings=num_settings)
    write_table(rows, page, files=files)
    print(markdown(page))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_tasks(
            [Path(path) for path in snakemake.input.metrics],
            models=snakemake.params.models,
            task_entries=snakemake.params.tasks,
            control=snakemake.params.control,
            references=Path(snakemake.input.references),
            num_settings=snakemake.params.num_settings,
            files=dict(snakemake.output.items()),
        )
