"""See what the slots of one pre-trained model attend to in cross layer 0, on a held-out document."""

from dataclasses import asdict
from pathlib import Path

import torch

from cross_thought.evaluation.cross_attention import CaseStudy, choose_segments, choose_token, cross_attention
from cross_thought.fairseq.pretrained import Spelling, held_out_documents, load_pretrained
from cross_thought.files import write_json
from cross_thought.jobs import logged_job


def study_cross_attention(
    checkpoint: Path, binarized: Path, vocabulary: Path, *, model_name: str, seed: int, report: Path
) -> None:
    """Write the case study of one pre-training's final model with cross layer 0 on, of the held-out part, as JSON."""
    model, dictionary = load_pretrained(checkpoint, vocabulary)
    spelling = Spelling(dictionary, vocabulary)
    documents = held_out_documents(binarized, bos_id=dictionary.bos())
    segments = choose_segments(documents, model.sentence_encoder)
    counts = [count if id_ != dictionary.pad() else 0 for id_, count in enumerate(dictionary.count)]
    query, column = choose_token(segments, counts=counts, is_word=spelling.is_word)
    token = int(segments[query, column])
    masked = segments.clone()
    masked[query, column] = dictionary.index("<mask>")
    study = CaseStudy(
        model=model_name,
        seed=seed,
        texts=[spelling.text(segment) for segment in masked.tolist()],
        query=query,
        word=spelling.text([token]),
        repeats=(segments == token).any(1).tolist(),
        weights=cross_attention(model.sentence_encoder, masked).mean(1)[:, query].tolist(),
    )
    write_json(report, asdict(study))
    print(f"segment {query + 1}, {study.word!r} masked: {study.weights}")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        torch.set_num_threads(snakemake.threads)
        study_cross_attention(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.corpus),
            Path(snakemake.input.vocabulary),
            model_name=snakemake.wildcards.model,
            seed=int(snakemake.wildcards.seed),
            report=Path(snakemake.output[0]),
        )
