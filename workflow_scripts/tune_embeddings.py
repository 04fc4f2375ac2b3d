"""Tune the embeddings of one model with one seed, going on where an earlier attempt at the same run stopped."""

import json
from pathlib import Path

import torch

from cross_thought.data.pairs import PairTask, shown_name, training_pairs, tuned_place
from cross_thought.inference.tuning import tune
from cross_thought.jobs import logged_job
from cross_thought.training.devices import usable_device
from cross_thought.training.gpus import own_gpus
from cross_thought.training.launch import run_key


def tune_embeddings(
    data: Path,
    checkpoint: Path,
    *,
    pairs: PairTask,
    tuning: dict,
    model: str,
    seed: int,
    hardware: dict,
    vocabulary: Path,
    output: Path,
) -> None:
    """Tune a checkpoint on rows of a prepared task, and export it.

    `tuning` are the settings, that entry of the config without its tasks; `output` is the folder of the export:
    history.tsv comes beside it, and runs/ with the checkpoints in progress.
    """
    usable_device(hardware["device"])
    columns, counts = training_pairs(pairs, data / "train.tsv")
    print(f"{pairs.name}: {counts}", flush=True)
    # how often it saves is no part of what defines the run
    settings = {key: value for key, value in tuning.items() if key != "save_interval_updates"}
    defining = [settings, vars(pairs), seed, hardware["device"], hardware["precision"]]
    run = output.parent / "runs" / run_key([json.dumps(part) for part in defining], data, start=checkpoint)
    tune(
        checkpoint,
        columns,
        run,
        output,
        settings=tuning,
        seed=seed,
        device=hardware["device"],
        precision=hardware["precision"],
        vocabulary=vocabulary,
        name=shown_name(tuned_place(model, pairs.name)),
    )


if "snakemake" in globals():
    hardware = snakemake.params.hardware
    with logged_job(snakemake.log[0]), own_gpus(int(hardware["device"] == "cuda")):
        torch.set_num_threads(snakemake.threads)
        tune_embeddings(
            Path(snakemake.input.data),
            Path(snakemake.input.pretrained),
            pairs=PairTask(**snakemake.params.pairs),
            tuning=snakemake.params.tuning,
            model=snakemake.wildcards.model,
            seed=int(snakemake.wildcards.seed),
            hardware=hardware,
            vocabulary=Path(snakemake.input.vocabulary),
            output=Path(snakemake.output.model),
        )
