"""The parts that train through fairseq, with the workflow's own flags: pre-training, fine-tuning, a resume."""

import json
import os
import resource
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.batches import random_stream
from benchmarks.gpu.part import Outcome, Settings, need
from benchmarks.results import device_name, nominal_rate
from benchmarks.sides import PRECISIONS
from benchmarks.work import measure_matmul_rate, needed_flops
from cross_thought.errors import UserError

UPDATES = 50
NEEDED = ("fairseq", "numpy", "yaml", "jsonschema")  # fairseq, and what reads a config


def _config(settings: Settings, **pretraining: object) -> dict[str, Any]:
    """Return the effective config of the paper's model, or of a tiny one."""
    from cross_thought.config import load_files

    config = load_files([Path(__file__).parents[2] / "config" / "paper.yaml"])
    sizes, model = settings.sizes, config["models"]["cross_thought"]
    model |= {
        "num_layers": sizes.num_layers,
        "embed_dim": sizes.embed_dim,
        "ffn_dim": sizes.ffn_dim,
        "num_heads": sizes.num_heads,
        "num_slots": sizes.num_slots,
        "segment_length": sizes.segment_length,
    }
    model["pretraining"] |= {
        "max_updates": UPDATES,
        "warmup_updates": 10,
        "update_freq": 1,
        "tokens_per_sample": settings.stream_tokens,
        "save_interval_updates": 10**6,
        **pretraining,
    }
    config["hardware"] |= {"device": settings.device, "threads": 1, "processes": 1, "nodes": 1}
    return config


def _precisions(settings: Settings) -> list[str]:
    """Return the precisions to train in: on a GPU, those that somebody trains in."""
    return [*(["float32"] if settings.device == "cpu" else []), *settings.half_precisions]


