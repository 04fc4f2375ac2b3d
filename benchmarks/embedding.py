"""Time `SentenceEncoder.encode` beside Sentence Transformers with an equally large RoBERTa, on the same sentences.

    python -m benchmarks.embedding --data FOLDER --sentences 1000 --pairs 3

Both have random weights of base size; speed does not depend on them. Sentence Transformers sorts by length itself.
README.md beside this file says how to read the numbers.
"""

import argparse
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is to be fetched

import json
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import RobertaConfig, RobertaModel, RobertaTokenizerFast

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.encoder.tokenizer import SentenceTokenizer
from cross_thought.errors import UserError
from cross_thought.inference.embed import PRECISIONS, SentenceEncoder
from cross_thought.inference.loading import build_tokenizer
from cross_thought.training.devices import usable_device

# file, 0-based columns of sentences
_FILES = {"RTE": (1, 2), "MRPC": (3, 4), "SST-2": (0,)}


def read_sentences(data: Path, number: int, *, seed: int) -> list[str]:
    """Draw sentences from the training files of RTE, MRPC and SST-2, equally many of each, in random order."""
    draw = random.Random(seed)
    drawn: list[str] = []
    for place, (task, columns) in enumerate(_FILES.items()):
        rows = (data / "glue" / task / "train.tsv").read_text(encoding="utf-8-sig").rstrip("\n").split("\n")[1:]
        sentences = [row.split("\t")[column].strip() for row in rows for column in columns]
        drawn += draw.sample(sentences, number // len(_FILES) + (place < number % len(_FILES)))
    draw.shuffle(drawn)
    return drawn


def our_encoder(vocabulary: Path, precision: str, device: str, *, num_layers: int) -> SentenceEncoder:
    """Return an encoder of the published width."""
    torch.manual_seed(1)
    config = EncoderConfig(num_layers=num_layers)
    tokenizer = SentenceTokenizer(build_tokenizer(vocabulary), vocab_size=config.vocab_size)
    encoder = CrossThoughtEncoder(config).requires_grad_(False)
    return SentenceEncoder(encoder, tokenizer, device=device, precision=precision)


def their_encoder(
    vocabulary: Path, precision: str, device: str, folder: Path, *, num_layers: int
) -> SentenceTransformer:
    """Return a RoBERTa of base width in Sentence Transformers, with mean pooling."""
    torch.manual_seed(1)
    config = RobertaConfig(
        vocab_size=50265,
        num_hidden_layers=num_layers,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    RobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    merges = folder / "merges.txt"
    merges.write_text((vocabulary / "vocab.bpe").read_text(encoding="utf-8"), encoding="utf-8")
    bpe = json.loads((vocabulary / "encoder.json").read_text(encoding="utf-8"))
    for special in ("<s>", "<pad>", "</s>", "<unk>", "<mask>"):
        bpe.setdefault(special, len(bpe))
    # other ids than fairseq's: the speed is the same
    (folder / "vocab.json").write_text(json.dumps(bpe), encoding="utf-8")
    RobertaTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    transformer = Transformer(
        str(folder), max_seq_length=512, model_kwargs={"dtype": precision, "add_pooling_layer": False}
    )
    return SentenceTransformer(modules=[transformer, Pooling(config.hidden_size)], device=device)


def check_same_work(theirs: SentenceTransformer, ours: SentenceEncoder, sentences: list[str]) -> None:
    """Make sure that both sides cut the sentences into equally many tokens, and have equally large layers."""
    assert [len(ids) for ids in ours.tokenizer.token_ids(sentences)] == [
        len(ids) for ids in theirs.tokenizer(sentences)["input_ids"]
    ]
    sizes = [sum(weight.numel() for weight in model.parameters()) for model in (theirs, ours.encoder.layers)]
    assert sizes[0] > sizes[1] > 7e6 * len(ours.encoder.layers)


def seconds(model: SentenceTransformer | SentenceEncoder, sentences: list[str]) -> float:
    """Return how long a model takes to embed sentences."""
    started = time.perf_counter()
    model.encode(sentences)
    return time.perf_counter() - started


def compare(
    data: Path, *, sentences: int, pairs: int, precision: str, device: str, num_layers: int = 12
) -> dict[str, Any]:
    """Time pairs of runs; return sentences a second of both sides, and the ratios of the pairs in rising order."""
    vocabulary = data / "gpt2_bpe"
    texts = read_sentences(data, sentences, seed=1)
    with tempfile.TemporaryDirectory() as scratch:
        theirs = their_encoder(vocabulary, precision, device, Path(scratch), num_layers=num_layers)
    ours = our_encoder(vocabulary, precision, device, num_layers=num_layers)
    check_same_work(theirs, ours, texts)
    theirs.encode(texts[:32])
    ours.encode(texts[:32])
    times = [(seconds(theirs, texts), seconds(ours, texts)) for _ in range(pairs)]
    rates = [len(texts) / statistics.median(column) for column in zip(*times, strict=True)]
    return {
        "distinct": len(set(texts)),
        "theirs_per_s": rates[0],
        "ours_per_s": rates[1],
        "ratios": sorted(their_time / our_time for their_time, our_time in times),
    }


def main() -> None:
    """Time pairs of runs and print their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds glue/{RTE,MRPC,SST-2}/train.tsv and gpt2_bpe/")
    parser.add_argument("--sentences", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=PRECISIONS, nargs="+", default=["float32", "bfloat16"])
    options = parser.parse_args()
    try:
        usable_device(options.device)
    except UserError as error:
        parser.error(str(error))
    torch.set_num_threads(options.threads)
    print(f"{options.sentences} sentences, {options.device}, {options.threads} threads")
    for precision in options.precision:
        figures = compare(
            options.data,
            sentences=options.sentences,
            pairs=options.pairs,
            precision=precision,
            device=options.device,
        )
        ratios = figures["ratios"]
        print(
            f"{precision}: Sentence Transformers {figures['theirs_per_s']:.1f} sentences/s, ours "
            f"{figures['ours_per_s']:.1f}, ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}); "
            f"{figures['distinct']} sentences are distinct"
        )


if __name__ == "__main__":
    main()
