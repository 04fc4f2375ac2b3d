"""Contrastive tuning of an encoder's embeddings by Sentence Transformers' trainer, going on where it was stopped."""

import json
import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.base.sampler import DefaultBatchSampler, NoDuplicatesBatchSampler
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import PrinterCallback, TrainerCallback

from cross_thought.errors import UserError
from cross_thought.files import atomic_file
from cross_thought.inference.export import export_model
from cross_thought.inference.sentence_transformer import CrossThoughtModule
from cross_thought.training.launch import progress_line

HISTORY_COLUMNS = ("num_updates", "epoch", "loss", "learning_rate", "gradient_norm")

_STATE = "trainer_state.json"  # the trainer writes it last into a checkpoint's folder
_LOGGED = ("step", "epoch", "loss", "learning_rate", "grad_norm")  # as the trainer calls what the history has


def tune(
    source: Path,
    pairs: Mapping[str, list[str]],
    run: Path,
    output: Path,
    *,
    settings: Mapping[str, Any],
    seed: int,
    device: str,
    precision: str = "float32",
    vocabulary: Path | None = None,
    name: str | None = None,
) -> None:
    """Tune an encoder so that an anchor's embedding is nearest to its positive's among all of the batch, and export it.

    Args:
        source: a checkpoint of fairseq's, or an export.
        pairs: of `training_pairs`; a hard negative is one more candidate for every anchor of the batch.
        run: folder of the run's checkpoints, named after all that defines it: the newest whole one is gone on from.
        output: the folder of the export to write; `history.tsv` comes beside it.
        settings: `embedding_tuning` of the config.
        seed: of the order of the pairs, and of dropout.
        device: "cpu" or "cuda".
        precision: "float32", or "bfloat16" or "float16" for the matrix products.
        vocabulary: of a checkpoint, as of `export_model`.
        name: of the model, for its card.

    Raises:
        UserError: if it was asked to stop and has saved, or the loss is not finite.
    """
    started, start = time.monotonic(), run / "start"
    if not start.is_dir():
        export_model(
            source, start, output_format="sentence-transformers", pooling=settings["pooling"], vocabulary=vocabulary
        )
    model = SentenceTransformer(modules=[CrossThoughtModule.load(str(start))], device=device)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(run),
        num_train_epochs=1,  # for the trainer: the sampler's batches are those of all epochs
        per_device_train_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        warmup_steps=settings["warmup_fraction"],
        weight_decay=settings["weight_decay"],
        batch_sampler=partial(AllEpochs, num_epochs=settings["num_epochs"]),
        save_strategy="steps",
        save_steps=settings["save_interval_updates"],
        save_total_limit=2,
        logging_steps=10,
        logging_nan_inf_filter=False,
        seed=seed,
        use_cpu=device == "cpu",
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        disable_tqdm=True,
        report_to="none",
    )
    loss = MultipleNegativesRankingLoss(model, scale=1 / settings["temperature"])
    with _asked_to_stop() as signals:
        progress = _Progress(signals)
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_dict(dict(pairs)), loss=loss, callbacks=[progress]
        )
        trainer.remove_callback(PrinterCallback)  # prints what `_Progress` does in words
        newest = newest_checkpoint(run)
        if newest is not None:
            print(f"going on from {newest}", flush=True)
        trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
    if signals and trainer.state.global_step < trainer.state.max_steps:
        raise UserError(
            f"tuning was asked to stop and has saved its state: the same command goes on from there ({run})"
        )
    _write_history(trainer.state.log_history, output.parent / "history.tsv", num_epochs=settings["num_epochs"])
    model.save_pretrained(str(run / "tuned"), create_model_card=False)
    export_model(run / "tuned", output, output_format="sentence-transformers", model_name=name)
    print(f"trained in {timedelta(seconds=round(time.monotonic() - started))}", flush=True)


def newest_checkpoint(run: Path) -> Path | None:
    """Return the newest checkpoint in a run's folder that is whole; None if there is none."""
    whole: dict[int, Path] = {}
    for state in run.glob(f"checkpoint-*/{_STATE}"):
        try:
            whole[int(json.loads(state.read_text(encoding="utf-8"))["global_step"])] = state.parent
        except (ValueError, KeyError, TypeError):
            continue  # written when the disk was full, or the job killed
    return whole[max(whole)] if whole else None


class AllEpochs(DefaultBatchSampler):
    """The batches of all epochs. No sentence comes twice in a batch: it is no negative for itself.

    In an epoch each pair comes once, in as many batches as that takes: further, smaller ones where an anchor has many
    pairs. `NoDuplicatesBatchSampler` makes those as well, but its length leaves them out, and the trainer goes by that.

    Args:
        dataset: the pairs.
        num_epochs: passes over them; of the last one maybe a fraction.
        options: of a batch sampler of the trainer's.
    """

    def __init__(self, dataset: Dataset, *, num_epochs: float, **options: Any) -> None:
        super().__init__(dataset, **options)
        sampler = NoDuplicatesBatchSampler(dataset, **options)
        self.batches: list[list[int]] = []
        for epoch in range(math.ceil(num_epochs)):
            sampler.set_epoch(epoch)
            batches = list(sampler)
            self.batches += batches[: math.ceil((num_epochs - epoch) * len(batches))]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _Progress(TrainerCallback):
    """Prints a line now and then; stops the trainer on a signal, with a checkpoint, and at a loss that is no number."""

    def __init__(self, signals: list[int]) -> None:
        self.signals = signals
        self.first: tuple[int, float] | None = None
        self.printed = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the time of the attempt's first update; have the last one told of as well; stop when asked to."""
        self.first = self.first or (state.global_step, time.monotonic())
        if state.global_step >= state.max_steps:
            control.should_log = True
        if self.signals:
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Print updates, loss, speed and time left, every ten seconds at most."""
        loss = (logs or {}).get("loss")
        if loss is None or self.first is None:
            return
        update, total = state.global_step, state.max_steps
        if not float(loss) < float("inf"):
            raise UserError(f"the loss of update {update} is {loss}: lower embedding_tuning.learning_rate")
        if time.monotonic() - self.printed < 10 and update < total:
            return
        self.printed = time.monotonic()
        print(progress_line(update, total, f"{float(loss):.4f}", self.first), flush=True)


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Collect SIGTERMs instead of ending at them."""
    signals: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: signals.append(number))
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)


def _write_history(logs: list[dict[str, Any]], path: Path, *, num_epochs: float) -> None:
    """Write the loss curve as TSV; the loss is the mean since the last row, in nats a pair."""
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        print(*HISTORY_COLUMNS, sep="\t", file=file)
        for entry in logs:
            if "loss" in entry:
                row = entry | {"epoch": entry["epoch"] * num_epochs}
                print(*(row.get(key, "") for key in _LOGGED), sep="\t", file=file)