def _train(data: Path, flags: list[str], folder: Path, *, updates: int) -> list[dict[str, Any]]:
    """Train through fairseq without saving; return what its log says in between, a mapping for each report."""
    from cross_thought.training.launch import as_flags, loading_flags, train

    places = {"save_dir": folder, "no_save": True, "log_interval": max(1, updates // 10), **loading_flags(1)}
    log = folder / "train.log"
    train([str(data), *flags, *as_flags(places)], log=log, threads=1, total_updates=updates)
    return _reports(log, "train_inner")


def _reports(log: Path, tag: str) -> list[dict[str, Any]]:
    lines = (line.split(f" | {tag} | ", 1) for line in log.read_text(encoding="utf-8").splitlines())
    return [json.loads(parts[1]) for parts in lines if len(parts) == 2 and parts[1].startswith("{")]


@contextmanager
def _watched_memory(device: str) -> Iterator[list[float]]:
    """Hand out a list whose one element becomes the most memory in use, in MB: of the GPU, or of a process."""
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            free, total = torch.cuda.mem_get_info()
            peak[0] = max(peak[0], (total - free) / 2**20)

    watcher = threading.Thread(target=watch, daemon=True)
    if device == "cuda":
        watcher.start()
    yield peak
    done.set()
    if device == "cuda":
        watcher.join()
    else:
        peak[0] = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def pretraining(settings: Settings) -> Outcome:
    """Fifty updates on streams of 32,000 tokens at the published size."""
    need(*NEEDED)
    from benchmarks.gpu.data import write_corpus
    from workflow_scripts.pretrain import training_flags

    updates = 10 if settings.small else UPDATES
    config = _config(settings, max_updates=updates, warmup_updates=updates // 5)
    data = settings.folder / "corpus"
    write_corpus(data, num_words=settings.stream_tokens * updates, vocab_size=settings.sizes.vocab_size)
    outcome = Outcome(header=["precision", "loss, first", "last", "tokens/s", "MFU", "memory MB"])
    batch = random_stream(settings.stream_tokens, vocab_size=settings.sizes.vocab_size, seed=1)
    flops_a_word = needed_flops(batch, settings.sizes, step="train") / settings.stream_tokens
    for precision in _precisions(settings):
        hardware = config["hardware"] | {"precision": precision}
        flags = training_flags(config["models"]["cross_thought"], seed=1, hardware=hardware)
        with _watched_memory(settings.device) as peak:
            reports = _train(data, flags, settings.folder / precision, updates=updates)
        rate = nominal_rate(device_name(settings.device), precision) or measure_matmul_rate(
            device=settings.device, dtype=PRECISIONS[precision], sizes=settings.sizes
        )
        tokens_per_s = statistics.median(float(report["wps"]) for report in reports[1:])
        losses = [float(report["loss"]) for report in reports]
        mfu = tokens_per_s * flops_a_word / rate
        outcome.figures[precision] = {
            "losses_bits": losses, "tokens_per_s": tokens_per_s, "mfu": mfu, "memory_mb": peak[0]
        }  # fmt: skip
        outcome.rows.append(
            [
                precision,
                f"{losses[0]:.3f}",
                f"{losses[-1]:.3f}",
                f"{tokens_per_s:,.0f}",
                f"{mfu:.0%}",
                f"{peak[0]:,.0f}",
            ]
        )
    outcome.notes.append(f"{updates} updates of one stream of {settings.stream_tokens} random words; loss in bits")
    return outcome


def finetuning(settings: Settings) -> Outcome:
    """Fine-tuning on RTE, or on rows as RTE's, from random weights."""
    need(*NEEDED)
    from benchmarks.gpu.data import write_pairs, write_rte
    from cross_thought.data.finetuning import finetuning_settings
    from cross_thought.data.tasks import tasks_of
    from workflow_scripts.finetune import training_flags

    config = _config(settings)
    data = settings.folder / "rte"
    has_rte = settings.data is not None and (settings.data / "glue" / "RTE").is_dir()
    if has_rte and not settings.small:
        need("tokenizers")
        write_rte(data, settings.data)
    else:
        rows, words = (64, 8) if settings.small else (2490, 34)
        write_pairs(data, num_rows=rows, words=words, vocab_size=settings.sizes.vocab_size)
    task = tasks_of({"RTE": {}})["RTE"]
    updates = 8 if settings.small else 200
    schedule = {"num_updates": updates, "warmup_updates": updates // 10, "num_epochs": 2}
    outcome = Outcome(header=["precision", "updates/s", "sentence pairs/s", "dev accuracy", "memory MB"])
    for precision in _precisions(settings):
        flags = training_flags(
            task,
            model=config["models"]["cross_thought"],
            settings=finetuning_settings(task, config["finetuning"], {}) | schedule,
            seed=1,
            hardware=config["hardware"] | {"precision": precision},
        )
        folder = settings.folder / precision
        with _watched_memory(settings.device) as peak:
            reports = _train(data, [*flags, "--max-update", str(updates)], folder, updates=updates)
        valid = _reports(folder / "train.log", "valid")[-1]
        figures = {
            "updates_per_s": statistics.median(float(report["ups"]) for report in reports[1:]),
            "pairs_per_update": statistics.mean(float(report["bsz"]) for report in reports),
            "accuracy": float(valid["valid_accuracy"]),
            "memory_mb": peak[0],
        }
        outcome.figures[precision] = figures
        outcome.rows.append(
            [
                precision,
                f"{figures['updates_per_s']:.1f}",
                f"{figures['updates_per_s'] * figures['pairs_per_update']:.0f}",
                f"{figures['accuracy']:.1f}",
                f"{peak[0]:,.0f}",
            ]
        )
    outcome.notes.append("RTE itself" if has_rte and not settings.small else "rows as RTE's, of random words")
    return outcome


def resume(settings: Settings) -> Outcome:
    """A pre-training that SIGTERM stops goes on: its weights beside those of one that nothing stopped."""
    need(*NEEDED)
    from benchmarks.gpu.data import write_corpus
    from cross_thought.training.checkpoints import load_checkpoint
    from workflow_scripts.pretrain import pretrain

    updates = 40 if settings.small else 120
    config = _config(
        settings, max_updates=updates, warmup_updates=4, tokens_per_sample=min(2048, settings.stream_tokens)
    )
    model = config["models"]["cross_thought"] | {"num_layers": 1 if settings.small else 2}
    data = settings.folder / "corpus"
    write_corpus(data, num_words=200 * min(2048, settings.stream_tokens), vocab_size=settings.sizes.vocab_size)
    precision = _precisions(settings)[0]

    def run(name: str) -> Path:
        folder = settings.folder / name
        pretrain(
            data,
            model=model,
            seed=1,
            hardware=config["hardware"] | {"precision": precision},
            checkpoint=folder / "model.pt",
            history=folder / "history.tsv",
            command_record=folder / "command.json",
        )
        return folder / "model.pt"

    whole = run("whole")
    stopper = threading.Thread(target=_stop_after, args=(settings.folder / "stopped", updates // 4), daemon=True)
    stopper.start()
    try:
        run("stopped")
    except UserError as error:
        stopped = str(error)
    else:
        raise RuntimeError("training ended before SIGTERM reached it")
    if "has saved its state" not in stopped:
        raise RuntimeError(stopped)
    resumed = run("stopped")
    weights, others = (load_checkpoint(path)["model"] for path in (whole, resumed))
    difference = max(float((weights[name].float() - others[name].float()).abs().max()) for name in weights)
    if settings.device == "cpu" and difference:
        raise RuntimeError(f"after the resume, a weight differs by {difference}")
    figures = {"precision": precision, "updates": updates, "largest_difference": difference}
    row = [precision, str(updates), "none" if difference == 0 else f"{difference:.1e}"]
    return Outcome(header=["precision", "updates", "largest difference of a weight"], rows=[row], figures=figures)


def _stop_after(folder: Path, updates: int) -> None:
    """Send this process SIGTERM, as a scheduler would, once a training's log reports so many updates."""
    while True:
        time.sleep(0.02)
        logs = list(folder.glob("runs/*/train.log"))
        reports = _reports(logs[0], "train_inner") if logs else []
        if reports and int(reports[-1]["num_updates"]) >= updates:
            os.kill(os.getpid(), signal.SIGTERM)
            return
