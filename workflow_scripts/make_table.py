"""Write one of a run's tables as CSV, Markdown and LaTeX, and draw the figures that belong to it."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from cross_thought.data.run_results import RunResults
from cross_thought.evaluation.history import read_history
from cross_thought.evaluation.result_files import read_json
from cross_thought.jobs import logged_job
from cross_thought.tables.layout import markdown, write_table
from cross_thought.tables.of_run import TABLES


def make_table(table: str, results: RunResults, *, files: Mapping[str, str]) -> None:
    """Compute a table once, lay it out and draw it.

    Args:
        table: its name.
        results: the results of the run.
        files: the paths to write, as `csv`, `markdown` and `latex`, and to draw, if any, as `svg` and `png`.
    """
    rows, page = TABLES[table].tabulate(results)
    write_table(rows, page, files=files)
    if "svg" in files:
        draw(table, results, rows, [Path(files["svg"]), Path(files["png"])])
    print(markdown(page))


def draw(table: str, results: RunResults, rows: pd.DataFrame, paths: list[Path]) -> None:
    """Draw a table's figure."""
    from cross_thought.tables import figures  # late: most tables have none

    if table == "pretraining":
        figures.plot_losses(list(map(read_history, results.histories())), paths)
    else:
        plots = {
            "tasks": figures.plot_tasks,
            "masked_words": figures.plot_masked_words,
            "ablations": figures.plot_ablations,
        }
        plots[table](rows, paths)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        make_table(
            snakemake.params.table,
            RunResults(read_json(snakemake.input.settings)),
            files=dict(snakemake.output.items()),
        )
