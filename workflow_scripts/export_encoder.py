"""Export one pre-trained encoder as a folder that Sentence Transformers and `SentenceEncoder` load."""

from pathlib import Path

from cross_thought.inference.export import export_model
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        export_model(
            Path(snakemake.input.checkpoint),
            Path(snakemake.output[0]),
            output_format="sentence-transformers",
            vocabulary=Path(snakemake.input.vocabulary),
            results=Path(snakemake.input.provenance).parent,
            model_name=snakemake.wildcards.model,
        )
