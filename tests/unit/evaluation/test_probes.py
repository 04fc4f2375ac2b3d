"""Probes: a classifier on frozen embeddings, against scikit-learn by hand, of sentences and of pairs."""

import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.preprocessing import StandardScaler

from cross_thought.config import load_config
from cross_thought.data.definitions import EmbeddingTask
from cross_thought.data.embedding_tasks import embedding_task_from_config
from cross_thought.data.prepared import Example, write_prepared
from cross_thought.errors import UserError
from cross_thought.evaluation.embeddings import (
    embeddings_document,
    evaluate_task,
    evaluate_words,
    read_pairs,
    write_pairs,
)
from cross_thought.evaluation.probes import Probes
from cross_thought.files import write_json
from cross_thought.tables.embeddings import embedding_rows, embeddings_page

OWN = {
    "evaluation": "probe",
    "files": {"train": "a.tsv", "valid": "b.tsv"},
    "input_columns": ["text"],
    "label_column": "label",
    "labels": ["no", "yes"],
    "metrics": ["f1", "accuracy"],
}


def task_of(name: str, entry: dict, tasks: dict | None = None) -> EmbeddingTask:
    """Return the task that a config describes."""
    return embedding_task_from_config(name, {"embedding_tasks": {name: entry}, "tasks": tasks or {}})


def encoder(sentences: list[str]) -> np.ndarray:
    """Return vectors of a sentence's own, the same each time, with a trace of its first letter."""
    rows = [np.random.default_rng(list(sentence.encode())).normal(size=6) for sentence in sentences]
    return np.asarray(
        [row + (2 if sentence[0] == "y" else -2) * np.eye(6)[0] for row, sentence in zip(rows, sentences, strict=True)],
        np.float32,
    )


def write(folder: Path, *, width: int = 1) -> dict[str, list[Example]]:
    """Write a prepared task in which most sentences begin with their label."""
    splits = {}
    for split, size in (("train", 60), ("valid", 30)):
        labels = ["yes" if number % 3 else "no" for number in range(size)]
        splits[split] = [
            Example(
                label, tuple(f"{label if number % 10 else 'yn'} {split} {number} {place}" for place in range(width))
            )
            for number, label in enumerate(labels)
        ]
        write_prepared(folder / f"{split}.tsv", splits[split])
    return splits


