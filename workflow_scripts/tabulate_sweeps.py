"""Write what each setting of the sweeps scores, and which one each model takes, as CSV, Markdown and LaTeX."""

from collections.abc import Mapping, Sequence

from cross_thought.evaluation.choice import read_choices
from cross_thought.jobs import logged_job
from cross_thought.tables.layout import markdown, write_table
from cross_thought.tables.sweeps import sweep_rows, sweeps_page


def tabulate_sweeps(choices: Sequence[str], *, files: Mapping[str, str]) -> None:
    """Write the table of sweeps.

    Args:
        choices: every `choice.json`.
        files: the paths to write, as `csv`, `markdown` and `latex`.
    """
    rows = sweep_rows(read_choices(choices))
    page = sweeps_page(rows)
    write_table(rows, page, files=files)
    print(markdown(page))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_sweeps(snakemake.input.choices, files=dict(snakemake.output.items()))
