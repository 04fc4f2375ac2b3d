"""Time the encoder beside a plain reference step on the same real batches, interleaved in one run.

    python benchmarks/encoder.py --data ../shared/data --threads 2 --pairs 5 --json encoder.json

The reference follows the published computation literally on fairseq's stock layers (PyTorch's own where fairseq is not
installed): see `tests/parity/stock.py`. README.md beside this file says how to read the numbers.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "parity")]

from stock import StockEncoder  # noqa: E402

from cross_thought.encoder import CrossThoughtEncoder, EncoderConfig  # noqa: E402
from cross_thought.errors import UserError  # noqa: E402
from cross_thought.files import check_output  # noqa: E402
from cross_thought.inference.loading import build_tokenizer  # noqa: E402
from cross_thought.training.devices import usable_device  # noqa: E402

BOS, PAD, EOS, FIRST_SYMBOL = 0, 1, 2, 4
HEAD_DIM = 64
PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# Dense matrix products a second that makers state, in TFLOP/s for 16-bit types.
NOMINAL_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}


# Batches.


@dataclass(frozen=True)
class Batch:
    """One batch: of a task (`target` holds a class a row) or one stream (`target` holds the masked words).

    Attributes:
        tokens: shape (rows, L).
        target: shape (rows,) for a task, (num_scored,) for a stream.
        scored: for a stream the positions of the target, shape (1, L).
        start_position: for a stream, where its words start.
    """

    tokens: Tensor
    target: Tensor
    scored: Tensor | None = None
    start_position: int = 1

    def to(self, device: str) -> "Batch":
        """Copy the batch to a device."""
        scored = None if self.scored is None else self.scored.to(device)
        return Batch(self.tokens.to(device), self.target.to(device), scored, self.start_position)

    @property
    def num_tokens(self) -> int:
        """Tokens that are not padding."""
        return int((self.tokens != PAD).sum())


class Bpe:
    """Text to the ids of fairseq's dictionary, by GPT-2's byte-level BPE.

    Args:
        folder: holds encoder.json, vocab.bpe and dict.txt.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = build_tokenizer(folder)
        self.mask_id = self._tokenizer.token_to_id("<mask>")
        self.vocab_size = self.mask_id + 1

    def encode(self, text: str) -> list[int]:
        """Return the ids of one line, with `</s>` at the end."""
        return self._tokenizer.encode(text.strip()).ids[1:]


@dataclass(frozen=True, kw_only=True)
class TaskFile:
    """Where a task's training sentences stand: file, 0-based columns, header."""

    path: str
    columns: tuple[int, ...]


TASK_FILES = {
    "rte": TaskFile(path="glue/RTE/train.tsv", columns=(1, 2)),
    "mrpc": TaskFile(path="glue/MRPC/train.tsv", columns=(3, 4)),
    "sst-2": TaskFile(path="glue/SST-2/train.tsv", columns=(0,)),
}
CASES = (*TASK_FILES, "stream")


def read_task(data: Path, task: TaskFile) -> list[list[str]]:
    """Read the sentences of each training row."""
    rows = (data / task.path).read_text(encoding="utf-8-sig").rstrip("\n").split("\n")[1:]
    return [[row.split("\t")[column] for column in task.columns] for row in rows]


def draw_task_batches(
    rows: list[list[str]], bpe: Bpe, *, num_batches: int, max_rows: int, max_tokens: int, seed: int
) -> Iterator[Batch]:
    """Draw batches as fairseq's `sentence_prediction` does: shuffled rows, filled up to 32 rows or 4400 padded tokens.

    A batch is full when one row more would make rows times the longest row exceed `max_tokens`.
    """
    generator = np.random.RandomState(seed)
    batch: list[list[int]] = []
    drawn = 0
    for index in np.argsort(generator.permutation(len(rows))):  # the permutation is a sort key there
        row = [token for sentence in rows[index] for token in [BOS, *bpe.encode(sentence)]]
        longest = max(map(len, [*batch, row]))
        if batch and (len(batch) == max_rows or (len(batch) + 1) * longest > max_tokens):
            tokens = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in batch], True, PAD)
            yield Batch(tokens, torch.from_numpy(generator.randint(0, 2, len(batch))))
            batch = []
            drawn += 1
            if drawn == num_batches:
                return
        batch.append(row)


