"""Make the corpus and the tasks of Multi30k's captions."""

from pathlib import Path

from cross_thought.data.captions import SPLITS, read_pictures, write_captions
from cross_thought.files import report_source
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        for path in snakemake.input:
            report_source(path, data_dir=snakemake.params.data_dir)
        pictures = {split: read_pictures([Path(path) for path in snakemake.input[split]]) for split in SPLITS}
        write_captions(Path(snakemake.output.corpus[0]).parents[1], pictures, seed=snakemake.params.seed)
        print({split: len(captions) for split, captions in pictures.items()}, "pictures")
