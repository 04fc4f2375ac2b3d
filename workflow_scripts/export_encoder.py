"""Export one pre-trained encoder as a folder that Sentence Transformers and `SentenceEncoder` load."""

from pathlib import Path

from cross_thought.data.pairs import shown_name
from cross_thought.inference.export import export_model
from cross_thought.inference.loading import vocabulary_for
from cross_thought.jobs import logged_job

if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        model = Path(snakemake.input.checkpoint)
        export_model(
            model,
            Path(snakemake.output[0]),
            output_format="sentence-transformers",
            vocabulary=vocabulary_for(model, Path(snakemake.input.vocabulary)),
            results=Path(snakemake.input.provenance).parent,
            model_name=shown_name(snakemake.wildcards.model),
        )
