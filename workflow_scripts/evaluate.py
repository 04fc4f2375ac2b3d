"""Predict the dev and test sets of one task with one fine-tuned model."""

from collections.abc import Sequence
from pathlib import Path

import torch

from cross_thought.data.definitions import Task
from cross_thought.data.prepared import count_sentences, read_prepared
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError
from cross_thought.evaluation.predictions import SplitPredictions, write_predictions
from cross_thought.fairseq.predict import Predictor
from cross_thought.jobs import logged_job
from cross_thought.training.gpus import own_gpus


def predict_split(predictor: Predictor, task: Task, prepared: Path, split: str) -> SplitPredictions:
    """Predict one split.

    Args:
        predictor: the fine-tuned model.
        task: what it learnt.
        prepared: folder of the task's prepared TSV files, which hold the labels as text.
        split: name of the split.

    Raises:
        UserError: if the binarized split has not the rows of the prepared one.
    """
    labels = [example.label for example in read_prepared(prepared / f"{split}.tsv")]
    scores = predictor.answer_weights(split) if task.selection else predictor.scores(split)
    if len(scores) != len(labels):
        raise UserError(f"{prepared}/{split}.tsv has {len(labels)} rows, its binarized form {len(scores)}: delete both")
    indices = [str(index) for index in range(len(labels))]
    if task.labels is None:
        return SplitPredictions(indices, labels, [repr(score * task.score_scale) for score in scores[:, 0].tolist()])
    if task.selection:
        probabilities, answers = scores.exp(), rankings(scores, names=task.labels)
    else:
        probabilities = torch.softmax(scores, dim=1)
        answers = [task.labels[choice] for choice in scores.argmax(1).tolist()]
    return SplitPredictions(
        indices,
        labels,
        answers,
        dict(zip(task.labels, probabilities.T.tolist(), strict=True)),
    )


def rankings(log_alpha: torch.Tensor, *, names: Sequence[str]) -> list[str]:
    """Return each question's candidates, the one with the largest weight first, as `3 1 2 4`.

    Args:
        log_alpha: shape (questions, N); -inf for no candidate.
        names: of the candidates, in the order of the columns.
    """
    order = log_alpha.argsort(dim=1, descending=True, stable=True).tolist()
    numbers = (~log_alpha.isneginf()).sum(1).tolist()
    return [" ".join(names[place] for place in row[:number]) for row, number in zip(order, numbers, strict=True)]


def evaluate(
    checkpoint: Path, data: Path, prepared: Path, *, task: Task, device: str, precision: str, predictions_file: Path
) -> None:
    """Write the predictions for every split but train."""
    task = task.with_sentences(count_sentences(prepared))
    predictor = Predictor(checkpoint, data, device=device, precision=precision)
    predictions = {}
    for split in task.splits:
        if split != "train":
            predictions[split] = predict_split(predictor, task, prepared, split)
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
