"""Time onnxruntime on the graph of an encoder beside `SentenceEncoder.encode`, on the same sentences.

    python -m benchmarks.graphs --data FOLDER --sentences 300 --pairs 3

Random weights of base size; speed does not depend on them. Both sides get the sentences sorted by length, in batches of
as many padded tokens, and equal ones once. README.md beside this file says how to read the numbers.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from benchmarks.embedding import our_encoder, read_sentences
from cross_thought.inference.embed import SentenceEncoder
from cross_thought.inference.onnx_graphs import INPUTS, EmbeddingGraph, write_graph

BATCH_TOKENS = 1 << 11  # as `encode` has it on a CPU


def embed(session: onnxruntime.InferenceSession, ours: SentenceEncoder, sentences: list[str]) -> np.ndarray:
    """Embed sentences by a graph."""
    rows = ours.tokenizer.token_ids(sentences)
    numbers: dict[tuple[int, ...], int] = {}
    places = [numbers.setdefault(tuple(row), len(numbers)) for row in rows]
    distinct = list(numbers)
    order = sorted(range(len(distinct)), key=lambda number: -len(distinct[number]))
    vectors = np.empty((len(distinct), ours.embedding_dim()), np.float32)
    while order:
        size = max(1, BATCH_TOKENS // len(distinct[order[0]]))
        batch, order = order[:size], order[size:]
        tokens = ours.tokenizer.pad([distinct[number] for number in batch]).numpy()
        feed = dict(zip(INPUTS, (tokens, (tokens != 1).astype(np.int64)), strict=True))
        vectors[batch] = session.run(None, feed)[0]
    return vectors[places]


def seconds(run: Callable[[list[str]], object], sentences: list[str]) -> float:
    """Return how long it takes to embed the sentences."""
    started = time.perf_counter()
    run(sentences)
    return time.perf_counter() - started


def compare(data: Path, *, sentences: int, pairs: int, threads: int, num_layers: int = 12) -> dict[str, list[float]]:
    """Time runs in turns; return the seconds of ours, of the float32 graph and of the int8 graph."""
    ours = our_encoder(data / "gpt2_bpe", "float32", "cpu", num_layers=num_layers)
    texts = read_sentences(data, sentences, seed=1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    sides: dict[str, Callable[[list[str]], np.ndarray]] = {"ours": ours.encode}
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("float32", "int8"):
            path = Path(scratch, f"{name}.onnx")
            write_graph(EmbeddingGraph(ours), path, int8=name == "int8")
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            sides[name] = lambda texts, session=session: embed(session, ours, texts)  # type: ignore[misc]
    few = texts[:32]
    assert np.abs(sides["float32"](few) - ours.encode(few)).max() < 1e-4
    sides["int8"](few)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(pairs):
        for name, run in sides.items():
            times[name].append(seconds(run, texts))
    return times


def main() -> None:
    """Time the sides and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="holds glue/{RTE,MRPC,SST-2}/train.tsv and gpt2_bpe/")
    parser.add_argument("--sentences", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"{options.sentences} sentences, {options.threads} threads; load {os.getloadavg()[0]:.1f} at the beginning")
    times = compare(options.data, sentences=options.sentences, pairs=options.pairs, threads=options.threads)
    for name, found in times.items():
        ratios = sorted(ours / theirs for ours, theirs in zip(times["ours"], found, strict=True))
        print(
            f"{name}: {options.sentences / statistics.median(found):.1f} sentences/s, "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}) of ours"
        )
    print(f"load {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
