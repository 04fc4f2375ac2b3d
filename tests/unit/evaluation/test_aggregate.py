"""Means, deviations and averages against values worked out by hand."""

import json
from pathlib import Path

import pytest

from cross_thought.data.tasks import TASKS
from cross_thought.errors import UserError
from cross_thought.evaluation.aggregate import Summary, average_over_tasks, averaged_tasks, read_metrics, summarise


def document(model: str, task: str, seed: int, **splits: dict[str, float | None]) -> dict:
    """Return a metrics.json document."""
    scored = {split: {"num_examples": 10, "metrics": metrics} for split, metrics in splits.items()}
    return {"model": model, "task": task, "seed": seed, "num_train_examples": 5, "splits": scored}


def summary(*values: float | None) -> Summary:
    """Return a summary of these seeds' values."""
    return Summary("m", "RTE", "valid", "accuracy", tuple(range(len(values))), values, 10)


def test_mean_and_sample_deviation() -> None:
    three = summary(0.6, 0.7, 0.8)
    assert (three.mean, three.sd, three.n) == (pytest.approx(0.7), pytest.approx(0.1), 3)
    assert (summary(0.6).mean, summary(0.6).sd, summary(0.6).n) == (0.6, None, 1)


def test_an_undefined_seed_leaves_no_mean() -> None:
    assert (summary(0.6, None).mean, summary(0.6, None).sd) == (None, None)


def test_summarise_orders_and_gathers() -> None:
    documents = [
        document("b", "RTE", 2, valid={"accuracy": 0.4}),
        document("a", "RTE", 2, valid={"accuracy": 0.2}),
        document("a", "RTE", 1, valid={"accuracy": 0.1}),
        document("a", "MRPC", 1, valid={"accuracy": 0.3, "f1": 0.5}),
    ]
    tasks = {name: TASKS[name] for name in ("MRPC", "RTE")}
    found = summarise(documents, models=["a", "b"], tasks=tasks)
    assert [(s.model, s.task, s.metric, s.seeds, s.values) for s in found] == [
        ("a", "MRPC", "accuracy", (1,), (0.3,)),
        ("a", "MRPC", "f1", (1,), (0.5,)),
        ("a", "RTE", "accuracy", (1, 2), (0.1, 0.2)),
        ("b", "RTE", "accuracy", (2,), (0.4,)),
    ]
    with pytest.raises(UserError, match="a, RTE: seed 1 comes twice"):
        summarise([documents[2], documents[2]], models=["a"], tasks=tasks)


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
    (average,) = average_over_tasks(summarise(documents, models=["a"], tasks=tasks), tasks)
    assert average.seeds == (1, 2)
    assert average.values == pytest.approx(((0.5 + 0.7 + 0.7) / 3, (0.6 + 0.7 + 0.7) / 3))
    assert average.sd == pytest.approx(0.1 / 3 / 2**0.5)


def test_average_only_over_tasks_that_all_models_have() -> None:
    tasks = {name: TASKS[name] for name in ("RTE", "QNLI", "SST-2")}
    documents = [document(m, t, 1, valid={"accuracy": 0.5}) for m in "ab" for t in ("RTE", "QNLI")]
    documents.append(document("a", "SST-2", 1, valid={"accuracy": 0.9}))
    summaries = summarise(documents, models=["a", "b"], tasks=tasks)
    assert averaged_tasks(summaries, tasks) == ["RTE", "QNLI"]
    assert [s.mean for s in average_over_tasks(summaries, tasks)] == [0.5, 0.5]
    # One task is no average.
    assert average_over_tasks([s for s in summaries if s.task == "RTE"], tasks) == []


def test_read_metrics_refusals(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    with pytest.raises(UserError, match=r"metrics\.json is missing: run"):
        read_metrics([path])
    path.write_text(json.dumps({"model": "a"}))
    with pytest.raises(UserError, match="is no metrics file"):
        read_metrics([path])
