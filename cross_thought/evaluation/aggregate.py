"""From one fine-tuned model's `metrics.json` to mean, sd and n over seeds, and to averages over tasks."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cross_thought.data.tasks import EmbeddingTask, Task
from cross_thought.errors import UserError

AVERAGE = "average"


@dataclass(frozen=True)
class Summary:
    """One metric of one model on one split, over seeds; values are fractions, None where undefined."""

    model: str
    task: str
    split: str
    metric: str
    seeds: tuple[int, ...]
    values: tuple[float | None, ...]
    num_examples: int
    num_train_examples: int | None = None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def mean(self) -> float | None:
        """Mean over the seeds; None if any seed's value is undefined."""
        return _mean(self.values)

    @property
    def sd(self) -> float | None:
        """Sample standard deviation over the seeds (n - 1 in the denominator); None below two seeds."""
        values = all_or_none(self.values)
        return None if values is None or len(values) < 2 else statistics.stdev(values)


def all_or_none(values: Iterable[float | None]) -> list[float] | None:
    """Return the values if every one is defined, else None: leaving one out would flatter."""
    values = list(values)
    defined = [value for value in values if value is not None]
    return defined if len(defined) == len(values) else None


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


def summarise(
    documents: Iterable[Mapping], *, models: Sequence[str], tasks: Mapping[str, Task | EmbeddingTask]
) -> list[Summary]:
    """Gather the seeds of each (model, task, split, metric), in the order of `models` and `tasks`.

    Raises:
        UserError: if a seed of a model and task comes twice.
    """
    by_run: dict[tuple[str, str], dict[int, Mapping]] = {}
    for document in documents:
        seeds = by_run.setdefault((document["model"], document["task"]), {})
        if document["seed"] in seeds:
            raise UserError("{model}, {task}: seed {seed} comes twice".format_map(document))
        seeds[document["seed"]] = document
    summaries = []
    for model in models:
        for task in tasks.values():
            runs = sorted(by_run.get((model, task.name), {}).items())
            if not runs:
                continue
            first = runs[0][1]
            for split, scored in first["splits"].items():
                for metric in task.metrics:
                    summaries.append(
                        Summary(
                            model=model,
                            task=task.name,
                            split=split,
                            metric=metric,
                            seeds=tuple(seed for seed, _ in runs),
                            values=tuple(run["splits"][split]["metrics"][metric] for _, run in runs),
                            num_examples=scored["num_examples"],
                            num_train_examples=first.get("num_train_examples"),
                        )
                    )
    return summaries


def averaged_tasks(summaries: Iterable[Summary], tasks: Mapping[str, Task]) -> list[str]:
    """Name the tasks that every model has a development result for and that count in averages."""
    models_of: dict[str, set[str]] = {}
    models = set()
    for summary in summaries:
        models.add(summary.model)
        if is_development(summary.split):
            models_of.setdefault(summary.task, set()).add(summary.model)
    return [name for name, task in tasks.items() if task.in_average and models_of.get(name) == models]


def average_over_tasks(summaries: Sequence[Summary], tasks: Mapping[str, Task]) -> list[Summary]:
    """Average each model's development results over the tasks that all models have.

    A task with several numbers (two metrics, or MNLI's two sets) first gets their mean, so that each task counts
    once. The average is taken seed by seed, over the seeds that all of the tasks have; its sd is over those.

    Returns:
        One summary a model, of task `average` and metric `mean`; none if fewer than two tasks count.
    """
    names = averaged_tasks(summaries, tasks)
    if len(names) < 2:
        return []
    averages = []
    for model in dict.fromkeys(summary.model for summary in summaries):
        of_task: dict[str, list[dict[int, float | None]]] = {}
        for summary in summaries:
            if summary.model == model and summary.task in names and is_development(summary.split):
                values = dict(zip(summary.seeds, summary.values, strict=True))
                of_task.setdefault(summary.task, []).append(values)
        columns = [column for columns in of_task.values() for column in columns]
        seeds = sorted(set.intersection(*(set(column) for column in columns)))
        if not seeds:
            continue
        averages.append(
            Summary(
                model=model,
                task=AVERAGE,
                split="valid",
                metric="mean",
                seeds=tuple(seeds),
                values=tuple(_mean(_mean(c[seed] for c in columns) for columns in of_task.values()) for seed in seeds),
                num_examples=0,
            )
        )
    return averages


def is_development(split: str) -> bool:
    """Tell the development sets (`valid`, and `valid1` for MNLI mismatched) from test sets."""
    return split.startswith("valid")


def _mean(values: Iterable[float | None]) -> float | None:
    defined = all_or_none(values)
    return None if defined is None else statistics.fmean(defined)
