"""Prepare the pre-training text: documents separated by empty lines, in train.txt, valid.txt and perhaps test.txt."""

from itertools import chain
from pathlib import Path

from cross_thought.data.corpus import corpus_files, prepare_corpus
from cross_thought.files import report_source
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        params = snakemake.params
        sources = corpus_files(params.corpus, data_dir=params.data_dir)
        for source in chain(*sources.values()):
            report_source(source.path, data_dir=params.data_dir)
        prepare_corpus(sources, Path(snakemake.output[0]), valid_fraction=params.valid_fraction)
