"""Write all results as one HTML page."""

from pathlib import Path

from cross_thought.jobs import logged_job
from cross_thought.tables.layout import write_text
from cross_thought.tables.report import report_page

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        tables = [Path(path) for path in snakemake.input.tables]
        figures = [Path(path) for path in snakemake.input.figures]
        page = report_page(
            tables=tables,
            figures=figures,
            captions=dict(zip([*tables, *figures], map(Path, snakemake.input.captions), strict=True)),
            config=Path(snakemake.input.config),
            provenance=Path(snakemake.input.provenance),
            benchmarks=Path("results/benchmarks"),
            corpus=Path("results/corpus/summary.json"),
            tasks={name: Path("results/tasks", name, "summary.json") for name in snakemake.params.tasks},
        )
        write_text(snakemake.output[0], page)
