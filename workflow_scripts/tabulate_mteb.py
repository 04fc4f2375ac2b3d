"""Write the scores that mteb gave, as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.jobs import logged_job
from cross_thought.tables.layout import write_table
from cross_thought.tables.mteb import mteb_page, read_mteb_rows


def tabulate_mteb(scores: Sequence[str], *, files: Mapping[str, str]) -> None:
    """Compute the rows once and lay them out.

    Args:
        scores: every `scores.json`.
        files: the paths to write, as `csv`, `markdown` and `latex`.
    """
    rows = read_mteb_rows(scores)
    write_table(rows, mteb_page(rows), files=files)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_mteb(snakemake.input.scores, files=dict(snakemake.output.items()))
