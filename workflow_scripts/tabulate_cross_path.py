"""Write what the cross path carries, as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.jobs import logged_job
from cross_thought.tables.cross_path import cross_path_page, read_cross_path_rows
from cross_thought.tables.layout import write_table


def tabulate_cross_path(reports: Sequence[str], *, files: Mapping[str, str]) -> None:
    """Summarise the reports of each model over its seeds and write them to `files`: `csv`, `markdown` and `latex`."""
    rows = read_cross_path_rows(reports)
    write_table(rows, cross_path_page(rows), files=files)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_cross_path(snakemake.input.reports, files=dict(snakemake.output.items()))
