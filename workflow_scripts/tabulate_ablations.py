"""Write the ablations as CSV, Markdown and LaTeX, and draw them."""

from collections.abc import Sequence
from pathlib import Path

from cross_thought.evaluation.ablations import ablation_latex, ablation_markdown, factors_of, read_ablation_rows
from cross_thought.evaluation.figures import plot_ablations
from cross_thought.evaluation.tables import csv_text, write_text
from cross_thought.jobs import logged_job
from cross_thought.text.tasks import task_from_config


def tabulate_ablations(
    config: dict,
    *,
    histories: Sequence[Path],
    cross_path_reports: Sequence[Path],
    metrics: Sequence[Path],
    csv: Path,
    markdown: Path,
    latex: Path,
    figures: Sequence[Path],
) -> None:
    """Compute the rows once, lay them out three times and draw them.

    Args:
        config: the effective config, with an ablation.
        histories: loss curves of every pre-training.
        cross_path_reports: every report on the cross path.
        metrics: every `metrics.json`.
        csv, markdown, latex: files to write.
        figures: files to draw; the ending says the format.
    """
    rows = read_ablation_rows(
        factors_of(config),
        histories=histories,
        cross_path_reports=cross_path_reports,
        metrics=metrics,
        tasks={name: task_from_config(name, entry) for name, entry in config["tasks"].items()},
    )
    demo = config["corpus"]["source"] == "demo"
    write_text(csv, csv_text(rows))
    write_text(markdown, ablation_markdown(rows, demo=demo))
    write_text(latex, ablation_latex(rows, demo=demo))
    plot_ablations(rows, figures)
    print(ablation_markdown(rows, demo=demo))


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tabulate_ablations(
            snakemake.params.config,
            histories=[Path(path) for path in snakemake.input.histories],
            cross_path_reports=[Path(path) for path in snakemake.input.reports],
            metrics=[Path(path) for path in snakemake.input.metrics],
            csv=Path(snakemake.output.csv),
            markdown=Path(snakemake.output.markdown),
            latex=Path(snakemake.output.latex),
            figures=[Path(snakemake.output.svg), Path(snakemake.output.png)],
        )
