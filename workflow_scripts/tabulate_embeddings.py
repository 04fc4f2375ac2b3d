"""Write the results of embeddings without fine-tuning as CSV, Markdown and LaTeX."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.evaluation.embeddings_table import embeddings_latex, embeddings_markdown, read_embedding_rows
from cross_thought.evaluation.tables import csv_text, write_text
from cross_thought.jobs import logged_job
from cross_thought.text.tasks import EmbeddingTask


def tabulate_embeddings(
    metrics: Sequence[Path],
    lexical: Sequence[Path],
    *,
    models: Sequence[str],
    tasks: Sequence[EmbeddingTask],
    pooling: str,
    csv: Path,
    markdown: Path,
    latex: Path,
) -> None:
    """Compute the rows once and lay them out three times.

    Args:
        metrics: every model's `metrics.json`.
        lexical: the bag of words' `metrics.json` of each task.
        models: names, in the order of the rows.
        tasks: in the order of the sections.
        pooling: how slot states became embeddings.
        csv, markdown, latex: files to write.
    """
    of_name = {task.name: task for task in tasks}
    rows = read_embedding_rows(metrics, lexical, models=models, tasks=of_name)
    text = embeddings_markdown(rows, tasks=of_name, pooling=pooling)
    write_text(csv, csv_text(rows))
    write_text(markdown, text)
    write_text(latex, embeddings_latex(rows, tasks=of_name, pooling=pooling))
    print(text)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_embeddings(
            [Path(path) for path in snakemake.input.metrics],
            [Path(path) for path in snakemake.input.lexical],
            models=snakemake.params.models,
            tasks=snakemake.params.tasks,
            pooling=snakemake.params.pooling,
            csv=Path(snakemake.output.csv),
            markdown=Path(snakemake.output.markdown),
            latex=Path(snakemake.output.latex),
        )
