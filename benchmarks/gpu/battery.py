"""The battery's parts, each in a process of its own, and the report of what they have found."""

import argparse
import json
import multiprocessing
import os
import platform
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.gpu.fairseq_suite import fairseq_tests
from benchmarks.gpu.model_parts import embedding, encoder, losses, step
from benchmarks.gpu.part import Settings, Skip
from benchmarks.gpu.processes import processes
from benchmarks.gpu.training_parts import finetuning, pretraining, resume
from benchmarks.results import device_name, markdown

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 480
# in the order of their worth, with the seconds that each may take
PARTS = {
    encoder: 90,
    pretraining: 100,
    finetuning: 60,
    losses: 30,
    step: 30,
    resume: 90,
    processes: 30,
    embedding: 50,
    fairseq_tests: 30,
}
NAMES = {part.__name__.replace("_", "-"): part for part in PARTS}
_SMALL_PATIENCE = 4  # a busy CPU takes its time
_SKIPPED, _FAILED = 3, 1


def main(description: str) -> None:
    """Run the parts that the command line names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for battery.json, battery.md and logs")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the code out")
    parser.add_argument("--data", type=Path, help="folder with glue/{RTE,MRPC,SST-2} and gpt2_bpe/")
    parser.add_argument("--fairseq-tests", type=Path, help="the tests/ folder of fairseq 0.10.0's sources")
    parser.add_argument("--parts", nargs="+", choices=NAMES, default=list(NAMES), metavar="PART", help="(default: all)")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU here; --device cpu --small tries the same code out")
    for folder in (options.data, options.fairseq_tests):
        if folder is not None and not folder.is_dir():
            parser.error(f"{folder} is no folder; correct the path")
    options.out.mkdir(parents=True, exist_ok=True)
    run_parts(options)


def be_part(name: str, settings: Settings, result: Path, log: Path) -> None:
    """Be the process of one part; leave its figures as JSON, and exit with a status that tells how it went."""
    os.setsid()  # so that all it starts can be ended with it
    os.chdir(REPOSITORY)
    with log.open("w", encoding="utf-8") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    try:
        outcome = NAMES[name](settings)
    except Skip as reason:
        print(f"skipped: {reason}", file=sys.stderr)
        sys.exit(_SKIPPED)
    result.write_text(json.dumps(asdict(outcome)) + "\n", encoding="utf-8")


def run_parts(options: argparse.Namespace) -> None:
    """Run parts one after the other, and write what they have found."""
    started = time.monotonic()
    found = {}
    for name in options.parts:
        left = LIMIT_S - (time.monotonic() - started)
        print(f"{name} ...", end=" ", flush=True)
        part_started = time.monotonic()
        limit_s = PARTS[NAMES[name]] * (_SMALL_PATIENCE if options.small else 1)
        state = run_part(name, options, limit_s=min(limit_s, left))
        found[name] = state | {"seconds": round(time.monotonic() - part_started, 1)}
        print(f"{state['state']} ({found[name]['seconds']} s)", flush=True)
        write_report(options, found)
    print(f"{time.monotonic() - started:.0f} s in all: {options.out / 'battery.md'}")
    if any(state["state"].startswith("failed") for state in found.values()):
        sys.exit(_FAILED)


def run_part(name: str, options: argparse.Namespace, *, limit_s: float) -> dict:
    """Run a part in a process of its own; return what became of it and, where it went well, its outcome.

    The processes are forks of one that has imported torch and has not touched the GPU.
    """
    if limit_s <= 0:
        return {"state": f"left out: the {LIMIT_S} s were used up"}
    out = options.out.resolve()
    result, log = out / f"{name}.json", out / f"{name}.log"
    result.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings(
            device=options.device,
            small=options.small,
            folder=Path(scratch),
            data=options.data and options.data.resolve(),
            fairseq_tests=options.fairseq_tests and options.fairseq_tests.resolve(),
        )
        child = context.Process(target=be_part, args=(name, settings, result, log))
        child.start()
        child.join(limit_s)
        status = child.exitcode
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.kill()
        child.join()
    if status == 0:
        return {"state": "done", "outcome": json.loads(result.read_text(encoding="utf-8"))}
    said = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    last = next((line for line in reversed(said) if line.strip()), "no output")
    if status == _SKIPPED:
        return {"state": last}
    return {"state": f"failed: {f'not done in {limit_s:.0f} s' if status is None else last} (see {log})"}


def write_report(options: argparse.Namespace, found: dict[str, dict]) -> None:
    """Write battery.json and battery.md, anew after each part: what was measured survives whatever comes after."""
    machine = {
        "device": device_name(options.device),
        "gpus": torch.cuda.device_count() if options.device == "cuda" else 0,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "small": options.small,
    }
    (options.out / "battery.json").write_text(
        json.dumps({"machine": machine, "parts": found}, indent=2) + "\n", encoding="utf-8"
    )
    lines = [f"{machine['device']}, torch {machine['torch']}{', tiny sizes: no figures of worth' * options.small}.", ""]
    for name, part in found.items():
        lines += [f"**{name}**: {(NAMES[name].__doc__ or '').splitlines()[0]}", ""]
        if "outcome" not in part:
            lines += [f"{part['state']}.", ""]
            continue
        outcome = part["outcome"]
        lines += [
            markdown(outcome["header"], outcome["rows"]),
            "",
            "; ".join([*outcome["notes"], f"{part['seconds']} s"]) + ".",
            "",
        ]
    (options.out / "battery.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
