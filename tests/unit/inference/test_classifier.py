"""Predictions with fine-tuned models: Python, files in every form, what a checkpoint must tell, what is refused."""

import csv
import gzip
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch
from checkpoints import TEXT, fine_tuned_state, write_fine_tuned, write_vocabulary
from safetensors.torch import load_file

from cross_thought import SentenceClassifier, SentenceEncoder
from cross_thought.__main__ import main
from cross_thought.data.input_rows import InputRow
from cross_thought.encoder.saved import load_saved
from cross_thought.errors import UserError
from cross_thought.inference import classifier as classifier_module
from cross_thought.inference.classifier import Form, predict_files
from cross_thought.inference.export import export_model
from cross_thought.inference.tally import remarks
from cross_thought.training.checkpoints import load_checkpoint

PAIRS = [(left, right) for left in TEXT for right in (*TEXT, "a", "")] * 4  # 96: more than a batch


def load(path: Path, **options: object) -> SentenceClassifier:
    return SentenceClassifier.from_pretrained(path, device="cpu", **options)


def test_labels_are_the_most_probable(pairs_model: Path) -> None:
    classifier = load(pairs_model)
    probabilities, labels = classifier.predict_proba(PAIRS), classifier.predict(PAIRS)
    assert (probabilities.shape, probabilities.dtype) == ((96, 3), np.float32)
    assert classifier.labels == ("no", "yes", "maybe")
    assert labels == [classifier.labels[place] for place in probabilities.argmax(1)]
    assert len(set(labels)) > 1
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert labels[:24] == labels[24:48]
    assert classifier.predict([]) == []
    assert classifier.predict_proba([]).shape == (0, 3)


def test_the_head_reads_what_the_encoder_makes_of_both_sentences(pairs_model: Path) -> None:
    """The definition, spelled out: softmax(W2 tanh(W1 mean of the crossed slots))."""
    weights = load_checkpoint(pairs_model)["model"]
    head = {name.rpartition("head.")[2]: weight for name, weight in weights.items() if "head." in name}
    encoder = SentenceEncoder.from_pretrained(pairs_model, device="cpu")
    ids = [encoder.tokenizer.token_ids(list(pair)) for pair in PAIRS[:5]]
    states = torch.cat([encoder.encoder.encode_sentences(torch.tensor([[*a, *b]])) for a, b in ids])[:, 0]
    hidden = torch.tanh(states @ head["dense.weight"].T + head["dense.bias"])
    expected = torch.softmax(hidden @ head["out_proj.weight"].T + head["out_proj.bias"], 1)
    np.testing.assert_allclose(load(pairs_model).predict_proba(PAIRS[:5]), expected.numpy(), atol=1e-6)


def test_an_export_carries_the_head(pairs_model: Path, tmp_path: Path) -> None:
    export = pairs_model.parent / "export"
    assert load(export).predict_proba(PAIRS).tolist() == load(pairs_model).predict_proba(PAIRS).tolist()
    config = json.loads((export / "config.json").read_text())
    assert config["id2label"] == {"0": "no", "1": "yes", "2": "maybe"}
    assert config["label2id"] == {"no": 0, "yes": 1, "maybe": 2}
    assert config["problem_type"] == "single_label_classification"
    assert config["fine_tuned_on"]["metrics"] == {"valid": {"accuracy": 0.5}}
    names = {name for name in load_file(export / "model.safetensors") if name.startswith("classification")}
    head = "classification_heads.sentence_classification_head"
    assert names == {f"{head}.{layer}.{kind}" for layer in ("dense", "out_proj") for kind in ("weight", "bias")}
    card = (export / "README.md").read_text()
    assert "\nFine-tuned on mine (classification). Its labels, in the order of the head's outputs: `no`, `yes`" in card
    assert "| valid | accuracy | 50.0 |" in card
    assert 'SentenceClassifier.from_pretrained("FOLDER")' in card
    export_model(export, tmp_path / "again", output_format="safetensors", labels=["nein", "ja", "jein"])
    assert load(tmp_path / "again").predict(PAIRS) == load(pairs_model, labels=["nein", "ja", "jein"]).predict(PAIRS)
    vectors = [SentenceEncoder.from_pretrained(path, device="cpu").encode(TEXT) for path in (export, pairs_model)]
    np.testing.assert_array_equal(*vectors)


