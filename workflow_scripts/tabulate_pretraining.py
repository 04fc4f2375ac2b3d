"""Write how each pre-training ended, as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.jobs import logged_job
from cross_thought.tables.layout import write_table
from cross_thought.tables.pretraining import pretraining_page, read_pretraining_rows


def tabulate_pretraining(histories: Sequence[str], *, files: Mapping[str, str]) -> None:
    """Read every `history.tsv`, and the `command.json` beside it, and write `files`: `csv`, `markdown` and `latex`."""
    rows = read_pretraining_rows(histories)
    write_table(rows, pretraining_page(rows), files=files)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_pretraining(snakemake.input.histories, files=dict(snakemake.output.items()))
