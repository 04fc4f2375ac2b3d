"""Generate the demo's corpus and the raw files of its tasks."""

from pathlib import Path

from cross_thought.data.demo import write_corpus, write_tasks
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        corpus, seed = Path(snakemake.output.corpus), snakemake.params.seed
        write_corpus(corpus, num_documents=snakemake.params.num_documents, seed=seed)
        write_tasks(corpus.parent, seed=seed)
