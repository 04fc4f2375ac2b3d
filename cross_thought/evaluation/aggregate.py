"""From `metrics.json` files to a tidy frame, a row a number and seed; from there to mean, sd and n over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from cross_thought.data.definitions import EmbeddingTask, RetrievalTask, Task
from cross_thought.errors import UserError
from cross_thought.evaluation.result_files import read_documents

AVERAGE = "average"
KEYS = ["model", "task", "split", "metric"]


def read_metrics(paths: Iterable[Path | str]) -> list[dict]:
    """Read `metrics.json` files; a UserError says that one is missing or is none."""
    return read_documents(paths, "metrics file", keys=("model", "task", "seed", "splits"))


def tidy_results(
    documents: Iterable[Mapping], *, models: Sequence[str], tasks: Mapping[str, Task | EmbeddingTask | RetrievalTask]
) -> pd.DataFrame:
    """Gather metrics in a frame of one row a number, in the order of `models`, `tasks` and seeds.

    Its columns are model, task, seed, num_train_examples, split, metric, value (in percent, NaN where undefined) and
    num_examples. A UserError says that a seed of a model and task comes twice.
    """
    counted = [document for document in documents if document["model"] in models and document["task"] in tasks]
    order = list(models), list(tasks)
    counted.sort(key=lambda run: (order[0].index(run["model"]), order[1].index(run["task"]), run["seed"]))
    of_run = ["model", "task", "seed", "num_train_examples"]
    tidy = pd.DataFrame(
        [
            [*map(document.get, of_run), split, metric, scored["metrics"][metric], scored["num_examples"]]
            for document in counted
            for split, scored in document["splits"].items()
            for metric in tasks[document["task"]].metrics
        ],
        columns=[*of_run, "split", "metric", "value", "num_examples"],
    ).astype({"seed": int, "value": float, "num_examples": "Int64", "num_train_examples": "Int64"})
    tidy["value"] *= 100
    for twice in tidy[tidy.duplicated([*KEYS, "seed"])].itertuples():
        raise UserError(f"{twice.model}, {twice.task}: seed {twice.seed} comes twice")
    return tidy


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
    once. A seed counts if all of the tasks have it. Returned are rows like those of `tidy`, of task `average` and
    metric `mean`; none if fewer than two tasks count.
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
