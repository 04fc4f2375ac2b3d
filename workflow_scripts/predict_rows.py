"""Predict rows without labels with a fine-tuned model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from cross_thought.data.definitions import Task
from cross_thought.data.tasks import task_from_config
from cross_thought.inference.classifier import Form, SentenceClassifier, predict_files
from cross_thought.inference.fine_tuned import describe, precision_of
from cross_thought.inference.tally import remarks
from cross_thought.jobs import logged_job
from cross_thought.training.gpus import own_gpus
from cross_thought.yaml_text import listed


def predict(
    checkpoint: Path,
    vocabulary: Path,
    files: Sequence[Path],
    *,
    task: Task,
    entry: Mapping[str, Any],
    device: str,
    precision: str,
    output: Path,
) -> None:
    """Write a prediction for each row of the files, one after the other, with a checkpoint of the task's fine-tuning.

    `entry` is that of the config's `predict`, `precision` that of its hardware.
    """
    known = describe(task)
    classifier = SentenceClassifier.from_pretrained(
        checkpoint,
        vocabulary=vocabulary,
        labels=known.labels,
        score_scale=known.score_scale if task.is_regression else None,
        device=device,
        precision=precision_of(precision),
    )
    form = Form(
        columns=tuple(entry.get("input_columns") or known.columns),
        form=entry.get("format"),
        header=entry.get("header", None if "input_columns" in entry else known.header),
    )
    num_rows = predict_files(classifier, files, output, form=form, probabilities=not task.is_regression)
    print(f"{num_rows} rows, {classifier.num_cut_sentences} sentences cut to {classifier.max_seq_length} tokens")
    for remark in remarks(classifier):
        print(remark)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]), own_gpus(int(snakemake.params.device == "cuda")):
        torch.set_num_threads(snakemake.threads)
        entry = snakemake.params.entry
        predict(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.vocabulary),
            [Path(path) for path in listed(entry["files"])],
            task=task_from_config(entry["task"], snakemake.params.task),
            entry=entry,
            device=snakemake.params.device,
            precision=snakemake.params.precision,
            output=Path(snakemake.output[0]),
        )
