"""Reading and writing predictions and histories."""

from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.evaluation.history import of_split, read_history
from cross_thought.evaluation.predictions import SplitPredictions, read_predictions, write_predictions


def test_predictions_survive_writing_and_reading(tmp_path: Path) -> None:
    splits = {
        "valid": SplitPredictions(
            ["0", "1"], ["a", "b\u2028c"], ["a", "a"], {"a": [0.75, 0.5], "b\u2028c": [0.25, 0.5]}
        ),
        "test": SplitPredictions(["0"], [""], ["b\u2028c"], {"a": [0.0], "b\u2028c": [1.0]}),
    }
    write_predictions(tmp_path / "predictions.tsv", splits)
    assert read_predictions(tmp_path / "predictions.tsv") == splits
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.tsv"]
    assert splits["valid"].has_labels
    assert not splits["test"].has_labels


def test_predictions_refusals(tmp_path: Path) -> None:
    path = tmp_path / "predictions.tsv"
    with pytest.raises(UserError, match=r"predictions\.tsv is missing: run"):
        read_predictions(path)
    path.write_text("split\tindex\tlabel\n")
    with pytest.raises(UserError, match="line 1: the columns are split, index, label"):
        read_predictions(path)
    path.write_text("split\tindex\tlabel\tprediction\nvalid\t0\t1\n")
    with pytest.raises(UserError, match="line 2: 3 fields, expected 4"):
        read_predictions(path)


def test_history(tmp_path: Path) -> None:
    path = tmp_path / "mlm" / "seed-7" / "history.tsv"
    path.parent.mkdir(parents=True)
    path.write_text(
        "split\tnum_updates\tloss\tppl\tlearning_rate\telapsed_s\n"
        "train\t100\t5.0\t32\t0.1\t10\n"
        "valid\t100\t4.0\t16\t\t11\n"
        "train\t200\t3.5\t11\t0.1\t20\n"
        "valid\t200\t3.0\t8\t\t21\n"
        "valid\t200\t2.0\t4\t\t31\n"
    )
    history = read_history(path)
    assert set(zip(history["model"], history["seed"], strict=True)) == {("mlm", 7)}
    # Of two lines for one update, as after a resume, the later one counts.
    assert [(line.num_updates, line.loss) for line in of_split(history, "valid").itertuples()] == [
        (100, 4.0),
        (200, 2.0),
    ]
    assert of_split(history, "valid")["elapsed_s"].iloc[-1] == 31
    assert of_split(history, "train")["tokens"].isna().all()


def test_history_refusals(tmp_path: Path) -> None:
    path = tmp_path / "mlm" / "seed-7" / "history.tsv"
    with pytest.raises(UserError, match=r"history\.tsv is missing: run"):
        read_history(path)
    path.parent.mkdir(parents=True)
    path.write_text("split\tloss\nvalid\t4\n")
    with pytest.raises(UserError, match="no training history"):
        read_history(path)
    path.write_text("split\tnum_updates\tloss\n")
    with pytest.raises(UserError, match="no line but its header"):
        read_history(path)
