"""Several processes, over nccl on GPUs and gloo on a CPU: their mean gradient is that of one process with all batches.

    python -m benchmarks.gpu.processes DEVICE SMALL RANK WORLD_SIZE RENDEZVOUS

is one of them; the first prints what was found, as JSON.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import distributed

from benchmarks.batches import random_stream
from benchmarks.gpu.part import Outcome, Settings
from benchmarks.sides import Side, make_side

_ROUNDS = 5


def processes(settings: Settings) -> Outcome:
    """One process for each GPU, one GPU included; two on a CPU."""
    count = torch.cuda.device_count() if settings.device == "cuda" else 2
    rendezvous = settings.folder / "rendezvous"
    command = [sys.executable, "-m", "benchmarks.gpu.processes", settings.device, str(int(settings.small))]
    children = [
        subprocess.Popen([*command, str(rank), str(count), str(rendezvous)], stdout=subprocess.PIPE, text=True)
        for rank in range(count)
    ]
    outputs = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise RuntimeError(f"the processes ended with {[child.returncode for child in children]}")
    figures = json.loads(outputs[0])
    row = [
        figures["backend"], str(count), f"{figures['gradient_difference']:.1e}", f"{figures['all_reduce_gb_per_s']:.1f}"
    ]  # fmt: skip
    header = ["backend", "processes", "relative difference of the gradient", "all-reduce of it, GB/s"]
    return Outcome(header=header, rows=[row], figures=figures)


def _gradient(side: Side, seeds: list[int], tokens: int, vocab_size: int, device: str) -> torch.Tensor:
    """Return the mean over batches of the gradient, as one vector."""
    side.zero_grad(set_to_none=True)
    for seed in seeds:
        (side.loss(random_stream(tokens, vocab_size=vocab_size, seed=seed).to(device)) / len(seeds)).backward()
    return torch.cat([weight.grad.flatten() for weight in side.parameters() if weight.grad is not None])


def main() -> None:
    """Be one of the processes."""
    device, small, rank, count = sys.argv[1], bool(int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])
    settings = Settings(device=device, small=small, folder=Path())
    backend = "nccl" if device == "cuda" else "gloo"
    place = f"cuda:{rank}" if device == "cuda" else "cpu"
    if device == "cuda":
        torch.cuda.set_device(rank)
    distributed.init_process_group(backend, init_method=f"file://{sys.argv[5]}", rank=rank, world_size=count)
    sizes = settings.sizes
    side = make_side("ours", sizes, reference_layers="torch", dropout=0.0, seed=1).to(place)
    tokens = min(2048, settings.stream_tokens)
    mine = _gradient(side, [rank], tokens, sizes.vocab_size, place)
    shared = mine.clone()
    distributed.all_reduce(shared)
    shared /= count
    started = time.perf_counter()
    for _ in range(_ROUNDS):
        distributed.all_reduce(mine)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / _ROUNDS
    if rank == 0:
        alone = _gradient(side, list(range(count)), tokens, sizes.vocab_size, place)
        difference = float((shared - alone).norm() / alone.norm())
        if difference > 1e-4:
            sys.exit(f"error: the processes' gradient differs by {difference:.1e} from that of one process")
        figures = {
            "backend": backend,
            "processes": count,
            "gradient_difference": difference,
            "all_reduce_gb_per_s": mine.numel() * mine.element_size() / seconds / 1e9,
        }
        print(json.dumps(figures))
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
