"""Write what the cross path carries, as CSV, Markdown and LaTeX."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.evaluation.tables import (
    cross_path_latex,
    cross_path_markdown,
    csv_text,
    read_cross_path_rows,
    write_text,
)
from cross_thought.jobs import logged_job


def tabulate_cross_path(reports: Sequence[Path], *, csv: Path, markdown: Path, latex: Path) -> None:
    """Summarise the reports of each model over its seeds and write the three files."""
    rows = read_cross_path_rows(reports)
    write_text(csv, csv_text(rows))
    write_text(markdown, cross_path_markdown(rows))
    write_text(latex, cross_path_latex(rows))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_cross_path(
            [Path(path) for path in snakemake.input.reports],
            csv=Path(snakemake.output.csv),
            markdown=Path(snakemake.output.markdown),
            latex=Path(snakemake.output.latex),
        )
