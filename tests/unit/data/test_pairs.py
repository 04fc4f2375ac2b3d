"""What an encoder is tuned on: positive pairs and hard negatives of a task, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from cross_thought.config import load_config
from cross_thought.data.pairs import PairTask, pair_tasks_of, place_of, shown_name, training_pairs, tuned_place
from cross_thought.data.prepared import Example, write_prepared
from cross_thought.errors import UserError

ROWS = [
    ("entailment", "a man sleeps", "a person sleeps"),
    ("contradiction", "a man sleeps", "a man runs"),
    ("neutral", "a man sleeps", "a man sleeps at home"),
    ("entailment", "a man sleeps", "someone is asleep"),
    ("contradiction", "a man sleeps", "nobody sleeps"),
    ("entailment", "a man sleeps", "a person sleeps"),
    ("entailment", "a dog", "a dog "),
    ("entailment", "a cat sits", "an animal sits"),
]


def write(tmp_path: Path, rows: list[tuple[str, str, str]] = ROWS) -> Path:
    write_prepared(tmp_path / "train.tsv", [Example(label, tuple(sentences)) for label, *sentences in rows])
    return tmp_path / "train.tsv"


def test_each_positive_pair_comes_once(tmp_path: Path) -> None:
    pairs, counts = training_pairs(PairTask(name="mine", positive_label="entailment"), write(tmp_path))
    assert pairs == {
        "anchor": ["a man sleeps", "a man sleeps", "a cat sits"],
        "positive": ["a person sleeps", "someone is asleep", "an animal sits"],
    }
    assert counts == {"pairs": 3, "repeated": 1, "equal": 1, "unopposed": 0}


def test_a_contradiction_is_a_hard_negative_of_its_premise(tmp_path: Path) -> None:
    task = PairTask(name="mine", positive_label="entailment", negative_label="contradiction")
    pairs, counts = training_pairs(task, write(tmp_path))
    assert pairs == {
        "anchor": ["a man sleeps", "a man sleeps"],
        "positive": ["a person sleeps", "someone is asleep"],
        "negative": ["a man runs", "nobody sleeps"],
    }
    assert counts == {"pairs": 2, "repeated": 1, "equal": 1, "unopposed": 1}


def test_an_anchor_and_its_positives_are_no_hard_negatives(tmp_path: Path) -> None:
    task = PairTask(name="mine", positive_label="entailment", negative_label="contradiction")
    contradicting = [
        ("contradiction", "a man sleeps", "a person sleeps"),
        ("contradiction", "a man sleeps", "a man sleeps "),
        ("contradiction", "a cat sits", "an animal sits"),
        ("contradiction", "a cat sits", "a cat sits"),
    ]
    pairs, counts = training_pairs(task, write(tmp_path, contradicting + ROWS))
    assert (pairs, counts) == training_pairs(task, write(tmp_path))
    assert pairs["negative"] == ["a man runs", "nobody sleeps"]
    assert counts["unopposed"] == 1


def test_pairs_without_labels_all_belong_together(tmp_path: Path) -> None:
    pairs, _ = training_pairs(PairTask(name="mine"), write(tmp_path, [("", "a", "b"), ("", "c", "d")]))
    assert pairs == {"anchor": ["a", "c"], "positive": ["b", "d"]}


def test_one_pair_has_no_negatives(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 pairs of two different sentences with the label 'entailment', and tuning"):
        training_pairs(PairTask(name="mine", positive_label="entailment"), write(tmp_path, ROWS[-1:]))


def tasks(pairs: dict[str, Any], **config: Any) -> dict[str, PairTask]:
    return pair_tasks_of(load_config({"embedding_tuning": {"pairs": pairs}, **config}))


def test_labels_of_known_tasks_are_known() -> None:
    found = tasks({"SNLI": {}, "QQP": None, "MNLI": {"negative_label": None}})
    assert found == {
        "SNLI": PairTask(name="SNLI", positive_label="entailment", negative_label="contradiction"),
        "QQP": PairTask(name="QQP", positive_label="1"),
        "MNLI": PairTask(name="MNLI", positive_label="entailment"),
    }


def test_a_task_of_the_config_and_files_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("a\tb\n", encoding="utf-8")
    own = {"files": {"train": str(path)}, "input_columns": [1, 2], "header": False}
    labelled = own | {"files": {"train": str(path), "valid": str(path)}, "label_column": 3, "labels": ["x", "y"]}
    assert tasks({"mine": own}) == {"mine": PairTask(name="mine")}
    with pytest.raises(UserError, match="mine.positive_label is '2', but the task has no labels: leave it out"):
        tasks({"mine": own | {"positive_label": "2"}})
    found = tasks({"mine": {"positive_label": "y"}}, tasks={"mine": labelled})
    assert found == {"mine": PairTask(name="mine", positive_label="y")}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"STS-B": {}}, "embedding_tuning.pairs.STS-B has scores: tuning needs labels"),
        ({"CoLA": {}}, "embedding_tuning.pairs.CoLA has single sentences: tuning needs a task of sentence pairs"),
        ({"AX": {}}, "embedding_tuning.pairs.AX has no train file"),
        ({"nope": {}}, "embedding_tuning.pairs.nope is unknown: choose from CoLA"),
        ({"MRPC": {"positive_label": "2"}}, "embedding_tuning.pairs.MRPC.positive_label is '2': choose from"),
        ({"QQP": {"negative_label": "1"}}, "positive_label and negative_label are both '1'"),
        ({"demo-match": {"max_train_examples": 9}}, "the data of demo-match are those of tasks.demo-match"),
    ],
)
def test_what_is_no_pairs_is_refused(pairs: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        tasks(pairs)
    assert message in str(caught.value)


def test_a_tuned_model_has_one_name_in_paths_and_one_in_tables() -> None:
    assert shown_name(tuned_place("cross_thought", "SNLI")) == "cross_thought (tuned on SNLI)"
    assert place_of("cross_thought (tuned on SNLI)") == tuned_place("cross_thought", "SNLI")
    assert place_of("mlm") == "mlm"
    assert shown_name("mlm") == "mlm"
