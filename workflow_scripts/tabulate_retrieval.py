"""Write the results of retrieval over collections as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.data.definitions import RetrievalTask
from cross_thought.evaluation.aggregate import read_metrics
from cross_thought.jobs import logged_job
from cross_thought.tables.embeddings import embedding_rows, ours_and_others
from cross_thought.tables.layout import markdown, write_table
from cross_thought.tables.retrieval import retrieval_page


def tabulate_retrieval(
    metrics: Sequence[str], *, models: Sequence[str], tasks: Mapping[str, RetrievalTask], files: Mapping[str, str]
) -> None:
    """Compute the rows once and lay them out.

    Args:
        metrics: `metrics.json` of every run.
        models: names, in the order of the rows.
        tasks: in the order of the sections.
        files: the paths to write, as `csv`, `markdown` and `latex`.
    """
    ours, lexical = ours_and_others(read_metrics(metrics))
    rows = embedding_rows(ours, lexical, models=models, tasks=tasks)
    page = retrieval_page(rows, tasks=tasks, documents=ours)
    write_table(rows, page, files=files)
    print(markdown(page))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_retrieval(
            snakemake.input,
            models=snakemake.params.models,
            tasks=snakemake.params.tasks,
            files=dict(snakemake.output.items()),
        )
