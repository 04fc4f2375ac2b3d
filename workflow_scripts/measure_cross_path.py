"""Measure what the cross path of one pre-trained model carries, on the demo's held-out documents."""

from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from cross_thought.evaluation.cross_path import fact_ids, mask_facts, measure
from cross_thought.evaluation.provenance import write_json
from cross_thought.fairseq import bridge
from cross_thought.fairseq.binarize import symbol_map
from cross_thought.fairseq.checkpoints import load_checkpoint
from cross_thought.jobs import logged_job
from cross_thought.segments import fold_stream
from cross_thought.text.bpe import Encoder
from cross_thought.text.corpus import TextFile, read_documents
from cross_thought.text.demo import FACTS

NUM_DOCUMENTS = 400


def load_model(checkpoint: Path, vocabulary: Path) -> tuple[object, int]:
    """Return fairseq's encoder with the weights of a pre-training checkpoint, and the id of `<mask>`."""
    bridge.install()
    from fairseq.data import Dictionary

    from cross_thought.fairseq.model import RegisteredEncoder

    state = load_checkpoint(checkpoint)
    dictionary = Dictionary.load(str(vocabulary / "dict.txt"))
    mask_id = dictionary.add_symbol("<mask>")
    model = RegisteredEncoder(state["args"], dictionary)
    prefix = "encoder."
    model.load_state_dict({name.removeprefix(prefix): weight for name, weight in state["model"].items()})
    return model, mask_id


def read_segments(corpus: Path, vocabulary: Path, *, segment_length: int) -> Tensor:
    """Return the first held-out documents as fairseq passes them to the model, cut into segments, shape (N, S, T)."""
    encoder, symbols = Encoder(vocabulary), symbol_map(vocabulary)
    documents = read_documents(TextFile(path=str(corpus / "valid.txt")))
    streams = [[0, *symbols.table[encoder.encode(lines)].tolist()] for lines in islice(documents, NUM_DOCUMENTS)]
    return fold_stream(torch.tensor(streams), segment_length, pad_id=1)


def measure_cross_path(
    checkpoint: Path, corpus: Path, vocabulary: Path, *, model_name: str, seed: int, report: Path
) -> None:
    """Write the accuracies of one model.

    Args:
        checkpoint: a pre-training's final model.
        corpus: folder of the prepared corpus; its held-out part is read.
        vocabulary: folder of encoder.json and dict.txt.
        model_name: as in the config.
        seed: of the pre-training.
        report: the JSON file to write.
    """
    model, mask_id = load_model(checkpoint, vocabulary)
    documents = read_segments(corpus, vocabulary, segment_length=model.args.segment_length)
    # the same words are masked for every model and seed
    masking = mask_facts(documents, fact_ids(FACTS, vocabulary), seed=1)
    accuracy = measure(
        model.sentence_encoder,
        model.lm_head,
        masking,
        mask_id=mask_id,
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
