"""Measure what the cross path of one pre-trained model carries, on the demo's held-out documents."""

from itertools import islice
from pathlib import Path

import torch

from cross_thought.data.demo import FACTS
from cross_thought.evaluation.cross_path import fact_ids, mask_facts, measure
from cross_thought.fairseq.pretrained import held_out_documents, load_pretrained
from cross_thought.files import write_json
from cross_thought.jobs import logged_job

NUM_DOCUMENTS = 400


def measure_cross_path(
    checkpoint: Path, corpus: Path, vocabulary: Path, *, model_name: str, seed: int, report: Path
) -> None:
    """Write the accuracies of one pre-training's final model on the held-out part of the binarized corpus, as JSON."""
    model, dictionary = load_pretrained(checkpoint, vocabulary)
    facts = fact_ids(FACTS, vocabulary)  # each a symbol, so that all documents are of one length
    documents = torch.stack(list(islice(held_out_documents(corpus, bos_id=dictionary.bos()), NUM_DOCUMENTS)))
    documents = model.sentence_encoder.cut_streams(documents)[0]  # (N, S, T)
    # the same words are masked for every model and seed
    masking = mask_facts(documents, facts, seed=1)
    accuracy = measure(
        model.sentence_encoder,
        model.lm_head,
        masking,
        mask_id=dictionary.index("<mask>"),
        has_cross_sequence=not model.args.no_cross_sequence,
    )
    print(f"{len(masking.answers)} masked words: {accuracy}, guessing {masking.guess_rate:.3f}")
    write_json(
        report,
        {
            "model": model_name,
            "seed": seed,
            "guess_rate": masking.guess_rate,
            "accuracy": accuracy,
            "num_words": len(masking.answers),
        },
    )


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        torch.set_num_threads(snakemake.threads)
        measure_cross_path(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.corpus),
            Path(snakemake.input.vocabulary),
            model_name=snakemake.wildcards.model,
            seed=int(snakemake.wildcards.seed),
            report=Path(snakemake.output[0]),
        )
