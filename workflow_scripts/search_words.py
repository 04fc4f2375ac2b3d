"""Search a collection by the words of its queries: BM25, which needs no training."""

from pathlib import Path

from cross_thought.data.definitions import BM25, RetrievalTask
from cross_thought.evaluation.retrieval import Collection, search_words, write_run
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        task = RetrievalTask(**snakemake.params.task)
        collection = Collection(Path(snakemake.input.prepared), task)
        write_run(Path(snakemake.output.run), task, collection, search_words(task, collection), tag=BM25)
