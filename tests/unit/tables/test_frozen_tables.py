"""The CSV tables of frozen results, byte for byte: their columns, their order, their digits."""

from pathlib import Path

import pytest

from cross_thought.data.tasks import TASKS
from cross_thought.environment import REPOSITORY
from cross_thought.evaluation.metrics import metrics_document
from cross_thought.evaluation.predictions import SplitPredictions, write_predictions
from cross_thought.files import write_json
from tests.unit.synthetic import Results, script, tabulate

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


def test_other_kinds_of_tasks_and_what_has_no_value(tmp_path: Path) -> None:
    """Answer selection, a test set with labels, one seed, constant predictions, a control without a result."""
    entailment, rankings = ["entailment", "neutral", "contradiction"] * 8, ["1 2 3 4", "4 2 1 3", "3 4 2 1", "2 1 4 3"]
    answered = {
        ("b", "SNLI", 7): {"valid": (entailment, entailment[:20] + entailment[:4]), "test": (entailment, entailment)},
        ("a", "SNLI", 7): {"valid": (entailment, ["neutral"] * 24), "test": (entailment, [*entailment[1:], "neutral"])},
        ("b", "STS-B", 7): {"valid": (["1", "2.5", "4"], ["3", "3", "3"])},
        **{("b", "demo-answer", seed): {"valid": (["1", "2"] * 20, rankings[-seed:] * 40)} for seed in (1, 2)},
        **{("a", "demo-answer", seed): {"valid": (["1", "2"] * 20, rankings[:seed] * 40)} for seed in (1, 2)},
    }
    for (model, name, seed), splits in answered.items():
        folder = tmp_path / model / name / f"seed-{seed}"
        folder.mkdir(parents=True)
        predictions = {
            split: SplitPredictions(list(map(str, range(len(labels)))), labels, guesses[: len(labels)])
            for split, (labels, guesses) in splits.items()
        }
        write_predictions(folder / "predictions.tsv", predictions)
        document = metrics_document(
            model=model, task=TASKS[name], seed=seed, predictions=predictions, num_train_examples=None
        )
        write_json(folder / "metrics.json", document)
    script("tabulate_tasks")(
        sorted(tmp_path.glob("*/*/*/metrics.json")),
        models=["b", "a"],
        task_entries={name: {} for name in ("SNLI", "demo-answer", "STS-B")},
        control="a",
        references=REPOSITORY / "resources" / "reference_results.tsv",
        files={form: str(tmp_path / f"table.{form}") for form in ("csv", "markdown", "latex")},
    )
    assert (tmp_path / "table.csv").read_text() == (FROZEN / "other_tasks.csv").read_text()
