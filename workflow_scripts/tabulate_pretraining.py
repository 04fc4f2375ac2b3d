"""Write how each pre-training ended, as CSV, Markdown and LaTeX."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.evaluation.tables import (
    csv_text,
    pretraining_latex,
    pretraining_markdown,
    read_pretraining_rows,
    write_text,
)
from cross_thought.jobs import logged_job


def tabulate_pretraining(histories: Sequence[Path], *, csv: Path, markdown: Path, latex: Path) -> None:
    """Read every `history.tsv`, and the `command.json` beside it for the hardware, and write the three files."""
    rows = read_pretraining_rows(histories)
    write_text(csv, csv_text(rows))
    write_text(markdown, pretraining_markdown(rows))
    write_text(latex, pretraining_latex(rows))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_pretraining(
            [Path(path) for path in snakemake.input.histories],
            csv=Path(snakemake.output.csv),
            markdown=Path(snakemake.output.markdown),
            latex=Path(snakemake.output.latex),
        )