def test_an_export_tells_what_the_workflow_measured(tmp_path: Path) -> None:
    results = tmp_path / "results"
    write_vocabulary(results / "bpe/vocabulary")
    place = results / "finetune/model/mine/seed-1"
    place.mkdir(parents=True)
    torch.save(fine_tuned_state(results / "bpe/vocabulary", labels=None, score_scale=5.0), place / "best.pt")
    measured = results / "evaluate/model/mine/seed-1"
    measured.mkdir(parents=True)
    splits = {"valid": {"metrics": {"pearson": 0.876, "spearman": None}}}
    (measured / "metrics.json").write_text(json.dumps({"splits": splits}))
    export_model(place / "best.pt", tmp_path / "export", output_format="safetensors")
    saved = load_saved(tmp_path / "export/config.json", tmp_path / "export/model.safetensors")
    assert saved.task.metrics == {"valid": {"pearson": 0.876, "spearman": None}}
    card = (tmp_path / "export/README.md").read_text()
    assert "| valid | pearson | 87.6 |" in card
    assert "A score is the head's output times 5.0." in card
    assert json.loads((tmp_path / "export/config.json").read_text())["problem_type"] == "regression"


def as_json(rows: list[tuple[str, ...]], *, lists: bool = False) -> str:
    return "".join(json.dumps(list(row) if lists else {"b": row[1], "a": row[0], "c": 1}) + "\n" for row in rows)


def as_csv(rows: list[tuple[str, ...]], separator: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows([("c", "b", "a"), *((1, b, a) for a, b in rows)])
    return text.getvalue()


FORMS: dict[str, tuple[Callable[[list], str | bytes], list[str]]] = {
    "rows.tsv": (lambda rows: "a\tb\n" + "".join(f"{a}\t{b}\n" for a, b in rows), []),
    "rows.txt": (lambda rows: "".join(f"{a}\t7\t{b}\r\n" for a, b in rows), ["--columns", "1", "3", "--no-header"]),
    "rows.csv": (as_csv, []),
    "quoted.tsv": (lambda rows: as_csv(rows, "\t"), ["--format", "quoted-tsv", "--columns", "3", "2"]),
    "rows.jsonl": (as_json, []),
    "lists.json": (lambda rows: as_json(rows, lists=True), ["--columns", "1", "2"]),
    "rows.parquet": (lambda rows: pandas.DataFrame(rows, columns=["a", "b"]).to_parquet(), []),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_files(name: str, packed: bool, pairs_model: Path, tmp_path: Path) -> None:
    write, options = FORMS[name]
    content = write(PAIRS)
    content = content.encode() if isinstance(content, str) else content
    path = tmp_path / (name + ".gz" * packed)
    path.write_bytes(gzip.compress(content) if packed else content)
    output = tmp_path / "out.tsv"
    main(["predict", "--model", str(pairs_model), "--input", str(path), "--output", str(output), *options])
    lines = [f"{index}\t{label}" for index, label in enumerate(load(pairs_model).predict(PAIRS))]
    assert output.read_text().split("\n") == ["index\tprediction", *lines, ""]


def test_stdin_to_stdout(pairs_model: Path) -> None:
    text = FORMS["rows.tsv"][0](PAIRS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cross_thought",
            "predict",
            "--model",
            str(pairs_model.parent / "export"),
            "--probabilities",
        ],
        input=str(text).encode(),
        capture_output=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout.decode()), delimiter="\t"))
    assert list(rows[0]) == ["index", "prediction", "score_no", "score_yes", "score_maybe"]
    expected = load(pairs_model).predict_proba(PAIRS)
    np.testing.assert_allclose(
        [[float(row[f"score_{x}"]) for x in ("no", "yes", "maybe")] for row in rows], expected, atol=1e-5
    )
    assert b"predicted 96 rows" in done.stderr


