"""What a step is worth: operations that it needs and that it executes, the machine's rate, memory."""

import gc
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

from benchmarks.batches import EOS, PAD, Batch
from benchmarks.sides import Side, Sizes, make_side, prepare, run_step, wait_for


def needed_flops(batch: Batch, sizes: Sizes, *, step: str) -> int:
    """Operations of the published model on real tokens alone: no padding, but every query of every layer.

    This is the numerator of MFU. Matrix products only, 2 operations a multiply-add; backward counts twice forward.
    """
    d = sizes.embed_dim
    linear = 2 * (4 * d * d + 2 * d * sizes.ffn_dim)  # of one state in one layer

    def layer(rows: list[int]) -> int:
        return sum(length * linear + 4 * length * length * d for length in rows)

    k = sizes.num_slots
    if batch.scored is not None:
        (length,) = (batch.tokens != PAD).sum(1).tolist()
        full, rest = divmod(length, sizes.segment_length)
        rows = [k + sizes.segment_length] * full + [k + rest] * (rest > 0)
        head = len(batch.target) * 2 * d * (d + sizes.vocab_size)
        forward = (sizes.num_layers + 1) * layer(rows) + layer([len(rows)] * k) + head
    else:
        rows, sequences = [], []
        for row in batch.tokens:
            words = row[row != PAD]
            end = int((words == EOS).nonzero()[0]) + 1
            sentences = [length for length in (end, len(words) - end) if length]
            rows += [k - 1 + length for length in sentences]
            sequences += [len(sentences)] * k
        head = len(batch.tokens) * 2 * d * (d + 2)
        forward = sizes.num_layers * layer(rows) + layer(sequences) + head
    return forward * (3 if step == "train" else 1)


def _count_cpu_attention(query: Tensor, key: Tensor, value: Tensor, *args: object, **kwargs: object) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _count_cpu_attention_backward(
    gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: object, **kwargs: object
) -> int:
    return sdpa_backward_flop_count(gradient.shape, query.shape, key.shape, value.shape)


_count_cpu_attention._get_raw = True  # called with tensors, not shapes
_count_cpu_attention_backward._get_raw = True


def executed_flops(
    name: str, batch: Batch, sizes: Sizes, *, step: str, reference_layers: str, dropout: float, dtype: torch.dtype
) -> int:
    """Operations that a side really executes on a batch, padding included and what nobody reads left out.

    PyTorch counts them while small models run: operations are quadratic in the width and linear in the layers, so that
    four small models of the same head size give those of the full one exactly.
    """
    counts = {}
    for num_heads in (1, 2):
        for num_layers in (1, 2):
            small = Sizes(
                vocab_size=sizes.vocab_size,
                num_layers=num_layers,
                num_heads=num_heads,
                num_slots=sizes.num_slots,
                segment_length=sizes.segment_length,
            )
            side = make_side(name, small, reference_layers=reference_layers, dropout=dropout, seed=0)
            side.to(device=batch.tokens.device, dtype=dtype)
            prepare(side, step)
            aten = torch.ops.aten
            counter = FlopCounterMode(
                display=False,
                custom_mapping={
                    aten._scaled_dot_product_flash_attention_for_cpu: _count_cpu_attention,
                    aten._scaled_dot_product_flash_attention_for_cpu_backward: _count_cpu_attention_backward,
                },
            )
            with counter:
                run_step(side, batch, step)
            counts[num_heads, num_layers] = counter.get_total_flops()
    by_heads = {}
    for num_heads in (1, 2):
        one, two = counts[num_heads, 1], counts[num_heads, 2]
        by_heads[num_heads] = one + (sizes.num_layers - 1) * (two - one)
    # a h^2 + b h at h = 1 and 2
    quadratic = (by_heads[2] - 2 * by_heads[1]) / 2
    return round(quadratic * sizes.num_heads**2 + (by_heads[1] - quadratic) * sizes.num_heads)


def measure_matmul_rate(*, device: str, dtype: torch.dtype, sizes: Sizes) -> float:
    """Return the best rate of matrix products, in FLOP/s: of the layer's shape and of a large square one."""
    best = 0.0
    square = 8192 if device.startswith("cuda") else 2048
    for rows, inner, columns in ((4096, sizes.embed_dim, sizes.ffn_dim), (square, square, square)):
        left = torch.randn(rows, inner, device=device).to(dtype)
        right = torch.randn(columns, inner, device=device).to(dtype)
        for _ in range(8):
            wait_for(device)
            start = time.perf_counter()
            repeats = 20 if device.startswith("cuda") else 1
            for _ in range(repeats):
                left @ right.T
            wait_for(device)
            best = max(best, repeats * 2 * rows * inner * columns / (time.perf_counter() - start))
    return best


def read_process_memory(key: str) -> float:
    """Return VmRSS (now) or VmHWM (the most) of this process, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {key}")


def measure_memory(side: Side, batch: Batch, *, step: str, device: str) -> dict[str, float]:
    """Run two steps; return the peak memory in MB, and how much of it is above the loaded model (gradients are)."""
    prepare(side, step)
    gc.collect()
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        resident = torch.cuda.memory_allocated() / 2**20
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        resident = read_process_memory("VmRSS")
    for _ in range(2):
        side.zero_grad(set_to_none=True)
        run_step(side, batch, step)
    wait_for(device)
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else read_process_memory("VmHWM")
    return {"peak_mb": peak, "above_model_mb": peak - resident}
