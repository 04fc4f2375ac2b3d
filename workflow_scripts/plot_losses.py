"""Draw the loss curves of all pre-trainings."""

from pathlib import Path

from cross_thought.evaluation.history import read_history
from cross_thought.jobs import logged_job
from cross_thought.tables.figures import plot_losses

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        plot_losses(
            [read_history(path) for path in snakemake.input.histories], [Path(path) for path in snakemake.output]
        )
