"""Write the results of embeddings without fine-tuning as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.data.tasks import EmbeddingTask
from cross_thought.evaluation.aggregate import read_metrics
from cross_thought.jobs import logged_job
from cross_thought.tables.embeddings import embedding_rows, embeddings_page
from cross_thought.tables.layout import markdown, write_table


def tabulate_embeddings(
    metrics: Sequence[str],
    lexical: Sequence[str],
    *,
    models: Sequence[str],
    tasks: Sequence[EmbeddingTask],
    references: str,
    files: Mapping[str, str],
) -> None:
    """Compute the rows once and lay them out.

    Args:
        metrics: every model's `metrics.json`.
        lexical: `metrics.json` of what needs no training.
        models: names, in the order of the rows.
        tasks: in the order of the sections.
        references: the table of published figures.
        files: the paths to write, as `csv`, `markdown` and `latex`.
    """
    of_name = {task.name: task for task in tasks}
    documents = read_metrics(metrics)
    rows = embedding_rows(documents, read_metrics(lexical), models=models, tasks=of_name, references_path=references)
    page = embeddings_page(rows, tasks=of_name, documents=documents)
    write_table(rows, page, files=files)
    print(markdown(page))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_embeddings(
            snakemake.input.metrics,
            snakemake.input.lexical,
            models=snakemake.params.models,
            tasks=snakemake.params.tasks,
            references=snakemake.input.references,
            files=dict(snakemake.output.items()),
        )
