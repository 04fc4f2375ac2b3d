"""Draw which other segments a slot attends to in cross layer 0."""

from pathlib import Path

from cross_thought.evaluation.cross_attention import read_case_study
from cross_thought.jobs import logged_job
from cross_thought.tables.figures import plot_cross_attention

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        plot_cross_attention(read_case_study(snakemake.input[0]), [Path(path) for path in snakemake.output])
