"""Prepare a collection: its passages, queries and judgements as plain files, checked."""

from pathlib import Path

from cross_thought.data.definitions import RetrievalTask
from cross_thought.data.retrieval import prepare_collection
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        prepare_collection(RetrievalTask(**snakemake.params.task), Path(snakemake.output[0]))
