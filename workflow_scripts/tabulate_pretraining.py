"""Write how each pre-training ended, as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.jobs import logged_job
from cross_thought.tables.tables import pretraining_latex, pretraining_markdown, read_pretraining_rows, write_table


def tabulate_pretraining(histories: Sequence[str], *, files: Mapping[str, str]) -> None:
    """Read every `history.tsv`, and the `command.json` beside it, and write `files`: `csv`, `markdown` and `latex`."""
    rows = read_pretraining_rows(histories)
    write_table(rows, markdown=pretraining_markdown(rows), latex=pretraining_latex(rows), files=files)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_pretraining(snakemake.input.histories, files=dict(snakemake.output.items()))
