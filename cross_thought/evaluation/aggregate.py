"""From `metrics.json` files to a tidy frame, a row a number and seed; from there to mean, sd and n over seeds."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cross_thought.data.definitions import EmbeddingTask, Task
from cross_thought.errors import UserError

AVERAGE = "average"
KEYS = ["model", "task", "split", "metric"]


def read_metrics(paths: Iterable[Path | str]) -> list[dict]:
    """Read `metrics.json` files.

    Raises:
        UserError: if one is missing or is no JSON of that kind.
    """
    documents = []
    for path in map(Path, paths):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            document["model"], document["task"], document["seed"], document["splits"]
        except FileNotFoundError:
            raise UserError(f"{path} is missing: run `snakemake {path}` to make it") from None
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is no metrics file ({error}): delete it and run `snakemake {path}`") from None
        documents.append(document)
    return documents


def tidy_results(
    documents: Iterable[Mapping], *, models: Sequence[str], tasks: Mapping[str, Task | EmbeddingTask]
) -> pd.DataFrame:
    """Gather metrics in a frame of one row a number, in the order of `models`, `tasks` and seeds.

    Returns:
        The columns model, task, split, metric, seed, value (in percent, NaN where undefined), num_examples and
        num_train_examples.

    Raises:
        UserError: if a seed of a model and task comes twice.
    """
    rows = [
        {
            **{key: document[key] for key in ("model", "task", "seed")},
            "split": split,
            "metric": metric,
            "value": scored["metrics"][metric],
            "num_examples": scored["num_examples"],
            "num_train_examples": document.get("num_train_examples"),
        }
        for document in documents
        if document["model"] in models and document["task"] in tasks
        for split, scored in document["splits"].items()
        for metric in tasks[document["task"]].metrics
    ]
    columns = [*KEYS, "seed", "value", "num_examples", "num_train_examples"]
    whole = {"seed": int, "num_examples": "Int64", "num_train_examples": "Int64"}
    tidy = pd.DataFrame(rows, columns=columns).astype({"value": float, **whole})
    tidy["value"] *= 100
    for twice in tidy[tidy.duplicated([*KEYS, "seed"])].itertuples():
        raise UserError(f"{twice.model}, {twice.task}: seed {twice.seed} comes twice")
    places = {"model": list(models), "task": list(tasks)}
    return tidy.sort_values(
        ["model", "task", "seed"],
        key=lambda column: column.map(places[column.name].index) if column.name in places else column,
        kind="stable",
        ignore_index=True,
    )


def over_seeds(tidy: pd.DataFrame, by: Sequence[str] = KEYS) -> pd.DataFrame:
    """Summarise `value` over the `seed`s of each group, in the order in which they come.

    Returns:
        The columns `by`, mean, sd (n - 1 in the denominator; NaN below two seeds), n, and the tuples seeds and values.
        An undefined value leaves no mean: to leave it out would flatter.
    """
    groups = tidy.groupby(list(by), sort=False)
    value = groups["value"]
    summary = {"mean": value.mean(skipna=False), "sd": value.std(skipna=False), "n": value.size().astype("Int64")}
    return pd.DataFrame({**summary, "seeds": groups["seed"].agg(tuple), "values": value.agg(tuple)}).reset_index()


def averaged_tasks(tidy: pd.DataFrame, tasks: Mapping[str, Task]) -> list[str]:
    """Name the tasks that every model has a development result for and that count in averages."""
    models_of = tidy[is_development(tidy["split"])].groupby("task")["model"].nunique()
    number = tidy["model"].nunique()
    return [name for name, task in tasks.items() if task.in_average and models_of.get(name) == number]


def average_over_tasks(tidy: pd.DataFrame, tasks: Mapping[str, Task]) -> pd.DataFrame:
    """Average each model's development results over the tasks that all models have, seed by seed.

    A task with several numbers (two metrics, or MNLI's two sets) first gets their mean, so that each task counts
    once. A seed counts if all of the tasks have it.

    Returns:
        Rows like those of `tidy`, of task `average` and metric `mean`; none if fewer than two tasks count.
    """
    names = averaged_tasks(tidy, tasks)
    counted = tidy[is_development(tidy["split"]) & tidy["task"].isin(names if len(names) > 1 else [])]
    of_task = counted.groupby(["model", "seed", "task"], sort=False)["value"].mean(skipna=False)
    of_seed = of_task.groupby(["model", "seed"], sort=False)
    average = of_seed.mean(skipna=False)[of_seed.size() == len(names)]
    return average.reset_index().assign(task=AVERAGE, split="valid", metric="mean")


def is_development(split: pd.Series) -> pd.Series:
    """Tell the development sets (`valid`, and `valid1` for MNLI mismatched) from test sets."""
    return split.str.startswith("valid")
