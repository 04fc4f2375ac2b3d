"""Score the embeddings of one pre-trained or tuned model by mteb."""

from collections.abc import Sequence
from pathlib import Path

import mteb
import torch

from cross_thought.data.pairs import place_of, shown_name
from cross_thought.files import write_json
from cross_thought.inference.embed import SentenceEncoder
from cross_thought.inference.loading import WEIGHTS_FILE, vocabulary_for
from cross_thought.inference.mteb_encoder import MTEBEncoder, mteb_scores, mteb_tasks
from cross_thought.jobs import logged_job
from cross_thought.sources import fingerprint
from cross_thought.training.gpus import own_gpus


def evaluate_mteb(
    checkpoint: Path,
    vocabulary: Path,
    tasks: Sequence[str],
    *,
    model: str,
    seed: int,
    pooling: str,
    device: str,
    scores_file: Path,
) -> None:
    """Write the scores; mteb's own results lie beside them, in a folder of this model's alone.

    The checkpoint is the pre-trained model, with its vocabulary, or the export of a tuned one; `tasks` are as of
    `mteb_tasks`, `model` is its name in tables, and the seed that of the pre-training, or the tuning.
    """
    encoder = SentenceEncoder.from_pretrained(
        checkpoint, vocabulary=vocabulary_for(checkpoint, vocabulary), device=device
    )
    weights = checkpoint / WEIGHTS_FILE if checkpoint.is_dir() else checkpoint
    named = MTEBEncoder(
        encoder, name=f"cross-thought/{place_of(model)}", revision=fingerprint(weights), pooling=pooling
    )
    scores = mteb_scores(named, mteb_tasks(tasks), scores_file.parent / "mteb")
    document = {"model": model, "seed": seed, "pooling": pooling, "mteb": mteb.__version__, "tasks": scores}
    write_json(scores_file, document)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]), own_gpus(int(snakemake.params.device == "cuda")):
        torch.set_num_threads(snakemake.threads)
        evaluate_mteb(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.vocabulary),
            snakemake.params.tasks,
            model=shown_name(snakemake.wildcards.model),
            seed=int(snakemake.wildcards.seed),
            pooling=snakemake.wildcards.pooling,
            device=snakemake.params.device,
            scores_file=Path(snakemake.output[0]),
        )
