"""Time whole updates of fairseq's training beside the bare step, in float32 and bfloat16, interleaved in one run.

    .venv/bin/python -m benchmarks.training --data FOLDER --cases pretrain rte --updates 5

An update is what `fairseq train` does for one: the batch out of the loader, masks drawn, forward, backward, gradients
normalised, their norm, the optimizer, the logging. The bare step is forward, backward and PyTorch's fused AdamW on the
same model and the same batch. README.md beside this file says how to read the numbers.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from cross_thought.config import REPOSITORY, load_config
from cross_thought.data.binarize import binarize_corpus, binarize_task
from cross_thought.data.bpe import encode_file, encode_task
from cross_thought.data.finetuning import finetuning_settings
from cross_thought.data.glue import prepare_task
from cross_thought.data.raw_files import raw_files
from cross_thought.data.tasks import TASKS
from cross_thought.fairseq import __main__ as fairseq_command  # noqa: F401  (the bridge, and all that is registered)
from workflow_scripts import finetune, pretrain

sys.path.append(str(REPOSITORY / "tests" / "parity"))

from fairseq import metrics, options, tasks
from fairseq.data.iterators import GroupedIterator
from fairseq.trainer import Trainer
from stock import StockEncoder

CASES = ("pretrain", "rte")
SIDES = (
    "stock float32",
    "ours float32",
    "ours float32 fused_adam",
    "stock bfloat16 adam",
    "stock bfloat16",
    "ours bfloat16",
)
OVERLAY = REPOSITORY / "config" / "paper.yaml"


class Stock(StockEncoder):
    """The published computation on fairseq's stock layers, in the place of our encoder."""

    def encode_streams(self, tokens: torch.Tensor, *, start_position: int, scored: torch.Tensor | None = None) -> Any:
        states = super().encode_streams(tokens, start_position=start_position)
        return states if scored is None else states[scored]


def binarize(case: str, data: Path, folder: Path) -> Path:
    """Binarize RTE or WikiText as the workflow does."""
    vocabulary, output = data / "gpt2_bpe", folder / "binarized"
    if case == "pretrain":
        text = data / "wikitext" / "wiki.valid.tokens"
        for split in ("train", "valid"):
            encode_file(text, folder / split, vocabulary=vocabulary, workers=1)
        binarize_corpus({split: folder / split for split in ("train", "valid")}, vocabulary, output)
        return output
    task = TASKS["RTE"]
    prepare_task(task, raw_files(task, data_dir=str(data)), folder / "prepared")
    encode_task(folder / "prepared", folder / "encoded", vocabulary=vocabulary)
    binarize_task(
        task,
        prepared=folder / "prepared",
        encoded=folder / "encoded",
        vocabulary=vocabulary,
        output_dir=output,
        max_sentence_tokens=509,
    )
    return output


def training_flags(case: str, precision: str, asked: argparse.Namespace) -> list[str]:
    """Return the flags that the workflow passes to fairseq at published sizes, for a stream of some tokens a batch."""
    config = load_config(yaml.safe_load(OVERLAY.read_text(encoding="utf-8")))
    hardware = config["hardware"] | {"device": "cpu", "precision": precision, "processes": 1}
    model = config["models"]["cross_thought"] | {"num_layers": asked.layers}
    if case == "pretrain":
        shape = {"tokens_per_sample": asked.stream_tokens, "update_freq": 1, "warmup_updates": 10}
        model["pretraining"] |= shape
        return pretrain.training_flags(model, seed=1, hardware=hardware)
    settings = finetuning_settings(TASKS["RTE"], config["finetuning"], config["tasks"]["RTE"])
    return finetune.training_flags(TASKS["RTE"], model=model, settings=settings, seed=1, hardware=hardware)