def test_stdout_is_utf_8_as_a_file_is_whatever_the_locale(tmp_path: Path) -> None:
    model = write_fine_tuned(tmp_path / "model", labels=("\u2713", "\u2717", "?"))
    command = [
        sys.executable,
        "-m",
        "cross_thought",
        "predict",
        "--model",
        str(model),
        "--columns",
        "1",
        "2",
        "--no-header",
    ]
    found = []
    for encoding in ("ascii", "latin-1", "utf-8"):
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, input=b"a\tb\n", capture_output=True, check=True, env=environment)
        found.append(done.stdout)
    assert found[0] == found[1] == found[2]
    assert found[0].decode().splitlines()[1].split("\t")[1] in "\u2713\u2717?"


def test_tokens_that_the_vocabulary_has_not_are_counted(pairs_model: Path) -> None:
    classifier = load(pairs_model)
    classifier.predict([("a \u2603", "b"), ("b", "b")])
    tokenizer = classifier._tokenizer
    ids = [number for row in tokenizer.token_ids(["a \u2603", "b", "b", "b"]) for number in row[1:]]  # without `<s>`
    unknown = sum(number == 3 or number >= tokenizer.vocab_size for number in ids)
    assert (classifier.num_tokens, classifier.num_unknown_tokens) == (len(ids), unknown)
    assert unknown > 0


def test_empty_sentences_are_answered_and_counted(pairs_model: Path) -> None:
    classifier = load(pairs_model)
    assert len(classifier.predict([("a", ""), ("b", "b"), (" ", "")])) == 3
    assert classifier.num_empty_sentences == 3
    assert remarks(classifier)[0] == "3 sentences are empty"


def test_single_sentences_and_scores(tmp_path: Path) -> None:
    one = load(write_fine_tuned(tmp_path / "one", num_sentences=1))
    assert set(one.predict(TEXT)) <= {"no", "yes", "maybe"}
    assert one.predict_proba(TEXT).tolist() == one.predict_proba([(text,) for text in TEXT]).tolist()
    scaled, plain = (load(write_fine_tuned(tmp_path / str(s), labels=None, score_scale=s)) for s in (5.0, 1.0))
    assert scaled.predict(PAIRS[:3]) == [5 * score for score in plain.predict(PAIRS[:3])]


def test_long_sentences_are_cut_as_in_training(tmp_path: Path) -> None:
    classifier = load(write_fine_tuned(tmp_path / "short", num_sentences=1, max_sentence_tokens=6))
    assert classifier.max_seq_length == 7
    long = TEXT[0]
    kept = classifier._tokenizer.tokenizer.decode(classifier._tokenizer.token_ids([long])[0][1:6])
    assert classifier.predict_proba([long]).tolist() == classifier.predict_proba([kept]).tolist()
    assert classifier.num_cut_sentences == 1


def test_answers_of_any_number_are_ranked(tmp_path: Path) -> None:
    classifier = load(write_fine_tuned(tmp_path / "answers", labels=None, num_sentences=4))
    assert classifier.labels is None
    questions = [(TEXT[0], *TEXT[1:]), (TEXT[1], "a", TEXT[0]), (TEXT[2], TEXT[0], "", "b", TEXT[3], "c")]
    rankings, weights = classifier.predict(questions), classifier.predict_proba(questions)
    assert [sorted(ranking) for ranking in rankings] == [[0, 1, 2], [0, 1], [0, 2, 3, 4]]
    for ranking, row in zip(rankings, weights, strict=True):
        assert list(ranking) == sorted(ranking, key=lambda place: -row[place])
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    assert weights[2, 1] == 0
    assert classifier.predict_proba([]).shape == (0, 0)
    encoder = SentenceEncoder.from_pretrained(tmp_path / "answers/best.pt", device="cpu")
    for place, weight in encoder.rank(questions[1][0], questions[1][1:]):
        assert weights[1, place] == pytest.approx(weight, abs=1e-6)


