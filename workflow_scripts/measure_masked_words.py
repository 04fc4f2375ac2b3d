"""Let one pre-trained model guess masked words of held-out documents, with and without the other segments."""

from itertools import islice
from pathlib import Path

import torch

from cross_thought.evaluation.masked_words import (
    BYPASSED,
    MAX_DOCUMENTS,
    MAX_SEGMENTS,
    ON,
    SHUFFLED,
    choose_words,
    guess_words,
    write_words,
)
from cross_thought.fairseq.pretrained import held_out_documents, load_pretrained
from cross_thought.jobs import logged_job


def measure_masked_words(checkpoint: Path, corpus: Path, vocabulary: Path, *, words_file: Path) -> None:
    """Write the masked words and what a pre-training's final model makes of them in each condition, as TSV.

    Of the binarized corpus its test part is read, or else the part that was validated on.
    """
    model, dictionary = load_pretrained(checkpoint, vocabulary)
    split = "test" if (corpus / "test.idx").exists() else "valid"
    documents = [
        model.sentence_encoder.cut_streams(document[None])[0][0, :MAX_SEGMENTS]
        for document in islice(held_out_documents(corpus, bos_id=dictionary.bos(), split=split), MAX_DOCUMENTS)
    ]
    # the same words are masked for every seed, and for all models whose segments and share of masks are the same
    words = choose_words(
        documents,
        share=model.args.mask_prob,
        num_specials=dictionary.nspecial,
        seed=1,
        eos_id=dictionary.eos() if model.sentence_encoder.config.segment_by == "sentence" else None,
    )
    conditions = [BYPASSED] if model.args.no_cross_sequence else [ON, SHUFFLED, BYPASSED]
    guesses = guess_words(
        model.sentence_encoder,
        model.lm_head,
        documents,
        words,
        mask_id=dictionary.index("<mask>"),
        conditions=conditions,
    )
    write_words(words_file, split, words, guesses)
    print(f"{len(words)} masked words in {len({word.document for word in words})} of {len(documents)} documents")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        torch.set_num_threads(snakemake.threads)
        measure_masked_words(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.corpus),
            Path(snakemake.input.vocabulary),
            words_file=Path(snakemake.output[0]),
        )
