"""Memory of a pre-training step: measured on a CPU, and counted by saved tensors for a CPU and a GPU.

    python -m benchmarks.memory --measure 2048 4096 8192 --count 32000

Counting needs little memory and no GPU. What a forward keeps is a polynomial of second degree in the stream's words
(attention between segments is the square), so that three short streams tell that of any. For a GPU, attention and
dropout are computed as its kernels do: attention keeps no weights, dropout one byte an element.
"""

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor

from benchmarks.batches import random_stream
from benchmarks.results import markdown
from benchmarks.sides import Sizes, make_side
from benchmarks.work import measure_memory
from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig
from cross_thought.plan.work import ModelSizes

LENGTHS = (256, 512, 768)  # of the streams that are counted
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.float32}


def kept_bytes(
    model: CrossThoughtEncoder, tokens: Tensor, scored: Tensor, *, precision: str, on_gpu: bool, recompute: bool = False
) -> int:
    """Count the bytes of the states that a pre-training forward keeps for its backward pass; weights do not count.

    Args:
        model: on a CPU, with dropout; without attention dropout if `on_gpu`, for the fused kernel keeps the same.
        tokens: a stream, shape (1, L).
        scored: the positions that the LM head scores, shape (1, L).
        precision: "float32", "float16" (the whole model) or "bfloat16" (its matrix products, by autocast).
        on_gpu: whether to keep what a GPU would.
        recompute: whether the backward pass computes layers again.
    """
    model.checkpoint_activations = recompute
    model = model.train().to(DTYPES[precision])
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    shapes = {tuple(weight.shape) for weight in model.parameters() if weight.dim() == 2}
    kept: dict[int, int] = {}

    def note(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        is_copy = tuple(saved.shape) in shapes or tuple(saved.shape[::-1]) in shapes  # of a weight, by autocast
        if storage.data_ptr() not in weights and not is_copy:
            kept[storage.data_ptr()] = storage.nbytes()
        return saved.detach()  # the tensor itself would hold the graph that holds it

    with (
        _dropout_of_a_gpu() if on_gpu else nullcontext(),
        torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
    ):
        states = model.encode_streams(tokens, start_position=1, scored=scored)  # holds the graph, and so what is kept
    del states
    return sum(kept.values())


@contextmanager
def _dropout_of_a_gpu() -> Iterator[None]:
    """Let the encoder's dropout keep a mask of bytes, as on a GPU."""

    def dropout(states: Tensor, probability: float, training: bool) -> Tensor:
        return torch.native_dropout(states, probability, True)[0] if training and probability else states

    with (
        mock.patch("cross_thought.encoder.layers.dropout", dropout),
        mock.patch("cross_thought.encoder.encoder.dropout", dropout),
    ):
        yield


def count_kept(length: int, *, sizes: Sizes, precision: str, on_gpu: bool, recompute: bool) -> float:
    """Return what a forward on a stream of `length` words keeps, in bytes: from counts with one and two layers."""
    one, two = (
        _count_kept(length, num_layers=num_layers, sizes=sizes, precision=precision, on_gpu=on_gpu, recompute=recompute)
        for num_layers in (1, 2)
    )
    return one + (sizes.num_layers - 1) * (two - one)


def _count_kept(length: int, *, num_layers: int, sizes: Sizes, precision: str, on_gpu: bool, recompute: bool) -> float:
    """Return the same with so many layers, from the counts of three short streams."""
    counts = []
    for short in LENGTHS:
        config = EncoderConfig(
            vocab_size=sizes.vocab_size,
            num_layers=num_layers,
            embed_dim=sizes.embed_dim,
            ffn_dim=sizes.ffn_dim,
            num_heads=sizes.num_heads,
            attention_dropout=0.0 if on_gpu else 0.1,
        )
        tokens = random_stream(short, vocab_size=sizes.vocab_size, seed=1).tokens
        scored = torch.arange(short)[None] < round(0.15 * short)
        settings = {"precision": precision, "on_gpu": on_gpu, "recompute": recompute}
        counts.append(kept_bytes(CrossThoughtEncoder(config), tokens, scored, **settings))
    # the parabola through the three (Lagrange)
    total = 0.0
    for place, count in enumerate(counts):
        others = [other for number, other in enumerate(LENGTHS) if number != place]
        total += (
            count
            * (length - others[0])
            * (length - others[1])
            / ((LENGTHS[place] - others[0]) * (LENGTHS[place] - others[1]))
        )
    return total


def measure(length: int, *, sizes: Sizes) -> None:
    """Print the memory in MB of forward and backward on a CPU, above the loaded model, as JSON."""
    side = make_side("ours", sizes, reference_layers="torch", dropout=0.1, seed=1)
    batch = random_stream(length, vocab_size=sizes.vocab_size, seed=1)
    json.dump(measure_memory(side, batch, step="train", device="cpu"), sys.stdout)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=int, nargs="*", default=[2048, 4096, 8192], help="words of measured streams")
    parser.add_argument("--count", type=int, default=32000, help="words of the stream that is counted")
    parser.add_argument("--layers", type=int, default=12, help="encoder layers; fewer only to try the script out")
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = Sizes(num_layers=options.layers)
    if options.answer:
        measure(options.answer, sizes=sizes)
        return
    plan = ModelSizes(
        vocab_size=sizes.vocab_size,
        num_layers=sizes.num_layers,
        embed_dim=sizes.embed_dim,
        ffn_dim=sizes.ffn_dim,
        num_heads=sizes.num_heads,
        num_slots=sizes.num_slots,
        segment_length=sizes.segment_length,
        num_positions=512,
    )
    rows = []
    for length in options.measure:
        command = [sys.executable, "-m", "benchmarks.memory", "--layers", str(options.layers), "--answer", str(length)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=Path(__file__).parents[1])
        step = plan.step_bytes(length, streams=1, scored=0.15, precision="float32", on_gpu=False)
        planned = (step - 12 * plan.num_parameters) / 1e6  # weights and Adam's states are not part of it
        rows.append(
            [f"{length:,}", f"{json.loads(done.stdout)['above_model_mb'] * 2**20 / 1e6:,.0f}", f"{planned:,.0f}"]
        )
    print(markdown(["words", "measured MB", "planned MB"], rows))
    rows = []
    for device, precision, recompute in itertools.product(("cpu", "cuda"), DTYPES, (False, True)):
        if (device, precision) == ("cpu", "float16"):
            continue
        settings = {"precision": precision, "on_gpu": device == "cuda", "recompute": recompute}
        kept = count_kept(options.count, sizes=sizes, **settings)
        planned = plan.kept_bytes(options.count, scored=0.15, **settings)
        whole = plan.step_bytes(options.count, streams=1, scored=0.15, **settings) - planned + kept
        figures = [f"{size / 1e9:.1f}" for size in (kept, planned, whole)]
        rows.append([device, precision, "again" if recompute else "kept", *figures])
    print(markdown(["device", "precision", "layers", "kept GB", "planned GB", "whole step GB"], rows))


if __name__ == "__main__":
    main()