@pytest.mark.parametrize(
    ("about", "said", "given"),
    [
        ({}, "best.pt was fine-tuned before checkpoints told their labels: give their names in the order of the head's "
         "outputs (--labels)", {"labels": ["no", "yes", "maybe"]}),
        ({"labels": None, "score_scale": 5.0}, "best.pt was fine-tuned before checkpoints told their scale: give what "
         "scores were divided by for training, 1 if nothing (--score-scale)", {"score_scale": 5.0}),
    ],
)  # fmt: skip
def test_what_an_older_checkpoint_does_not_tell(
    about: dict, said: str, given: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told = write_fine_tuned(tmp_path / "told", **about)
    old = write_fine_tuned(tmp_path / "old", without=("fine_tuned_on",), **about)
    with pytest.raises(UserError, match=re.escape(said)):
        load(old)
    assert load(old, **given).predict(PAIRS) == load(told).predict(PAIRS)
    caplog.set_level(logging.WARNING)
    export_model(old, tmp_path / "bare", output_format="safetensors")
    assert "its head is left out; give their names (--labels)" in caplog.text
    with pytest.raises(
        UserError, match="bare is an export of an encoder alone: give one of a fine-tuned model, or its"
    ):
        load(tmp_path / "bare")
    export_model(old, tmp_path / "whole", output_format="safetensors", **given)
    assert load(tmp_path / "whole").predict(PAIRS) == load(told).predict(PAIRS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": ["a", "b"]}, "its head has 3 outputs, and 2 labels are given (--labels)"),
        ({"labels": ["a", "a", "b"]}, "which is no labels of a fine-tuned model"),
        ({"labels": "abc"}, "labels 'abc' are one text, whose letters would be taken for names: give a list"),
        ({"score_scale": 5.0}, "it was fine-tuned on classification, which has no scores: leave --score-scale out"),
        ({"precision": "float16"}, "precision 'float16' is none of float32, bfloat16"),
        ({"vocabulary": "."}, "export is an export, which has its own tokenizer: leave the vocabulary out"),
    ],
)
def test_what_does_not_fit_the_model_is_refused(given: dict, said: str, pairs_model: Path) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        load(pairs_model.parent / "export", **given)


