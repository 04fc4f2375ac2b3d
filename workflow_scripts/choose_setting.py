"""Choose one model's setting of a task from the predictions of all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cross_thought.data.definitions import Task
from cross_thought.data.sweeps import Setting, shown_setting
from cross_thought.data.tasks import task_from_config
from cross_thought.evaluation.choice import choice_document, setting_and_seed, value_of_run
from cross_thought.evaluation.predictions import read_predictions
from cross_thought.evaluation.result_files import read_json
from cross_thought.files import write_json
from cross_thought.jobs import logged_job


def choose_setting(
    predictions: Sequence[Path], choice: Path, *, model: str, task: Task, settings: Mapping[str, Setting]
) -> None:
    """Write which setting is best on the development set, and what all of them score.

    Args:
        predictions: every `SETTING/seed-N/predictions.tsv`.
        choice: the file to write.
        model: whose predictions.
        task: what is answered.
        settings: the grid, by name.
    """
    values = {setting_and_seed(path): value_of_run(task, read_predictions(path)) for path in predictions}
    document = choice_document(model=model, task=task, settings=settings, values=values)
    write_json(choice, document)
    print(f"chosen: {shown_setting(document['chosen'])}")


if "snakemake" in globals():
    with logged_job(snakemake.log[0]):
        choose_setting(
            [Path(path) for path in snakemake.input.predictions],
            Path(snakemake.output[0]),
            model=snakemake.wildcards.model,
            task=task_from_config(snakemake.wildcards.task, snakemake.params.entry),
            settings=read_json(snakemake.input.sweep)["settings"],
        )
