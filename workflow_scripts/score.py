"""Score the predictions of one fine-tuned model on one task."""

from pathlib import Path

from cross_thought.data.definitions import Task
from cross_thought.data.prepared import read_counts, read_prepared
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.evaluation.rankings import write_trec_files
from cross_thought.files import write_json
from cross_thought.jobs import logged_job


def score(
    predictions_file: Path, prepared: Path, data: Path, *, model: str, task: Task, seed: int, metrics_file: Path
) -> None:
    """Write the metrics of each split whose labels are known; of answer selection, TREC's files beside the predictions.

    Raises:
        UserError: if the predictions are for other rows than the prepared ones.
    """
    predictions = read_predictions(predictions_file)
    for split, rows in predictions.items():
        labels = [example.label for example in read_prepared(prepared / f"{split}.tsv")]
        if labels != rows.labels:
            raise UserError(
                f"{predictions_file} is not for the rows of {prepared}/{split}.tsv, which were prepared anew since, by "
                f"other code: delete results/finetune/{model}/{task.name} and results/evaluate/{model}/{task.name} to "
                "train anew, or prepare the data with the code of then"
            )
    has_train = "train" in task.splits and task.evaluated_with is None
    document = metrics_document(
        model=model,
        task=task,
        seed=seed,
        predictions=predictions,
        num_train_examples=sum(1 for _ in read_prepared(prepared / "train.tsv")) if has_train else None,
        counts=read_counts(prepared, data),
    )
    write_json(metrics_file, document)
    if task.selection is not None:
        write_trec_files(predictions_file.parent, predictions, tag=model)


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        score(
            Path(snakemake.input.predictions),
            Path(snakemake.input.prepared),
            Path(snakemake.input.data),
            model=snakemake.wildcards.model,
            task=task_from_config(snakemake.wildcards.task, snakemake.params.entry),
            seed=int(snakemake.wildcards.seed),
            metrics_file=Path(snakemake.output[0]),
        )
