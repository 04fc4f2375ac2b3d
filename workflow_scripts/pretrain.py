"""Pre-train one model with one seed through fairseq, going on where an earlier attempt at the same run stopped."""

import time
from pathlib import Path

from cross_thought.data.indexed import read_sizes
from cross_thought.environment import record_command
from cross_thought.errors import UserError
from cross_thought.jobs import logged_job
from cross_thought.training.checkpoints import export_model, newest_checkpoint
from cross_thought.training.devices import usable_device
from cross_thought.training.gpus import own_gpus
from cross_thought.training.launch import as_flags, hardware_flags, model_flags, optimizer, run_key, write_history
from cross_thought.training.runs import LOG, go_on, restore_flags


def training_flags(model: dict, *, seed: int, hardware: dict) -> list[str]:
    """Return fairseq's flags that define a pre-training run."""
    training = model["pretraining"]
    settings = {
        "task": "masked_sentences" if model["segment_by"] == "sentence" else "masked_lm",
        "criterion": "masked_lm",
        **model_flags(model),
        "forward_mode": "pretrain",
        "init_std": training["init_std"],
        "query_key_init_std": training["query_key_init_std"],
        "sample_break_mode": training["sample_break_mode"],
        "tokens_per_sample": training["tokens_per_sample"],
        "batch_size": training["batch_size"],
        "update_freq": training["update_freq"] // hardware["processes"],  # the batch stays
        "mask_prob": training["mask_prob"],
        "leave_unmasked_prob": training["leave_unmasked_prob"],
        "random_token_prob": training["random_token_prob"],
        "optimizer": optimizer(hardware["precision"]),
        "adam_betas": "(0.9, 0.98)",
        "adam_eps": 1e-6,
        "weight_decay": training["weight_decay"],
        "clip_norm": training["clip_norm"],
        "lr_scheduler": "polynomial_decay",
        "lr": training["learning_rate"],
        "warmup_updates": training["warmup_updates"],
        "total_num_update": training["max_updates"],
        "max_update": training["max_updates"],
        "dropout": training["dropout"],
        "attention_dropout": training["attention_dropout"],
        "save_interval_updates": training["save_interval_updates"],
        "patience": training.get("patience"),
        "seed": seed,
        **hardware_flags(hardware["device"], hardware["precision"], hardware["processes"]),
    }
    return [*as_flags(settings), *training["extra_args"]]


def left_out(data: Path, training: dict) -> dict[str, dict[str, int]]:
    """Return what of a binarized corpus is in no stream, by split: `sentences` and `tokens`, and of how many.

    A stream of whole sentences has no room for one that is longer than `tokens_per_sample`, its `<s>` included. fairseq
    passes over those it trains on with a line in its output, and ends at the first that it validates on.
    """
    if training["sample_break_mode"] == "none":
        return {}
    found = {}
    for split in ("train", "valid"):
        sizes = read_sizes(data / split)
        sizes = sizes[sizes > 1]  # `</s>` alone parts documents
        long = sizes >= training["tokens_per_sample"]
        if long.any():
            found[split] = {
                "sentences": int(long.sum()),
                "of_sentences": len(sizes),
                "tokens": int(sizes[long].sum()),
                "of_tokens": int(sizes.sum()),
            }
    return found


def pretrain(
    data: Path,
    *,
    model: dict,
    seed: int,
    hardware: dict,
    checkpoint: Path,
    history: Path,
    command_record: Path,
    start: Path | None = None,
    started_from: str | None = None,
    curves: Path | None = None,
) -> None:
    """Train and export.

    Args:
        data: binarized corpus.
        model: the model's entry of the effective config.
        seed: of fairseq, and so of Python, numpy and torch.
        hardware: that entry of the config.
        checkpoint: the final model, without the optimizer's state.
        history: loss curves (TSV).
        command_record: the command line, when it ran and for how long (JSON).
        start: checkpoint of the model's weights to start from; None: they are drawn.
        started_from: what that is of, noted in the model.
        curves: folder for TensorBoard's event files, in a folder for each run; None: there are none.

    Checkpoints in progress lie beside `checkpoint`, under runs/, in a folder named after what defines the run: a
    changed setting is another run.

    Raises:
        UserError: if training fails, or leaves no checkpoint that can be read.
    """
    usable_device(hardware["device"], number=hardware["processes"] // hardware["nodes"])
    flags = training_flags(model, seed=seed, hardware=hardware)
    run = checkpoint.parent / "runs" / run_key(flags, data, start=start)
    max_updates = model["pretraining"]["max_updates"]
    lacking = left_out(data, model["pretraining"])
    for split, number in lacking.items():
        print(
            f"{split}: {number['sentences']} of {number['of_sentences']} sentences, {number['tokens']} of "
            f"{number['of_tokens']} tokens, are longer than a stream, tokens_per_sample "
            f"{model['pretraining']['tokens_per_sample']}, and left out",
            flush=True,
        )
    started = time.time()
    command = go_on(
        run,
        data,
        flags,
        start=None if start is None else restore_flags(start),
        places={
            "started_from": started_from,  # the content of `start` defines the run
            "no_epoch_checkpoints": True,
            "skip_invalid_size_inputs_valid_test": "valid" in lacking,  # else fairseq ends there
            "keep_interval_updates": 2,
            "checkpoint_activations": hardware["checkpoint_activations"],  # the same numbers, so the same run
            "tensorboard_logdir": None if curves is None else curves / run.name,
        },
        total_updates=max_updates,
        threads=hardware["threads"],
        processes=hardware["processes"],
        nodes=hardware["nodes"],
        ends_at_total=True,
    )
    newest, _ = newest_checkpoint(run)
    if newest is None:
        raise UserError(f"{run} has no checkpoint that can be read, though training ended well: is the disk sound?")
    export_model(newest, checkpoint, dictionary=data / "dict.txt")
    write_history(run / LOG, history)
    record_command(command_record, command, started, time.time() - started, left_out=lacking)


if "snakemake" in globals():
    hardware = snakemake.params.hardware
    with logged_job(snakemake.log[0]), own_gpus(hardware["processes"] if hardware["device"] == "cuda" else 0):
        pretrain(
            Path(snakemake.input.data),
            model=snakemake.params.model,
            seed=int(snakemake.wildcards.seed),
            hardware=hardware,
            start=Path(snakemake.input.start[0]) if snakemake.input.start else None,
            started_from=snakemake.params.started_from,
            checkpoint=Path(snakemake.output.checkpoint),
            history=Path(snakemake.output.history),
            command_record=Path(snakemake.output.command),
            curves=Path(snakemake.params.curves) if snakemake.params.curves else None,
        )
