"""Time the encoder beside a plain reference step on the same real batches, interleaved in one run.

    python -m benchmarks.encoder --data ../shared/data --threads 2 --pairs 5 --json encoder.json

The reference follows the published computation literally on fairseq's stock layers (PyTorch's own where fairseq is not
installed): see `tests/parity/stock.py`. README.md beside this file says how to read the numbers.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # started by its path, Python looks beside it

from benchmarks.batches import CASES, TASK_FILES, Batch, Bpe, draw_streams, draw_task_batches, read_task  # noqa: E402
from benchmarks.results import Result, device_name, format_table, nominal_rate  # noqa: E402
from benchmarks.sides import (  # noqa: E402
    PRECISIONS,
    Side,
    Sizes,
    make_side,
    pick_reference_layers,
)
from benchmarks.timing import WARMUP, published_dropout, time_sides  # noqa: E402
from benchmarks.work import measure_matmul_rate, measure_memory  # noqa: E402
from cross_thought.errors import UserError  # noqa: E402
from cross_thought.files import check_output, write_json  # noqa: E402
from cross_thought.training.devices import usable_device  # noqa: E402


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


def run_case(case: str, bpe: Bpe, options: argparse.Namespace, report: Callable[[str], None]) -> list[Result]:
    """Time all steps of one case, and measure their memory."""
    results = time_sides(
        case,
        draw_batches(case, bpe, options),
        Sizes(vocab_size=bpe.vocab_size, num_layers=options.layers),
        steps=options.steps,
        dtype=PRECISIONS[options.precision],
        device=options.device,
        reference_layers=options.reference,
        warmup=options.warmup,
        seed=options.seed,
        report=report,
    )
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
    return {
        "device": device_name(options.device),
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
    if options.warmup is None:
        options.warmup = WARMUP["cuda" if on_gpu else "cpu"]
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
    stated = nominal_rate(machine["device"], options.precision)
    nominal = options.peak_tflops * 1e12 if options.peak_tflops is not None else stated
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