@dataclass
class Side:
    """A training through fairseq, one update at a time.

    Attributes:
        whole_s: seconds of each update, by the clock and of processor time.
        bare_s: the same of the bare steps on the same batches.
        losses: of each update, in bits.
    """

    name: str
    trainer: Trainer
    batches: Any
    bare_optimizer: torch.optim.Optimizer
    whole_s: list[tuple[float, float]] = field(default_factory=list)
    bare_s: list[tuple[float, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    def run(self, *, timed: bool) -> None:
        """Make an update, then a bare step on its batch."""
        batch: list = []

        def update() -> None:
            batch.extend(next(self.batches))
            with metrics.aggregate(self.name):
                logged = self.trainer.train_step(batch)
            metrics.get_smoothed_values(self.name)
            self.losses.append(float(logged["loss"]))

        def bare() -> None:
            self.trainer.model.zero_grad(set_to_none=True)
            for sample in batch:
                self.trainer.criterion(self.trainer.model, sample)[0].backward()
            self.bare_optimizer.step()

        with metrics.aggregate(new_root=True):
            whole_s = measure(update)
        # of the stock side, what counts is the whole update
        bare_s = measure(bare) if self.name.startswith("ours") else None
        self.trainer.model.zero_grad(set_to_none=True)  # the other sides need the memory
        if timed:
            self.whole_s.append(whole_s)
            if bare_s:
                self.bare_s.append(bare_s)


def measure(action: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds that an action takes, by the clock and of processor time."""
    start, cpu_start = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - start, time.process_time() - cpu_start


def make_side(name: str, case: str, data: Path, asked: argparse.Namespace) -> Side:
    """Set up a training as `fairseq train` does."""
    kind, precision, *optimizer = name.split()
    args = options.parse_args_and_arch(
        options.get_training_parser(),
        [
            *[str(data), *training_flags(case, precision, asked), "--num-workers", "0", "--data-buffer-size", "0"],
            *(["--optimizer", *optimizer] if optimizer else []),
        ],
    )
    torch.manual_seed(1)
    task = tasks.setup_task(args)
    model = task.build_model(args)
    if kind == "stock":
        encoder = model.encoder.sentence_encoder
        stock = Stock(
            layers="fairseq",
            vocab_size=encoder.config.vocab_size,
            num_layers=encoder.config.num_layers,
            embed_dim=encoder.config.embed_dim,
            ffn_dim=encoder.config.ffn_dim,
            num_heads=encoder.config.num_heads,
            num_slots=encoder.config.num_slots,
            segment_length=encoder.config.segment_length,
            dropout=encoder.config.dropout,
            attention_dropout=encoder.config.attention_dropout,
        )
        stock.load_published(encoder.state_dict())
        stock.config = encoder.config
        model.encoder.sentence_encoder = stock
        model.encoder.lm_head.weight = stock.embed_tokens.weight
    trainer = Trainer(args, task, model, task.build_criterion(args), None)
    epoch = trainer.get_train_iterator(1)
    batches = GroupedIterator(epoch.next_epoch_itr(shuffle=True), 1)
    # a rate of nothing: the bare steps must not change what the updates learn
    bare_optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)
    return Side(name, trainer, batches, bare_optimizer)


def ratio(above: list[tuple[float, float]], below: list[tuple[float, float]], which: int) -> str:
    """Return the median of ratios pair by pair, with the lowest and the highest."""
    ratios = [one[which] / other[which] for one, other in zip(above, below, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def report(case: str, sides: list[Side]) -> None:
    """Print a row for each side: seconds, whole update over bare step, and how much slower the others are."""
    for which, clock in enumerate(("clock", "processor time")):
        print(f"{case}, by {clock}:")
        for side in sides:
            seconds = statistics.median(pair[which] for pair in side.whole_s)
            row = [f"  {side.name:23} {seconds:7.2f} s an update"]
            if side.bare_s:
                row.append(f"bare step times {ratio(side.whole_s, side.bare_s, which)}")
            row += [
                f"{other.name} / this {ratio(other.whole_s, side.whole_s, which)}"
                for other in sides
                if other is not side
            ]
            print("; ".join(row), flush=True)
    ours = {side.name: side.losses for side in sides}
    if {"ours float32", "ours bfloat16"} <= ours.keys():
        pairs = list(zip(ours["ours float32"], ours["ours bfloat16"], strict=True))
        largest = max(abs(one - other) for one, other in pairs)
        print(
            f"  losses of {len(pairs)} updates, {pairs[0][0]:.3f} to {pairs[-1][0]:.3f} bits: largest difference",
            end="",
        )
        print(f" between bfloat16 and float32 {largest:.4f}")


def main() -> None:
    """Run the benchmark and print its rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/, gpt2_bpe/ and wikitext/")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--updates", type=int, default=5, help="timed updates of each side")
    parser.add_argument("--warmup", type=int, default=1, help="updates before them")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--layers", type=int, default=12, help="encoder layers; fewer only to try the script out")
    parser.add_argument("--stream-tokens", type=int, default=4096)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for case in asked.cases:
        metrics.reset()
        with tempfile.TemporaryDirectory() as folder:
            data = binarize(case, asked.data, Path(folder))
            sides = [make_side(name, case, data, asked) for name in asked.sides]
            for number in range(asked.warmup + asked.updates):
                shift = number % len(sides)
                for side in sides[shift:] + sides[:shift]:
                    side.run(timed=number >= asked.warmup)
                print(f"{case} {number + 1}/{asked.warmup + asked.updates}", file=sys.stderr, flush=True)
            report(case, sides)


if __name__ == "__main__":
    main()
