"""Means, deviations and averages against values worked out by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.evaluation.aggregate import (
    average_over_tasks,
    averaged_tasks,
    over_seeds,
    read_metrics,
    tidy_results,
)


def document(model: str, task: str, seed: int, **splits: dict[str, float | None]) -> dict:
    """Return a metrics.json document."""
    scored = {split: {"num_examples": 10, "metrics": metrics} for split, metrics in splits.items()}
    return {"model": model, "task": task, "seed": seed, "num_train_examples": 5, "splits": scored}


def summary(*values: float | None) -> Any:
    """Return the summary of these seeds' values, in percent."""
    documents = [document("m", "RTE", seed, valid={"accuracy": value}) for seed, value in enumerate(values)]
    (row,) = over_seeds(tidy_results(documents, models=["m"], tasks=TASKS)).itertuples()
    return row


def test_mean_and_sample_deviation() -> None:
    three = summary(0.6, 0.7, 0.8)
    assert (three.mean, three.sd, three.n) == (pytest.approx(70), pytest.approx(10), 3)
    one = summary(0.6)
    assert (one.mean, math.isnan(one.sd), one.n) == (60, True, 1)


def test_an_undefined_seed_leaves_no_mean() -> None:
    undefined = summary(0.6, None)
    assert math.isnan(undefined.mean)
    assert math.isnan(undefined.sd)
    assert undefined.n == 2


def test_results_are_gathered_in_order() -> None:
    documents = [
        document("b", "RTE", 2, valid={"accuracy": 0.4}),
        document("a", "RTE", 2, valid={"accuracy": 0.2}),
        document("a", "RTE", 1, valid={"accuracy": 0.1}),
        document("a", "MRPC", 1, valid={"accuracy": 0.3, "f1": 0.5}),
    ]
    tasks = {name: TASKS[name] for name in ("MRPC", "RTE")}
    tidy = tidy_results(documents, models=["a", "b"], tasks=tasks)
    assert list(tidy["value"]) == [30, 50, 10, 20, 40]
    assert list(tidy["num_train_examples"]) == [5] * 5
    assert [(s.model, s.task, s.metric, s.seeds, s.values) for s in over_seeds(tidy).itertuples()] == [
        ("a", "MRPC", "accuracy", (1,), (30,)),
        ("a", "MRPC", "f1", (1,), (50,)),
        ("a", "RTE", "accuracy", (1, 2), (10, 20)),
        ("b", "RTE", "accuracy", (2,), (40,)),
    ]
    with pytest.raises(UserError, match="a, RTE: seed 1 comes twice"):
        tidy_results([documents[2], documents[2]], models=["a"], tasks=tasks)


def test_average_counts_each_task_once_seed_by_seed() -> None:
    tasks = {name: TASKS[name] for name in ("RTE", "MNLI", "MRPC", "WNLI")}
    documents = []
    for seed, shift in ((1, 0.0), (2, 0.1)):
        documents += [
            document("a", "RTE", seed, valid={"accuracy": 0.5 + shift}),
            document("a", "MNLI", seed, valid={"accuracy": 0.6}, valid1={"accuracy": 0.8}),
            document("a", "MRPC", seed, valid={"accuracy": 0.6, "f1": 0.8}, test={"accuracy": 0.0, "f1": 0.0}),
            document("a", "WNLI", seed, valid={"accuracy": 0.0}),
        ]
    documents.append(document("a", "RTE", 3, valid={"accuracy": 0.9}))  # a seed that the other tasks lack
    (average,) = over_seeds(average_over_tasks(tidy_results(documents, models=["a"], tasks=tasks), tasks)).itertuples()
    assert (average.task, average.seeds) == ("average", (1, 2))
    assert average.values == pytest.approx((100 * (0.5 + 0.7 + 0.7) / 3, 100 * (0.6 + 0.7 + 0.7) / 3))
    assert average.sd == pytest.approx(10 / 3 / 2**0.5)


def test_average_only_over_tasks_that_all_models_have() -> None:
    tasks = {name: TASKS[name] for name in ("RTE", "QNLI", "SST-2")}
    documents = [document(m, t, 1, valid={"accuracy": 0.5}) for m in "ab" for t in ("RTE", "QNLI")]
    documents.append(document("a", "SST-2", 1, valid={"accuracy": 0.9}))
    tidy = tidy_results(documents, models=["a", "b"], tasks=tasks)
    assert averaged_tasks(tidy, tasks) == ["RTE", "QNLI"]
    assert list(average_over_tasks(tidy, tasks)["value"]) == [50, 50]
    # One task is no average.
    assert average_over_tasks(tidy[tidy["task"] == "RTE"], tasks).empty


def test_read_metrics_refusals(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(UserError, match=r"metrics\.json is missing: run"):
        read_metrics([path])
    path.write_text(json.dumps({"model": "a"}))
    with pytest.raises(UserError, match="is no metrics file"):
        read_metrics([path])
