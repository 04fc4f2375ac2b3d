"""Search a collection by the embeddings of one model: the passages that are nearest to each query."""

import shutil
from pathlib import Path

import numpy as np

from cross_thought.data.definitions import RetrievalTask
from cross_thought.data.retrieval import PASSAGES, QUERIES
from cross_thought.evaluation.retrieval import Collection, search_embeddings, write_run
from cross_thought.jobs import logged_job


def search_collection(
    embeddings: Path, prepared: Path, *, task: RetrievalTask, tag: str, run: Path, counts: Path
) -> None:
    """Write the TREC run of that name, and what was cut in embedding beside it.

    `embeddings` is the folder that `embed_collection` wrote.
    """
    queries, passages = (np.load(embeddings / f"{kind}.npy", mmap_mode="r") for kind in (QUERIES, PASSAGES))
    collection = Collection(prepared, task)
    write_run(run, task, collection, search_embeddings(task, collection, queries, passages), tag=tag)
    shutil.copyfile(embeddings / "counts.json", counts)
    print(f"{len(queries)} queries, {len(passages)} passages")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        search_collection(
            Path(snakemake.input.embeddings),
            Path(snakemake.input.prepared),
            task=RetrievalTask(**snakemake.params.task),
            tag=f"{snakemake.wildcards.model}-{snakemake.wildcards.pooling}-seed-{snakemake.wildcards.seed}",
            run=Path(snakemake.output.run),
            counts=Path(snakemake.output.counts),
        )
