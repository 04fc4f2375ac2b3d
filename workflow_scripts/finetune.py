"""Fine-tune one pre-trained model on one task with one seed through fairseq, keeping the best checkpoint.

An attempt goes on where an earlier one at the same run stopped.
"""

import math
import shutil
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from cross_thought.data.finetuning import finetuning_settings
from cross_thought.data.indexed import read_sizes
from cross_thought.data.tasks import Task, task_from_config
from cross_thought.environment import record_command
from cross_thought.errors import UserError
from cross_thought.inference.fine_tuned import describe
from cross_thought.jobs import logged_job
from cross_thought.training.checkpoints import export_model, load_checkpoint
from cross_thought.training.devices import usable_device
from cross_thought.training.gpus import own_gpus
from cross_thought.training.launch import as_flags, hardware_flags, model_flags, optimizer, run_key, write_history
from cross_thought.training.runs import LOG, go_on, restore_flags

BEST = "checkpoint_best.pt"
SAVE_INTERVAL_MINUTES = 10  # as much as a kill may cost; what takes less is never saved but for its best model
WARMUP_SHARE = 0.06  # of the updates, where fairseq publishes no figure for the task: its share for most tasks


def planned_updates(row_lengths: np.ndarray, *, settings: dict) -> int:
    """Return how many updates the epochs make, as fairseq batches shuffled rows.

    `row_lengths` are the tokens of each training example, shape (examples,); `settings` has batch_size, max_tokens
    (padded) and num_epochs.
    """
    num_batches, rows, longest = 1, 0, 0
    for length in np.random.default_rng(1).permutation(row_lengths).tolist():
        longest = max(longest, length)
        if rows == settings["batch_size"] or (rows + 1) * longest > settings["max_tokens"]:
            num_batches, rows, longest = num_batches + 1, 0, length
        rows += 1
    return num_batches * settings["num_epochs"]


def row_lengths(data: Path) -> np.ndarray:
    """Return the tokens of each training example, `<s>` included, shape (examples,)."""
    return np.sum([read_sizes(folder / "train") + 1 for folder in data.glob("input*")], axis=0)


def with_schedule(settings: dict, row_lengths: np.ndarray, *, task: Task) -> dict:
    """Return the settings with the updates that the epochs make, and a share of them as warm-up, where they have none.

    `planned_updates` among them are those that the epochs make in any case.

    `row_lengths` are as of `planned_updates`.

    Raises:
        UserError: if the warm-up takes as long as that.
    """
    updates, warmup = settings["num_updates"], settings["warmup_updates"]
    made = planned_updates(row_lengths, settings=settings)
    if made > 1.1 * settings["num_epochs"] * math.ceil(len(row_lengths) / settings["batch_size"]):
        rows = len(row_lengths) * settings["num_epochs"] / made
        print(f"batches of {rows:.1f} rows on average, for max_tokens {settings['max_tokens']} lets through no more")
    if updates is not None and not 0.9 < updates / made < 1.1:
        print(f"the learning rate falls over num_updates {updates}, but the epochs make about {made}")
    if updates is None:
        updates = made
        if warmup is not None and warmup >= updates:
            raise UserError(
                f"config: warmup_updates {warmup} of tasks.{task.name} must be less than the {updates} updates that "
                f"its {settings['num_epochs']} epochs make"
            )
    if warmup is None:
        warmup = math.ceil(settings.get("warmup_fraction", WARMUP_SHARE) * updates)
    return settings | {"num_updates": updates, "warmup_updates": warmup, "planned_updates": made}


def class_weights(given: str | dict[str, float] | None, label_dictionary: Path) -> list[float] | None:
    """Return the weight of each class in the loss, in the order of the classes.

    Args:
        given: of the settings: "balanced", weights by label, or None.
        label_dictionary: the task's labels with how often the training set has each.

    Raises:
        UserError: if weights are to be balanced and the training set lacks a label.
    """
    if given is None:
        return None
    lines = [line.rpartition(" ") for line in label_dictionary.read_text(encoding="utf-8").splitlines()]
    counts = {label: int(count) for label, _, count in lines}
    if not isinstance(given, str):
        weights = {str(label): weight for label, weight in given.items()}
        return [float(weights[label]) for label in counts]
    absent = next((label for label, count in counts.items() if not count), None)
    if absent is not None:
        raise UserError(f"config: class_weights cannot be balanced: no training example is {absent!r}; give weights")
    return [sum(counts.values()) / (len(counts) * count) for count in counts.values()]