def draw_streams(
    text: Path, bpe: Bpe, *, num_streams: int, stream_tokens: int, last_start: int, seed: int
) -> Iterator[Batch]:
    """Draw token streams as `masked_lm` with `--sample-break-mode none` does, masked 15 % (80/10/10)."""
    generator = np.random.default_rng(seed)
    words: list[int] = []
    needed = num_streams * (stream_tokens - 1)
    for line in text.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            words += bpe.encode(line)
        if len(words) >= needed:
            break
    words = (words * (needed // len(words) + 1))[:needed]
    for stream in np.array(words).reshape(num_streams, -1):
        original = np.concatenate([[BOS], stream])
        scored = generator.random(len(original)) < 0.15
        scored[0] = False
        tokens = original.copy()
        kind = generator.random(len(tokens))
        tokens[scored & (kind < 0.8)] = bpe.mask_id
        random_word = scored & (kind >= 0.9)
        tokens[random_word] = generator.integers(FIRST_SYMBOL, bpe.mask_id, int(random_word.sum()))
        yield Batch(
            torch.from_numpy(tokens)[None],
            torch.from_numpy(original[scored]),
            torch.from_numpy(scored)[None],
            int(generator.integers(1, last_start + 1)),
        )


# The two sides.


class Heads(nn.Module):
    """RoBERTa's LM head and classification head, the same on both sides."""

    def __init__(self, embed_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.lm_dense = nn.Linear(embed_dim, embed_dim)
        self.lm_layer_norm = nn.LayerNorm(embed_dim)
        self.lm_bias = nn.Parameter(torch.zeros(vocab_size))
        self.dense = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, 2)

    def score_words(self, states: Tensor, embedding: Tensor) -> Tensor:
        """Score the dictionary at each state, shape (num_scored, V)."""
        return F.linear(self.lm_layer_norm(F.gelu(self.lm_dense(states))), embedding, self.lm_bias)

    def score_classes(self, slots: Tensor) -> Tensor:
        """Score the classes on slot 0 of (batch, k, d), shape (batch, 2)."""
        return self.out_proj(torch.tanh(self.dense(slots[:, 0])))


class Side(nn.Module):
    """An encoder with its heads.

    Args:
        encoder: ours, or the reference.
    """

    def __init__(self, encoder: CrossThoughtEncoder | StockEncoder, *, embed_dim: int, vocab_size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = Heads(embed_dim, vocab_size)

    def states(self, batch: Batch) -> Tensor:
        """Return what the head reads: the slots (rows, k, d), or the states of the masked words (num_scored, d)."""
        if batch.scored is None:
            return self.encoder.encode_sentences(batch.tokens)
        start = batch.start_position
        if isinstance(self.encoder, CrossThoughtEncoder):
            return self.encoder.encode_streams(batch.tokens, start_position=start, scored=batch.scored)
        return self.encoder.encode_streams(batch.tokens, start_position=start)[batch.scored]

    def loss(self, batch: Batch) -> Tensor:
        """Return the sum of the losses over rows or masked words."""
        states = self.states(batch)
        if batch.scored is None:
            scores = self.heads.score_classes(states)
        else:
            scores = self.heads.score_words(states, self.encoder.embed_tokens.weight)
        return F.cross_entropy(scores.float(), batch.target, reduction="sum")


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of the model that is timed; the defaults are the published ones."""

    vocab_size: int = 50265
    num_layers: int = 12
    num_heads: int = 12
    num_slots: int = 5
    segment_length: int = 64

    @property
    def embed_dim(self) -> int:
        return self.num_heads * HEAD_DIM

    @property
    def ffn_dim(self) -> int:
        return 4 * self.embed_dim


def make_side(name: str, sizes: Sizes, *, reference_layers: str, dropout: float, seed: int) -> Side:
    """Build "ours" or "reference"; the same seed gives both the same weights."""
    torch.manual_seed(seed)
    shared = {
        "vocab_size": sizes.vocab_size,
        "num_layers": sizes.num_layers,
        "embed_dim": sizes.embed_dim,
        "ffn_dim": sizes.ffn_dim,
        "num_heads": sizes.num_heads,
        "num_slots": sizes.num_slots,
        "segment_length": sizes.segment_length,
        "dropout": dropout,
        "attention_dropout": dropout,
    }
    encoder: CrossThoughtEncoder | StockEncoder = CrossThoughtEncoder(EncoderConfig(**shared))
    if name == "reference":
        stock = StockEncoder(layers=reference_layers, **shared)
        stock.load_published(encoder.state_dict())
        encoder = stock
    torch.manual_seed(seed)
    return Side(encoder, embed_dim=sizes.embed_dim, vocab_size=sizes.vocab_size)


def pick_reference_layers(wanted: str) -> str:
    """Return "fairseq" where it can be imported, else "torch"; `wanted` other than "auto" is kept."""
    if wanted != "auto":
        return wanted
    try:
        from cross_thought.fairseq import bridge

        bridge.install()
    except ImportError:
        return "torch"
    return "fairseq"


def run_step(side: Side, batch: Batch, step: str) -> Tensor:
    """Run one step; "train" is forward and backward, "infer" forward without gradients. Returns the loss."""
    if step == "train":
        loss = side.loss(batch)
        loss.backward()
        return loss.detach()
    with torch.no_grad():
        return side.loss(batch)


def prepare(side: Side, step: str) -> None:
    """Put the side into the step's mode, without gradients from before."""
    side.train(step == "train")
    side.zero_grad(set_to_none=True)


def wait_for(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def time_step(side: Side, batch: Batch, *, step: str, device: str) -> tuple[float, float]:
    """Return the seconds that one step takes, by the clock and of all threads' processor time."""
    prepare(side, step)
    wait_for(device)
    start, cpu_start = time.perf_counter(), time.process_time()
    run_step(side, batch, step)
    wait_for(device)
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    prepare(side, step)  # gives the gradients' memory back before the other side runs
    return seconds, cpu_seconds


# Work: floating-point operations, the machine's rate, memory.


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


# The run.


@dataclass(kw_only=True)
class Result:
    """What was measured for one case and step. Times in seconds, one a pair; `cpu_s` is processor time."""

    case: str
    step: str
    batch_rows: list[int]
    num_tokens: list[int]
    num_padded_tokens: list[int]
    reference_s: list[float]
    ours_s: list[float]
    reference_cpu_s: list[float]
    ours_cpu_s: list[float]
    reference_flops: list[int]
    ours_flops: list[int]
    needed_flops: list[int]
    states_difference: float
    memory: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def ratios(self) -> list[float]:
        """Reference over ours, pair by pair."""
        return [reference / ours for reference, ours in zip(self.reference_s, self.ours_s, strict=True)]

    def summary(self, *, matmul_rate: float) -> dict[str, float]:
        """Medians and ratios; rates are sums over sums."""
        summary = {
            "ratio_median": statistics.median(self.ratios),
            "ratio_lowest": min(self.ratios),
            "ratio_highest": max(self.ratios),
            "ratio_of_sums": sum(self.reference_s) / sum(self.ours_s),
            "ratio_of_cpu_sums": sum(self.reference_cpu_s) / sum(self.ours_cpu_s),
        }
        for side, seconds, flops in (
            ("reference", self.reference_s, self.reference_flops),
            ("ours", self.ours_s, self.ours_flops),
        ):
            summary |= {
                f"{side}_median_s": statistics.median(seconds),
                f"{side}_tokens_per_s": sum(self.num_tokens) / sum(seconds),
                f"{side}_flop_per_s": sum(flops) / sum(seconds),
                f"{side}_share_of_matmul_rate": sum(flops) / sum(seconds) / matmul_rate,
                f"{side}_mfu_of_matmul_rate": sum(self.needed_flops) / sum(seconds) / matmul_rate,
            }
        return summary


def draw_batches(case: str, bpe: Bpe, options: argparse.Namespace) -> list[Batch]:
    """Draw the batches of a case, one for each pair."""
    if case == "stream":
        sizes = Sizes()
        batches = draw_streams(
            options.text,
            bpe,
            num_streams=options.pairs,
            stream_tokens=options.stream_tokens,
            last_start=512 - sizes.num_slots - sizes.segment_length - 1,
            seed=options.seed,
        )
    else:
        batches = draw_task_batches(
            read_task(options.data, TASK_FILES[case]),
            bpe,
            num_batches=options.pairs,
            max_rows=options.max_rows,
            max_tokens=options.max_tokens,
            seed=options.seed,
        )
    return [batch.to(options.device) for batch in batches]


def published_dropout(case: str) -> float:
    """Dropout of the published commands: 0.1 in pre-training, none in fine-tuning."""
    return 0.1 if case == "stream" else 0.0


def make_timed_side(name: str, case: str, sizes: Sizes, options: argparse.Namespace) -> Side:
    """Build a side at full size, on the device and in the precision asked for."""
    side = make_side(
        name,
        sizes,
        reference_layers=options.reference,
        dropout=published_dropout(case),
        seed=options.seed,
    )
    return side.to(device=options.device, dtype=PRECISIONS[options.precision])


def compare_states(reference: Side, ours: Side, batch: Batch) -> float:
    """Return the relative difference (Euclidean) of the two sides' states without dropout: they must do the same."""
    states = []
    for side in (reference, ours):
        prepare(side, "infer")
        with torch.no_grad():
            states.append(side.states(batch).float())
    return float((states[1] - states[0]).norm() / states[0].norm())


def run_case(case: str, bpe: Bpe, options: argparse.Namespace, report: Callable[[str], None]) -> list[Result]:
    """Time all steps of one case.

    Raises:
        SystemExit: if the two sides do not compute the same in float32.
    """
    sizes = Sizes(vocab_size=bpe.vocab_size, num_layers=options.layers)
    batches = draw_batches(case, bpe, options)
    reference, ours = (make_timed_side(name, case, sizes, options) for name in ("reference", "ours"))
    difference = compare_states(reference, ours, min(batches, key=lambda batch: batch.tokens.numel()))
    report(f"{case}: relative difference of the states {difference:.1e}")
    if options.precision == "float32" and difference > 1e-4:
        sys.exit(f"error: {case}: ours differs by {difference:.1e} from the reference: not the same computation")
    results = []
    for step in options.steps:
        result = Result(
            case=case,
            step=step,
            batch_rows=[len(batch.tokens) for batch in batches],
            num_tokens=[batch.num_tokens for batch in batches],
            num_padded_tokens=[batch.tokens.numel() for batch in batches],
            reference_s=[],
            ours_s=[],
            reference_cpu_s=[],
            ours_cpu_s=[],
            reference_flops=[],
            ours_flops=[],
            needed_flops=[needed_flops(batch, sizes, step=step) for batch in batches],
            states_difference=difference,
        )
        counting = {
            "step": step,
            "reference_layers": options.reference,
            "dropout": published_dropout(case),
            "dtype": PRECISIONS[options.precision],
        }
        for side in (reference, ours):  # warm up
            for _ in range(options.warmup):
                time_step(side, batches[0], step=step, device=options.device)
        for number, batch in enumerate(batches):
            sides = [
                (reference, result.reference_s, result.reference_cpu_s),
                (ours, result.ours_s, result.ours_cpu_s),
            ]
            for side, clock_times, cpu_times in sides if number % 2 == 0 else reversed(sides):
                seconds, cpu_seconds = time_step(side, batch, step=step, device=options.device)
                clock_times.append(seconds)
                cpu_times.append(cpu_seconds)
            result.reference_flops.append(executed_flops("reference", batch, sizes, **counting))
            result.ours_flops.append(executed_flops("ours", batch, sizes, **counting))
            report(
                f"{case} {step} {number + 1}/{len(batches)}: reference {result.reference_s[-1]:.3f} s, "
                f"ours {result.ours_s[-1]:.3f} s, ratio {result.ratios[-1]:.2f} "
                f"(of processor time {result.reference_cpu_s[-1] / result.ours_cpu_s[-1]:.2f})"
            )
        results.append(result)
    del reference, ours
    if options.memory:
        for result in results:
            result.memory = {side: ask_memory(side, case, result.step, options) for side in ("reference", "ours")}
            report(f"{case} {result.step}: peak memory {result.memory}")
    return results


def ask_memory(side: str, case: str, step: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one side's memory in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", side, "--cases", case, "--steps", step]
    for name in (
        "data",
        "bpe",
        "text",
        "device",
        "threads",
        "precision",
        "reference",
        "pairs",
        "layers",
        "stream_tokens",
        "max_rows",
        "max_tokens",
        "seed",
    ):
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    finished = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(finished.stdout)


def answer_memory(options: argparse.Namespace) -> None:
    """Print the memory that one side needs for the largest of the batches, as JSON."""
    bpe = Bpe(options.bpe)
    (case,), (step,) = options.cases, options.steps
    batch = max(draw_batches(case, bpe, options), key=lambda batch: batch.tokens.numel())
    sizes = Sizes(vocab_size=bpe.vocab_size, num_layers=options.layers)
    side = make_timed_side(options.memory_of, case, sizes, options)
    json.dump(measure_memory(side, batch, step=step, device=options.device), sys.stdout)


def describe_machine(options: argparse.Namespace) -> dict[str, object]:
    """Name what the numbers depend on."""
    if options.device.startswith("cuda"):
        device = torch.cuda.get_device_name()
    else:
        device = platform.processor() or platform.machine()
        for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
            if line.startswith("model name"):
                device = line.partition(":")[2].strip()
                break
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "precision": options.precision,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "reference_layers": options.reference,
        "layers": options.layers,
        "pairs": options.pairs,
        "stream_tokens": options.stream_tokens,
        "max_rows": options.max_rows,
        "max_tokens": options.max_tokens,
        "seed": options.seed,
    }


def nominal_rate(machine: dict[str, object], options: argparse.Namespace) -> float | None:
    """Return the maker's rate of matrix products in FLOP/s: as given, or for a known GPU in a 16-bit type."""
    if options.peak_tflops is not None:
        return options.peak_tflops * 1e12
    if options.precision != "float32":
        for name, tflops in NOMINAL_TFLOPS.items():
            if name in str(machine["device"]):
                return tflops * 1e12
    return None


def format_table(results: list[Result], *, matmul_rate: float, nominal: float | None) -> str:
    """Lay the medians out for reading; in pairs the reference stands first."""
    header = [
        "case",
        "step",
        "reference s",
        "ours s",
        "ratio (range)",
        "tokens/s",
        "GFLOP/s",
        "of matmul rate",
        "MFU",
        "memory MB",
    ]
    rows = [header]
    for result in results:
        summary = result.summary(matmul_rate=matmul_rate)

        def pair(key: str, pattern: str, scale: float = 1.0, summary: dict[str, float] = summary) -> str:
            return " / ".join(pattern.format(summary[f"{side}_{key}"] * scale) for side in ("reference", "ours"))

        memory = [result.memory[side]["above_model_mb"] for side in ("reference", "ours")] if result.memory else []
        rows.append(
            [
                result.case,
                result.step,
                f"{summary['reference_median_s']:.3f}",
                f"{summary['ours_median_s']:.3f}",
                f"{summary['ratio_median']:.2f} ({summary['ratio_lowest']:.2f}-{summary['ratio_highest']:.2f})",
                pair("tokens_per_s", "{:.0f}"),
                pair("flop_per_s", "{:.0f}", 1e-9),
                pair("share_of_matmul_rate", "{:.0%}"),
                pair("mfu_of_matmul_rate", "{:.0%}", matmul_rate / (nominal or matmul_rate)),
                " / ".join(f"{peak:.0f}" for peak in memory) or "n/a",
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def write_json(path: Path, content: object) -> None:
    """Write JSON whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line and fill in what depends on other options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default_data = Path(os.environ.get("CROSS_THOUGHT_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default_data, help="folder with glue/, gpt2_bpe/ and wikitext/")
    parser.add_argument("--bpe", type=Path, help="folder of encoder.json, vocab.bpe, dict.txt (DATA/gpt2_bpe)")
    parser.add_argument("--text", type=Path, help="text of the stream (DATA/wikitext/wiki.valid.tokens)")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--steps", nargs="+", choices=["train", "infer"], default=["train", "infer"])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--pairs", type=int, default=5, help="batches of each case; each side runs each of them")
    parser.add_argument("--warmup", type=int, help="untimed steps of each side (1 on a CPU, 3 on a GPU)")
    parser.add_argument("--layers", type=int, default=12, help="encoder layers; fewer only to try the script out")
    parser.add_argument(
        "--stream-tokens", type=int, help="tokens of a stream (4096 on a CPU, the published 32000 else)"
    )
    parser.add_argument("--max-rows", type=int, default=32, help="rows of a task's batch")
    parser.add_argument("--max-tokens", type=int, default=4400, help="padded tokens of a task's batch")
    parser.add_argument(
        "--reference", choices=["auto", "fairseq", "torch"], default="auto", help="layers it is made of"
    )
    parser.add_argument("--peak-tflops", type=float, help="the maker's figure, for MFU")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave the memory runs out")
    parser.add_argument("--memory-of", choices=["reference", "ours"], help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write all numbers here")
    options = parser.parse_args(arguments)
    on_gpu = options.device.startswith("cuda")
    options.bpe = options.bpe or options.data / "gpt2_bpe"
    options.text = options.text or options.data / "wikitext" / "wiki.valid.tokens"
    options.warmup = (3 if on_gpu else 1) if options.warmup is None else options.warmup
    options.stream_tokens = options.stream_tokens or (32000 if on_gpu else 4096)
    options.reference = pick_reference_layers(options.reference)
    for path in (options.bpe / "dict.txt", options.text):
        if not path.exists():
            parser.error(f"{path} does not exist: name your folder with --data (or the file with --bpe, --text)")
    try:
        usable_device(options.device)
        if options.json:
            check_output(options.json)
    except UserError as error:
        parser.error(str(error))
    return options


def main() -> None:
    """Run the benchmark, print the table, write the JSON."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        answer_memory(options)
        return
    started = time.perf_counter()

    def report(message: str) -> None:
        print(f"[{time.perf_counter() - started:6.0f} s] {message}", file=sys.stderr, flush=True)

    sizes = Sizes()
    machine = describe_machine(options)
    matmul_rate = measure_matmul_rate(device=options.device, dtype=PRECISIONS[options.precision], sizes=sizes)
    nominal = nominal_rate(machine, options)
    report(f"matrix products: {matmul_rate / 1e9:.0f} GFLOP/s on {machine['device']}, {machine['threads']} threads")
    bpe = Bpe(options.bpe)
    results = [result for case in options.cases for result in run_case(case, bpe, options, report)]
    print(format_table(results, matmul_rate=matmul_rate, nominal=nominal))
    print(f"MFU against {(nominal or matmul_rate) / 1e9:.0f} GFLOP/s ({'nominal' if nominal else 'measured'}).")
    if options.json:
        rates = {"matmul_flop_per_s": matmul_rate, "nominal_flop_per_s": nominal}
        measured = [asdict(result) | {"summary": result.summary(matmul_rate=matmul_rate)} for result in results]
        write_json(options.json, {"machine": machine | rates, "results": measured})


if __name__ == "__main__":
    main()
