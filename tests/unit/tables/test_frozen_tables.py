"""The CSV tables of frozen results, byte for byte: their columns, their order, their digits."""

from pathlib import Path

import pytest

from cross_thought.data.tasks import TASKS, tasks_of
from cross_thought.environment import REPOSITORY
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import SplitPredictions
from cross_thought.tables.layout import csv_text
from cross_thought.tables.tasks import task_rows
from tests.unit.synthetic import Results, tabulate

FROZEN = Path(__file__).parent / "frozen"


@pytest.fixture(scope="module")
def tables(shared_results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write all tables of the synthetic results."""
    folder = tmp_path_factory.mktemp("frozen") / "tables"
    tabulate(shared_results, folder)
    return folder


@pytest.mark.parametrize("name", ["tasks", "embeddings", "pretraining", "masked_words", "cross_path", "ablations"])
def test_tables(name: str, tables: Path) -> None:
    assert (tables / f"{name}.csv").read_text() == (FROZEN / f"{name}.csv").read_text()


def test_other_kinds_of_tasks_and_what_has_no_value() -> None:
    """Answer selection, a test set with labels, one seed, constant predictions, a control without a result."""
    entailment, rankings = ["entailment", "neutral", "contradiction"] * 8, ["1 2 3 4", "4 2 1 3", "3 4 2 1", "2 1 4 3"]
    answered = {
        ("b", "SNLI", 7): {"valid": (entailment, entailment[:20] + entailment[:4]), "test": (entailment, entailment)},
        ("a", "SNLI", 7): {"valid": (entailment, ["neutral"] * 24), "test": (entailment, [*entailment[1:], "neutral"])},
        ("b", "STS-B", 7): {"valid": (["1", "2.5", "4"], ["3", "3", "3"])},
        **{("b", "demo-answer", seed): {"valid": (["1", "2"] * 20, rankings[-seed:] * 40)} for seed in (1, 2)},
        **{("a", "demo-answer", seed): {"valid": (["1", "2"] * 20, rankings[:seed] * 40)} for seed in (1, 2)},
    }
    predictions = {
        run: {
            split: SplitPredictions(list(map(str, range(len(labels)))), labels, guesses[: len(labels)])
            for split, (labels, guesses) in splits.items()
        }
        for run, splits in answered.items()
    }
    documents = [
        metrics_document(model=model, task=TASKS[name], seed=seed, predictions=splits, num_train_examples=None)
        for (model, name, seed), splits in sorted(predictions.items())
    ]
    rows = task_rows(
        documents,
        predictions,
        models=["b", "a"],
        tasks=tasks_of({name: {} for name in ("SNLI", "demo-answer", "STS-B")}),
        control="a",
        references_path=REPOSITORY / "resources" / "reference_results.tsv",
    )
    assert csv_text(rows) == (FROZEN / "other_tasks.csv").read_text()