def training_flags(task: Task, *, model: dict, settings: dict, seed: int, hardware: dict) -> list[str]:
    """Return fairseq's flags for a fine-tuning run; class weights are those that `class_weights` returns."""
    by_loss = task.best_metric == "loss"
    kind = "answer_selection" if task.selection else "sentence_prediction"
    weights, smoothing = settings.get("class_weights"), settings.get("label_smoothing") or None
    flags = {
        "task": kind,
        "criterion": "sentence_classification" if weights or smoothing else kind,
        "class_weights": ",".join(map(repr, weights)) if weights else None,
        "label_smoothing": smoothing,
        **model_flags(model),
        "forward_mode": "finetune",
        "num_classes": 1 if task.labels is None else len(task.labels),
        "regression_target": task.is_regression,
        "init_token": 0,
        "separator_token": 0,
        # rows of the longest that the encoder reads: what is longer, it cuts
        "max_positions": max(2, task.num_sentences) * (model["num_positions"] + 1),
        "batch_size": settings["batch_size"],
        "max_tokens": settings["max_tokens"],
        "required_batch_size_multiple": 1,
        "optimizer": optimizer(hardware["precision"]),
        "adam_betas": "(0.9, 0.98)",
        "adam_eps": 1e-6,
        "weight_decay": settings["weight_decay"],
        "clip_norm": 0.0,
        "lr_scheduler": "polynomial_decay",
        "lr": settings["learning_rate"],
        "warmup_updates": settings["warmup_updates"],
        "total_num_update": settings["num_updates"],
        "max_epoch": settings["num_epochs"],
        "dropout": settings["dropout"],
        "attention_dropout": settings["attention_dropout"],
        "best_checkpoint_metric": task.best_metric,
        "maximize_best_checkpoint_metric": not by_loss,
        "patience": settings.get("patience"),
        # fairseq keeps the best of those validations alone that it saves after
        "save_interval_updates": settings.get("validate_interval_updates"),
        "keep_interval_updates": 1 if settings.get("validate_interval_updates") else None,
        "seed": seed,
        **hardware_flags(hardware["device"], hardware["precision"]),
    }
    return [*as_flags(flags), *settings.get("extra_args", [])]


def finetune(
    data: Path,
    pretrained: Path,
    *,
    task: Task,
    model_name: str,
    model: dict,
    settings: dict,
    seed: int,
    hardware: dict,
    checkpoint: Path,
    history: Path,
    command_record: Path,
    curves: Path | None = None,
) -> None:
    """Train, and keep the checkpoint that is best on the dev set.

    Args:
        data: binarized task.
        pretrained: checkpoint to start from; of another task's fine-tuning, all but the head is taken.
        task: what is learnt.
        model_name: the model's key in the config.
        model: the model's entry of the effective config.
        settings: fine-tuning settings of the task.
        seed: of fairseq, and so of Python, numpy and torch.
        hardware: that entry of the config.
        checkpoint: the best model, without the optimizer's state.
        history: loss curves (TSV).
        command_record: the command line, when it ran and for how long (JSON).
        curves: folder for TensorBoard's event files, in a folder for each run; None: there are none.

    Checkpoints in progress lie beside `checkpoint`, under runs/, in a folder named after what defines the run, until it
    is done.

    Raises:
        UserError: if the checkpoint to start from does not fit, the device is not there, or training fails.
    """
    started = time.time()
    if model["source"] != "pretrain" and not task.start_from:
        # only here does this process need fairseq, which training runs in a process of its own
        from cross_thought.fairseq.pretrained import check_fits

        check_fits(pretrained, model_name, model, data / "input0")
    usable_device(hardware["device"])
    task = task.with_sentences(len(list(data.glob("input*"))))
    lengths = row_lengths(data)
    settings = with_schedule(settings, lengths, task=task)
    settings["class_weights"] = class_weights(settings.get("class_weights"), data / "label" / "dict.txt")
    print(f"{len(lengths)} training examples, learning rate over {settings['num_updates']} updates", flush=True)

    flags = training_flags(task, model=model, settings=settings, seed=seed, hardware=hardware)
    run = checkpoint.parent / "runs" / run_key(flags, data, start=pretrained)
    _drop_without_best(run)
    if task.start_from:
        headless = run / f"{task.start_from}-without-head.pt"
        export_model(pretrained, headless, without_heads=True)
        pretrained = headless
    command = go_on(
        run,
        data,
        flags,
        start=restore_flags(pretrained),
        places={
            "no_epoch_checkpoints": True,
            "no_last_checkpoints": True,
            "no_save_optimizer_state": True,
            "save_interval_minutes": SAVE_INTERVAL_MINUTES,
            "checkpoint_activations": hardware["checkpoint_activations"],  # the same numbers, so the same run
            "tensorboard_logdir": None if curves is None else curves / run.name,
        },
        total_updates=settings["planned_updates"],
        threads=hardware["threads"],
    )
    best = load_checkpoint(run / BEST)
    export_model(
        run / BEST,
        checkpoint,
        dictionary=data / "input0" / "dict.txt",
        fine_tuned_on=describe(task, data=data, best=best).document(),
    )
    write_history(run / LOG, history)
    record_command(command_record, command, started, time.time() - started)
    shutil.rmtree(run)
    with suppress(OSError):  # others lie there: of settings that were changed before they were done
        run.parent.rmdir()


def _drop_without_best(run: Path) -> None:
    """Begin a run anew whose best model so far cannot be read: no later epoch need be as good."""
    try:
        if (run / BEST).exists():
            load_checkpoint(run / BEST)
    except UserError as error:
        print(f"warning: {error}; beginning anew", flush=True)
        shutil.rmtree(run)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]), own_gpus(int(snakemake.params.hardware["device"] == "cuda")):
        task = task_from_config(snakemake.wildcards.task, snakemake.params.entry)
        finetune(
            Path(snakemake.input.data),
            Path(snakemake.input.pretrained),
            task=task,
            model_name=snakemake.wildcards.model,
            model=snakemake.params.model,
            settings=finetuning_settings(task, snakemake.params.finetuning, snakemake.params.entry),
            seed=int(snakemake.wildcards.seed),
            hardware=snakemake.params.hardware,
            checkpoint=Path(snakemake.output.checkpoint),
            history=Path(snakemake.output.history),
            command_record=Path(snakemake.output.command),
            curves=Path(snakemake.params.curves) if snakemake.params.curves else None,
        )
