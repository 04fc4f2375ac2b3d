"""Predict the dev and test sets of one task with one fine-tuned model."""

from collections.abc import Iterator
from pathlib import Path

import torch

from cross_thought.data.definitions import Task
from cross_thought.data.indexed import read_dataset
from cross_thought.data.prepared import count_sentences, read_prepared
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError
from cross_thought.evaluation.predictions import SplitPredictions, write_predictions
from cross_thought.inference.fine_tuned import FineTunedModel, Sentence, describe, precision_of
from cross_thought.inference.loading import load_fine_tuned
from cross_thought.jobs import logged_job
from cross_thought.training.gpus import own_gpus


def token_rows(data: Path, split: str, task: Task, *, bos_id: int) -> Iterator[list[Sentence]]:
    """Yield the rows of a split of a binarized task: each sentence's ids, that of `<s>` before them."""
    inputs = [read_dataset(data / f"input{number}" / split) for number in range(task.num_sentences)]
    for sentences in zip(*inputs, strict=True):
        # of nothing but `</s>`, a candidate is none
        yield [[] if task.selection and len(sentence) < 2 else [bos_id, *sentence.tolist()] for sentence in sentences]


def predict_split(model: FineTunedModel, task: Task, data: Path, prepared: Path, split: str) -> SplitPredictions:
    """Predict one split of a task; its labels are in the prepared files, as text, its sentences in the binarized data.

    Raises:
        UserError: if the split has no example, or its binarized form not the rows of the prepared one.
    """
    labels = [example.label for example in read_prepared(prepared / f"{split}.tsv")]
    rows = token_rows(data, split, task, bos_id=model.encoder.config.bos_id)
    predictions: list[str] = []
    scores: list[list[float]] = []
    for outputs in model.outputs(rows):
        answers, probabilities = model.answers(outputs)
        predictions += answers
        scores += [] if probabilities is None else probabilities.tolist()
    if not labels:
        raise UserError(f"split {split!r} of the task has no example: check its data file")
    if len(predictions) != len(labels):
        raise UserError(
            f"{prepared}/{split}.tsv has {len(labels)} rows, its binarized form {len(predictions)}: delete both"
        )
    by_label = dict(zip(task.labels or (), map(list, zip(*scores, strict=True)), strict=True))
    return SplitPredictions([str(index) for index in range(len(labels))], labels, predictions, by_label)


def evaluate(
    checkpoint: Path, data: Path, prepared: Path, *, task: Task, device: str, precision: str, predictions_file: Path
) -> None:
    """Write the predictions for every split but train."""
    task = task.with_sentences(count_sentences(prepared))
    saved = load_fine_tuned(checkpoint, describe(task))
    model = FineTunedModel(saved, device=device, precision=precision_of(precision))
    predictions = {}
    for split in task.splits:
        if split != "train":
            predictions[split] = predict_split(model, task, data, prepared, split)
            print(f"{split}: {len(predictions[split].indices)} examples")
    write_predictions(predictions_file, predictions)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]), own_gpus(int(snakemake.params.device == "cuda")):
        torch.set_num_threads(snakemake.threads)
        evaluate(
            Path(snakemake.input.checkpoint),
            Path(snakemake.input.data),
            Path(snakemake.input.prepared),
            task=task_from_config(snakemake.wildcards.task, snakemake.params.entry),
            device=snakemake.params.device,
            precision=snakemake.params.precision,
            predictions_file=Path(snakemake.output[0]),
        )