@pytest.mark.parametrize("width", [1, 2])
def test_a_probe_is_a_logistic_regression_on_embeddings_as_they_are(width: int, tmp_path: Path) -> None:
    splits = write(tmp_path, width=width)
    write_json(tmp_path / "summary.json", {"train": {"examples": 100, "used": 60}, "valid": {}})
    task = task_of("mine", OWN | {"input_columns": ["text", "more"][:width]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs, counts = evaluate_task(task, tmp_path, encoder)
    assert counts == {"train, valid": {"sentences": 90 * width, "cut": 0}, "train": {"used": 60, "available": 100}}
    found = pairs["valid"]
    assert isinstance(found, Probes)
    assert (found.row, found.label) == (list(range(30)), [example.label for example in splits["valid"]])

    def features(examples: list[Example]) -> np.ndarray:
        sides = [encoder([example.sentences[place] for example in examples]) for place in range(width)]
        if width == 1:
            return sides[0]
        return np.hstack([*sides, np.abs(sides[0] - sides[1]), sides[0] * sides[1]])

    scaler = StandardScaler().fit(features(splits["train"]))
    choices = [
        LogisticRegression(C=strength, max_iter=1000).fit(
            scaler.transform(features(splits["train"])), [example.label for example in splits["train"]]
        )
        for strength in np.logspace(-4, 4, 10)
    ]
    answers = [list(choice.predict(scaler.transform(features(splits["valid"])))) for choice in choices]
    assert found.prediction in answers
    assert np.mean([one == other for one, other in zip(found.prediction, found.label, strict=True)]) > 0.8

    document = embeddings_document(model="m", task=task, seed=1, pooling="mean", pairs=pairs, counts=counts)
    split = document["splits"]["valid"]
    assert split["num_examples"] == 30
    assert split["metrics"]["f1"] == pytest.approx(f1_score(found.label, found.prediction, pos_label="yes"))
    assert split["chance"]["accuracy"] == pytest.approx(20 / 30)
    write_pairs(tmp_path / "pairs.tsv", pairs)
    assert read_pairs(tmp_path / "pairs.tsv") == pairs


def test_bags_of_words_are_probed_as_well_and_the_table_says_so(tmp_path: Path) -> None:
    write(tmp_path, width=2)
    task = task_of("mine", OWN | {"input_columns": ["text", "more"]})
    pairs = evaluate_words(task, tmp_path)
    assert list(pairs) == ["tf-idf"]
    lexical = embeddings_document(model="tf-idf", task=task, seed=None, pooling=None, pairs=pairs["tf-idf"])
    assert lexical["splits"]["valid"]["metrics"]["accuracy"] > 0.9  # the words are the labels
    found, counts = evaluate_task(task, tmp_path, encoder)
    counts["train"] = {"used": 60, "available": 100}
    ours = embeddings_document(model="m", task=task, seed=1, pooling="mean", pairs=found, counts=counts)
    rows = embedding_rows([ours], [lexical], models=["m"], tasks={"mine": task})
    page = embeddings_page(rows, tasks={"mine": task}, documents=[ours])
    assert page.sections[0].heading == "mine (valid), probe: 30 examples"
    assert list(page.sections[0].cells) == ["model", "F1", "acc."]
    assert list(page.sections[0].cells["model"]) == ["m", "tf-idf", "chance"]
    assert page.sections[0].cells["acc."][2] == "66.7"
    notes = "\n".join(page.notes)
    assert "Probe: a logistic regression on embeddings that stay as they are" in notes
    assert "mine: probed with 60 of its 100 training examples." in notes
    assert not any(math.isnan(mean) for mean in rows["mean"])


def test_what_can_be_probed() -> None:
    sst = task_of("SST-2", {"evaluation": "probe"})
    assert (sst.evaluation, sst.splits, sst.metrics, sst.lexical) == ("probe", ("valid",), ("accuracy",), ("tf-idf",))
    assert task_of("MRPC", {"evaluation": "probe", "metrics": ["macro_f1"]}).metrics == ("macro_f1",)
    own = {key: value for key, value in OWN.items() if key != "evaluation"}
    assert task_of("mine", {"evaluation": "probe"}, {"mine": own}).metrics == ("f1", "accuracy")
    config = load_config({"tasks": {"SST-2": {}}, "embedding_tasks": {"SST-2": {"evaluation": "probe"}}})
    assert embedding_task_from_config("SST-2", config) == sst


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("STS-B", {}, "embedding_tasks.STS-B.evaluation is 'probe', but the task has not labels"),
        ("WikiQA", {}, "embedding_tasks.WikiQA.evaluation is 'probe', but the task has not labels"),
        ("AX", {}, "embedding_tasks.AX.evaluation is 'probe', but the task has not a train set with labels"),
        ("MRPC", {"positive_label": "1"}, "embedding_tasks.MRPC.positive_label is of no use to a probe"),
        ("mine", OWN | {"files": {"train": "a.tsv"}}, "has not another set with labels"),
        ("mine", OWN | {"evaluation": None}, "embedding_tasks.mine.metrics is of a probe: set evaluation to probe"),
    ],
)
def test_what_cannot_be_probed_is_refused(name: str, entry: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        task_of(name, {"evaluation": "probe"} | entry)


def test_a_label_with_one_example_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    write_prepared(tmp_path / "train.tsv", [Example("yes", ("a",)), Example("yes", ("b",)), Example("no", ("c",))])
    with pytest.raises(UserError, match="mine: one example alone to train on has the label 'no', and a probe's"):
        evaluate_task(task_of("mine", OWN), tmp_path, encoder)