@pytest.mark.parametrize(
    ("content", "form", "said"),
    [
        ("a\tx\n1\t2\n", Form(), "in.tsv: no column 'b' among a, x; name the columns of the sentences (`--columns`"),
        ("a\tb\n1\t2\n3\n", Form(), "in.tsv, line 3: 1 fields where 2 are needed"),
        ("a\tb\n1\t2\n3\t4\t5\n", Form(), "in.tsv, line 3: 3 fields where line 1 has 2; mend the row"),
        ('a\tb\n"1\n3"\t4\n', Form(), "in.tsv, line 2: 1 fields where 2 are needed; if a quote may hold tabs and line"),
        ("a,b\n1,2\n", Form(), "is it CSV? set `format: csv`, or name it .csv"),
        ('{"a": "1", "b": "2"}\n{"a": "1"}\n', Form(form="jsonl"), "in.tsv, line 2: no key 'b' among a"),
        ('["1", "2"]\n["3"]\n', Form(columns=(1, 2), form="jsonl"), "in.tsv, line 2: 1 fields where 2 are needed"),
        ('["1", "2"]\n', Form(form="jsonl"), "in.tsv, line 1: a list, whose columns have no names such as 'a'"),
        ('{"a": null, "b": "2"}\n', Form(form="jsonl"), "in.tsv, line 1: column 'a' has no text"),
        ("a\tb\n1\t2\n", Form(header=False), "the column 'a' has a name, but the file has no header: give its number"),
        ("a\tb\n1\t2\n", Form(columns=(0, 1)), "columns 0, 1: numbers count from 1; correct them (--columns)"),
        ("a\tb\n1\t2\n", Form(columns=("a",)), "mine has rows of 2 sentences, and named are the columns a: name as many (--columns)"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_leaves_nothing(
    content: str, form: Form, said: str, pairs_model: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in.tsv"
    source.write_text(content)
    with pytest.raises(UserError, match=re.escape(said)):
        predict_files(load(pairs_model), [source], tmp_path / "out.tsv", form=form)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("rows", "about", "error", "said"),
    [
        ("one text", {}, TypeError, "'one text' is one text: give a list of rows"),
        (["a"], {}, ValueError, "row 0: 1 sentences where mine has 2"),
        ([("a", "b"), ("a", 5)], {}, TypeError, "sentence 3 is 5, not a string"),
        ([("a", "b"), ("a", "\ud800")], {}, ValueError, "sentence 3 holds half a surrogate pair"),
        ([("q", "a", "b"), ("q", "", " ")], {"num_sentences": 4}, ValueError, "row 1: no candidate; give one or more"),
        ([(" ", "a", "b")], {"num_sentences": 4}, ValueError, "row 0: the question is empty"),
        ([("q", 3, "x")], {"num_sentences": 4}, TypeError, "sentence 1 is 3, not a string"),
        ([("a", "b"), {"first": "a", "second": "b"}], {}, TypeError, "row 1 is {'first': 'a', 'second': 'b'}: give a"),
        ([("a", "b"), 7], {}, TypeError, "row 1 is 7: give a text, or a list of texts in the order of the task's"),
        ([b"ab"], {}, TypeError, "row 0 is b'ab': give a text"),
        ({"a": "b"}, {}, TypeError, "dict goes by names, which would be taken for rows: give a list of rows"),
        (pandas.DataFrame({"a": ["x"], "b": ["y"]}), {}, TypeError, "DataFrame goes by names, which would be taken"),
    ],
)
def test_rows_that_cannot_be_answered(rows: Any, about: dict, error: type, said: str, tmp_path: Path) -> None:
    labels = {} if not about else {"labels": None}
    with pytest.raises(error, match=re.escape(said)):
        load(write_fine_tuned(tmp_path / "m", **about, **labels)).predict(rows)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", 'a\n"one"\n""\n"two"\n""\n'),
        ("x.csv", 'a\n"one"\n""\n"two"\n""\n\n\n'),  # empty lines are no rows of CSV
        ("x.tsv", "a\none\n\ntwo\n\n"),
        ("x.tsv", "one\n\ntwo\n\n"),
    ],
)
def test_empty_sentences_at_the_end_are_rows(
    name: str, content: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    classifier = load(write_fine_tuned(tmp_path / "one", num_sentences=1))
    (tmp_path / name).write_text(content)
    form = Form(columns=(1,), header=content.startswith("a"))
    number = predict_files(classifier, [tmp_path / name], tmp_path / "out.tsv", form=form, show_progress=True)
    labels = classifier.predict(["one", "", "two", ""])
    lines = [f"{index}\t{label}" for index, label in enumerate(labels)]
    assert (number, (tmp_path / "out.tsv").read_text().splitlines()[1:]) == (4, lines)
    assert ("4/4" if name == "x.tsv" else "4 rows") in capsys.readouterr().err


def test_no_more_rows_are_held_where_candidates_are_many(tmp_path: Path) -> None:
    classifier = load(write_fine_tuned(tmp_path / "answers", labels=None, num_sentences=4))
    questions = (InputRow(f"row {number}", ("q", *"ab" * 500)) for number in range(100))
    with classifier_module._progress(None, False) as progress:
        ranking, weights = next(classifier.answered(questions, progress))
    assert len(weights) == 1000
    assert len(ranking.split()) == 1000
    assert len(list(questions)) == 100 - 17  # the 17 that make 1 << 14 sentences were read


def test_packed_predictions_are_refused(pairs_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "in.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(SystemExit):
        main(["predict", "--model", str(pairs_model), "--input", f"{tmp_path}/in.tsv", "--output", "o.tsv.gz"])
    assert "--output o.tsv.gz: predictions are written as TSV; give a name that ends in .tsv" in capsys.readouterr().err
