"""Where the time of a pre-training step goes, by kind of operation: forward, backward and a fused optimizer step.

    python -m benchmarks.step --tokens 4096 --threads 2
    python -m benchmarks.step --device cuda --precision bfloat16

Base size, random words, dropout as published. bfloat16 is autocast: weights, optimizer, LayerNorm and loss in float32.
The times are those of PyTorch's profiler, of each operation by itself; a backward counts where its forward does.
"""

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.batches import Batch, random_stream
from benchmarks.results import device_name, markdown
from benchmarks.sides import Side, Sizes, make_side, wait_for
from cross_thought.encoder import layers

# what the name of an operation, or of the one that it is part of, says of its kind; the first that fits
KINDS = {
    "loss": ("nll_loss", "log_softmax", "cross_entropy"),
    "attention": ("scaled_dot_product", "softmax", "bmm"),
    "matrix products": ("mm", "linear"),
    "LayerNorm": ("layer_norm",),
    "GELU": ("gelu",),
    "dropout": ("dropout", "bernoulli"),
    "gather and scatter": ("index", "embedding", "gather", "scatter", "nonzero", "cat", "slice", "split"),
    "optimizer": ("adam", "foreach"),
    "casts and copies": ("copy", "contiguous", "clone", "tobackward"),
    "sums: residuals, gradients": ("add", "sum", "accumulategrad"),
}
ALL_KINDS = (*KINDS, "other")
_MARK, _BACKWARD = "kind: ", "autograd::engine::evaluate_function"


@contextmanager
def marked_functions() -> Iterator[None]:
    """Mark what the encoder computes in attention and in dropout: the operations' own names do not tell it."""
    attend, dropout = layers.SelfAttention._attend, layers.dropout

    def marked_attend(*args: Any, **named: Any) -> Any:
        with record_function(_MARK + "attention"):
            return attend(*args, **named)

    def marked_dropout(*args: Any) -> Any:
        with record_function(_MARK + "dropout"):
            return dropout(*args)

    with (
        mock.patch.object(layers.SelfAttention, "_attend", marked_attend),
        mock.patch("cross_thought.encoder.layers.dropout", marked_dropout),
        mock.patch("cross_thought.encoder.encoder.dropout", marked_dropout),
    ):
        yield


def run_step(side: Side, batch: Batch, optimizer: torch.optim.Optimizer, precision: str) -> float:
    """Run a whole step; return the loss."""
    device = batch.tokens.device.type
    with torch.autocast(device, getattr(torch, precision), enabled=precision != "float32"):
        loss = side.loss(batch)
    loss.backward()
    with record_function(_MARK + "optimizer"):
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return loss.detach()


def seconds_by_kind(events: Any, *, on_gpu: bool) -> dict[str, float]:
    """Return the seconds of each kind of operation, of all that was profiled.

    Args:
        events: of the profiler, as `profile.events()` gives them.
        on_gpu: whether the time on the GPU counts, or that on the CPU.
    """
    kind_of_forward: dict[int, str] = {}
    for event in events:
        mark = _mark_above(event)
        if mark and event.sequence_nr >= 0:
            kind_of_forward.setdefault(event.sequence_nr, mark)
    seconds = dict.fromkeys(ALL_KINDS, 0.0)
    for event in events:
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        if own and event.device_type == torch.autograd.DeviceType.CPU:
            kind = _mark_above(event) or _backward_kind(event, kind_of_forward) or _kind_of_name(event)
            seconds[kind] += own * 1e-6
    return seconds


def _mark_above(event: Any) -> str | None:
    """Return the mark that an operation lies within."""
    while event is not None:
        if event.name.startswith(_MARK):
            return event.name.removeprefix(_MARK)
        event = event.cpu_parent
    return None


def _backward_kind(event: Any, kind_of_forward: dict[int, str]) -> str | None:
    """Return the mark of the forward whose backward an operation belongs to."""
    while event is not None:
        if event.name.startswith(_BACKWARD):
            return kind_of_forward.get(event.sequence_nr)
        event = event.cpu_parent
    return None


def _kind_of_name(event: Any) -> str:
    """Return the kind that an operation's own name tells, or else that of the operation that it is part of."""
    while event is not None:
        name = event.name.lower()
        kind = next((kind for kind, signs in KINDS.items() if any(sign in name for sign in signs)), None)
        if kind:
            return kind
        event = event.cpu_parent
    return "other"


def profile_step(
    *, sizes: Sizes, tokens: int, device: str, precision: str, steps: int, seed: int = 1
) -> dict[str, float]:
    """Return the seconds that each kind of operation takes in a step, the median over some steps."""
    side = make_side("ours", sizes, reference_layers="torch", dropout=0.1, seed=seed).to(device).train()
    optimizer = torch.optim.AdamW(side.parameters(), lr=1e-4, betas=(0.9, 0.98), fused=True)
    batch = random_stream(tokens, vocab_size=sizes.vocab_size, seed=seed).to(device)
    on_gpu = device.startswith("cuda")
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    profiled = []
    with marked_functions():
        run_step(side, batch, optimizer, precision)
        for _ in range(steps):
            wait_for(device)
            with profile(activities=activities) as profiler:
                run_step(side, batch, optimizer, precision)
                wait_for(device)
            profiled.append(seconds_by_kind(profiler.events(), on_gpu=on_gpu))
    return {kind: statistics.median(seconds[kind] for seconds in profiled) for kind in ALL_KINDS}


def format_kinds(by_precision: dict[str, dict[str, float]]) -> str:
    """Return the table: a kind a line, milliseconds and shares for each precision."""
    totals = {precision: sum(seconds.values()) for precision, seconds in by_precision.items()}
    header = ["kind of operation", *(f"{precision}, ms (share)" for precision in by_precision)]
    rows = [
        [kind]
        + [
            f"{kinds[kind] * 1e3:.1f} ({kinds[kind] / totals[precision]:.1%})"
            for precision, kinds in by_precision.items()
        ]
        for kind in ALL_KINDS
    ]
    return markdown(header, [*rows, ["all", *(f"{total * 1e3:.1f}" for total in totals.values())]])


def main() -> None:
    """Profile and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, help="words of the stream (4096 on a CPU, 32000 on a GPU)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layers", type=int, default=12, help="encoder layers; fewer only to try the script out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokens = options.tokens or (32000 if options.device.startswith("cuda") else 4096)
    settings = {"sizes": Sizes(num_layers=options.layers), "tokens": tokens, "device": options.device}
    by_precision = {
        precision: profile_step(precision=precision, steps=options.steps, **settings) for precision in options.precision
    }
    print(f"{device_name(options.device)}, {options.threads} threads, {tokens} tokens\n")
    print(format_kinds(by_precision))


if __name__ == "__main__":
    main()
