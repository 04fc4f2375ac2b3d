"""Tasks of one's own from files as people have them: real ones, every form, and what is said of rows that are left out."""

import csv
import gzip
import json
import logging
import os
import re
from collections import Counter
from pathlib import Path

import pandas
import pytest

from cross_thought.config import load_config
from cross_thought.data.embedding_tasks import embedding_task_from_config
from cross_thought.data.glue import prepare_task, read_split
from cross_thought.data.prepared import Example, read_counts, read_prepared
from cross_thought.data.raw_files import RawFile, raw_files
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
ENTRY = {"input_columns": ["one", "two"], "label_column": "label", "labels": ["no", "yes"]}
ROWS = [
    ("a cat", "an animal", "yes"),
    ('she said "no", twice', "a\tb", "no"),
    ("NA", "1e5", "yes"),
    ("007", " x ", "no"),
]
# as they come out: what a prepared file cannot hold is a space
EXAMPLES = [Example(label, (one, two.replace("\t", " "))) for one, two, label in ROWS]


def prepare(folder: Path, entry: dict, **more: object) -> tuple[dict[str, list[Example]], dict]:
    """Prepare a task of files in a folder; return its examples and its summary."""
    files = {split: str(folder / path) if isinstance(path, str) else path for split, path in entry["files"].items()}
    task = task_from_config("mine", entry | {"files": files})
    prepare_task(task, raw_files(task, data_dir=None), folder / "out", **more)
    examples = {split: list(read_prepared(folder / "out" / f"{split}.tsv")) for split in task.splits}
    return examples, json.loads((folder / "out" / "summary.json").read_text())


def write(path: Path, rows: list[tuple], names: tuple[str, ...] = ("one", "two", "label")) -> None:
    """Write rows in the form that the file's ending tells."""
    frame = pandas.DataFrame(rows, columns=list(names))
    if ".parquet" in path.name:
        pytest.importorskip("pyarrow", reason="needs pyarrow")
        frame.to_parquet(path)
    elif ".jsonl" in path.name:
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in path.name else ",")


def real(name: str) -> Path:
    """Return a real file; skip where it is not at hand."""
    if not (REAL_DATA / name).is_file():
        pytest.skip(f"needs {REAL_DATA / name}")
    return REAL_DATA / name


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_every_form_makes_the_same_task(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, ROWS)
    examples, summary = prepare(tmp_path, ENTRY | {"files": {"train": name, "valid": name, "test": name}})
    assert examples == {"train": EXAMPLES, "valid": EXAMPLES, "test": EXAMPLES}
    assert summary["train"] == {
        "files": [str(tmp_path / name)],
        "rows": 4,
        "examples": 4,
        "used": 4,
        "dropped": {},
        "empty": 0,
        "quoted": 0,
        "breaks": 1,
        "labels": {"no": 2, "yes": 2},
    }


def test_columns_go_by_number_in_every_form(tmp_path: Path) -> None:
    by_number = {"input_columns": [1, 2], "label_column": 3}
    for name in ("a.csv", "a.parquet"):
        write(tmp_path / name, ROWS)
        examples, _ = prepare(tmp_path, ENTRY | {"files": dict.fromkeys(("train", "valid"), name)} | by_number)
        assert examples["train"] == EXAMPLES


def test_glue_as_hugging_face_stores_it(tmp_path: Path) -> None:
    """Parquet with sentence1, sentence2, label as a number and idx; -1 says that a test row has no label."""
    names = ("sentence1", "sentence2", "label", "idx")
    for split, labels in (("train", [0, 1, 1]), ("validation", [1, 0]), ("test", [-1, -1])):
        write(
            tmp_path / f"{split}-00000-of-00001.parquet",
            [(f"p{n}", f"h{n}", label, n) for n, label in enumerate(labels)],
            names,
        )
    entry = {
        "files": {
            split: f"{name}-00000-of-00001.parquet"
            for split, name in (("train", "train"), ("valid", "validation"), ("test", "test"))
        },
        "input_columns": ["sentence1", "sentence2"],
        "label_column": "label",
        "label_names": ["entailment", "not_entailment"],
    }
    examples, summary = prepare(tmp_path, entry)
    assert [example.label for example in examples["train"]] == ["entailment", "not_entailment", "not_entailment"]
    assert [example.label for example in examples["valid"]] == ["not_entailment", "entailment"]
    assert [example.label for example in examples["test"]] == ["", ""]
    assert summary["test"]["labels"] == {}
    write(tmp_path / "train-00000-of-00001.parquet", [("p", "h", -1, 0)], names)
    with pytest.raises(UserError, match=r"row 1: label '-1' is none of mine's 0, 1"):
        prepare(tmp_path, entry)


def test_a_pattern_and_a_list_are_read_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number, row in enumerate(ROWS):
        write(Path(f"part-{number}.csv"), [row])
    entry = ENTRY | {"files": {"train": "part-*.csv", "valid": ["part-1.csv", "part-0.csv"]}}
    config = load_config({"tasks": {"mine": entry}})
    files = config["tasks"]["mine"]["files"]
    assert files == {"train": [f"part-{number}.csv" for number in range(4)], "valid": ["part-1.csv", "part-0.csv"]}
    task = task_from_config("mine", config["tasks"]["mine"])
    raw = raw_files(task, data_dir=None)
    assert raw["valid"].paths == ("part-1.csv", "part-0.csv")
    assert read_split(task, "train", raw["train"])[0] == EXAMPLES
    assert read_split(task, "valid", raw["valid"])[0] == [EXAMPLES[1], EXAMPLES[0]]
    with pytest.raises(UserError, match=r"tasks.mine.files.train is 'gone-\*.csv', which matches no file; correct the"):
        load_config({"tasks": {"mine": entry | {"files": {"train": "gone-*.csv", "valid": "part-1.csv"}}}})
    with pytest.raises(UserError, match="tasks.mine.files.train.path is 'gone.csv', which is no file"):
        load_config({"tasks": {"mine": entry | {"files": {"train": {"path": ["gone.csv"]}, "valid": "part-1.csv"}}}})


def test_sick_is_a_regression_and_a_classification() -> None:
    files = {"train": str(real("sick/SICK_train.txt")), "valid": str(real("sick/SICK_trial.txt"))}
    entry = {"files": files, "input_columns": ["sentence_A", "sentence_B"]}
    scores = task_from_config("sick", entry | {"label_column": "relatedness_score", "score_scale": 5})
    examples = read_split(scores, "train", raw_files(scores, data_dir=None)["train"])[0]
    assert len(examples) == 4500
    assert examples[0].label == "4.5"
    assert all(1 <= float(example.label) <= 5 for example in examples)
    labels = ["NEUTRAL", "ENTAILMENT", "CONTRADICTION"]
    judged = task_from_config(
        "sick", entry | {"label_column": "entailment_judgment", "labels": labels, "metrics": ["macro_f1"]}
    )
    examples = read_split(judged, "valid", raw_files(judged, data_dir=None)["valid"])[0]
    assert len(examples) == 500
    assert set(Counter(example.label for example in examples)) == set(labels)


def test_wikiqa_is_answer_selection_and_a_classification(tmp_path: Path) -> None:
    path = str(real("wikiqa/WikiQA-dev.tsv"))
    entry = {
        "files": {"train": path, "valid": path},
        "input_columns": ["Question", "Sentence"],
        "label_column": "Label",
        "labels": ["0", "1"],
    }
    pairs = task_from_config("wikiqa", entry)
    examples = read_split(pairs, "valid", raw_files(pairs, data_dir=None)["valid"])[0]
    assert len(examples) == 1130
    ranked = entry | {"right_label": "1", "num_candidates": 20}
    right, number = Counter(), Counter()
    with open(path, encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            right[row["Question"]] += row["Label"] == "1"
            number[row["Question"]] += 1
    too_many = [count for count in number.values() if count > 20]
    with pytest.raises(
        UserError,
        match=rf"line \d+: the question has \d+ candidates, more than num_candidates 20; leave that out, or raise it to "
        rf"30, the most of any; or set tasks.mine.drop_unusable to true to leave out what is unfit, {len(too_many)} of 126",
    ):
        prepare(tmp_path, ranked)
    examples, summary = prepare(tmp_path, ranked | {"drop_unusable": True})
    assert len(examples["valid"]) == len(number) == 126
    assert summary["valid"]["questions"]["candidates left out"] == sum(too_many) - 20 * len(too_many)
    del ranked["num_candidates"]
    examples, summary = prepare(tmp_path, ranked | {"question_id_column": "QuestionID"})
    for example in examples["valid"]:
        question, *candidates = example.sentences
        assert (len(candidates), sum(map(bool, candidates))) == (30, number[question])
        assert len(example.label.split()) == right[question]
    (tmp_path / "summary.json").write_text('{"train": {"cut": 1}, "valid": {"cut": 7}}')
    assert read_counts(tmp_path / "out", tmp_path) == {
        "train": {"available": 126, "used": 126, "cut": 1, "quoted": 0},
        "valid": {"examples": 126, "dropped": 0, "in_train": 126, "cut": 7, "quoted": 0},
    }


def test_the_labels_of_a_test_file_are_read_where_it_has_any(tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", ROWS[:1] + ROWS[3:])
    for test, labels in (
        ("one\ttwo\tlabel\na\tb\tyes\n", ["yes"]),
        ("one\ttwo\na\tb\n", [""]),
        ("one\ttwo\tlabel\na\tb\t\n", [""]),
    ):
        (tmp_path / "t.tsv").write_text(test)
        for columns in ({}, {"input_columns": [1, 2], "label_column": 3}):
            examples, _ = prepare(
                tmp_path, ENTRY | {"files": {"train": "a.tsv", "valid": "a.tsv", "test": "t.tsv"}} | columns
            )
            assert [example.label for example in examples["test"]] == labels


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ("one\ttwo\tlabel\na\tb\tyes\nc\td\t\n", "t.tsv, line 3: no label, where other rows have one; label all of them, or none"),
        ("one\ttwo\tlabel\na\tb\tmaybe\n", "t.tsv, line 2: label 'maybe' is none of mine's no, yes; mend the row or the task's labels; for files without labels, set files.test to {path: ..., label_column: null}"),
    ],
)  # fmt: skip
def test_a_test_file_with_half_of_its_labels_is_refused(test: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "a.tsv", ROWS[:1] + ROWS[3:])
    (tmp_path / "t.tsv").write_text(test)
    with pytest.raises(UserError, match=re.escape(message)):
        prepare(tmp_path, ENTRY | {"files": {"train": "a.tsv", "valid": "a.tsv", "test": "t.tsv"}})


def test_a_split_may_differ_from_the_others(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", ROWS)
    (tmp_path / "t.tsv").write_text("a\tb\n")
    path = {"path": str(tmp_path / "t.tsv"), "header": False, "input_columns": [2, 1], "label_column": None}
    examples, _ = prepare(tmp_path, ENTRY | {"files": {"train": "a.csv", "valid": "a.csv", "test": path}})
    assert examples["test"] == [Example("", ("b", "a"))]


@pytest.mark.parametrize(
    ("name", "first", "changes", "value"),
    [
        ("a.tsv", "a cat\tan animal\tyes\n", {}, "yes"),
        ("a.csv", "a cat,an animal,no\n", {}, "no"),
        ("a.tsv", "a cat\tan animal\t4.5\n", {"labels": None}, "4.5"),
        ("a.tsv", "a cat\tan animal\t0\n", {"labels": None, "label_names": ["no", "yes"]}, "0"),
    ],
)
def test_a_first_row_with_a_label_is_no_header(
    name: str, first: str, changes: dict, value: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(first * 3)
    entry = ENTRY | {"files": {"train": name, "valid": name}, "input_columns": [1, 2], "label_column": 3} | changes
    with pytest.raises(
        UserError, match=rf"{name}, line 1: '{value}' stands where the header .* set tasks.mine.header to false"
    ):
        prepare(tmp_path, entry)
    task = task_from_config("mine", entry | {"header": False})
    assert len(read_split(task, "train", RawFile(path=str(tmp_path / name)))[0]) == 3


def test_quotes_that_pandas_wrote_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(
        tmp_path / "a.tsv",
        [(f'"{word}" she said', '"in quotes"', label) for word, label in (("no", "no"), ("yes", "yes"), ("x", "no"))],
    )
    entry = ENTRY | {"files": {"train": "a.tsv", "valid": "a.tsv"}}
    with caplog.at_level(logging.INFO, logger="cross_thought"):
        examples, summary = prepare(tmp_path, entry)
    assert examples["train"][0].sentences == ('"""no"" she said"', '"""in quotes"""')
    assert summary["train"]["quoted"] == 6
    assert "a.tsv: 6 cells begin and end with a quote and double those inside, as pandas and csv.writer" in caplog.text
    assert "set `format: quoted-tsv` to read what was meant" in caplog.text
    examples, summary = prepare(tmp_path, entry | {"format": "quoted-tsv"})
    assert examples["train"][0].sentences == ('"no" she said', '"in quotes"')
    assert summary["train"]["quoted"] == 0


def test_text_in_quotes_is_not_taken_for_a_quoted_file(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('one\ttwo\tlabel\n"quoted"\t"a" and "b"\tyes\n""\t"\tno\n')
    _, summary = prepare(tmp_path, ENTRY | {"files": {"train": "a.tsv", "valid": "a.tsv"}})
    assert summary["train"]["quoted"] == 0


def test_fields_beyond_the_named_columns_may_be_allowed(tmp_path: Path) -> None:
    """The STS benchmark's own files: seven columns, and in some rows two more."""
    rows = ["g\tf\ty\t1\t5.0\ta cat\tan animal", "g\tf\ty\t2\t0.5\ta dog\ta boat\tsource\tlicence"]
    (tmp_path / "a.csv").write_text("\n".join(rows) + "\n")
    entry = {
        "files": {"train": "a.csv", "valid": "a.csv"},
        "format": "tsv",
        "header": False,
        "input_columns": [6, 7],
        "label_column": 5,
    }
    with pytest.raises(
        UserError,
        match=r"line 2: 9 fields where line 1 has 7; .* If what follows field 7 is of no use, set tasks.mine.extra_columns to true",
    ):
        prepare(tmp_path, entry)
    examples, _ = prepare(tmp_path, entry | {"extra_columns": True})
    assert examples["train"] == [Example("5.0", ("a cat", "an animal")), Example("0.5", ("a dog", "a boat"))]


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("one,two,label\na,b,yes\n", {}, "no column 'one' among one,two,label; is it CSV? set `format: csv`, or name it .csv"),
        ("one;two;label\na, b;c;yes\n", {}, "among one;two;label; is it separated by semicolons? save it with commas"),
        ('{"one": 1, "two": 2}\n', {}, "is it JSON lines? set `format: jsonl`, or name it .jsonl"),
        ("one,two,label\na,b,yes\n", {"input_columns": [1, 2], "label_column": 3}, "line 2: 1 fields where columns 1, 2, 3 are needed; is it CSV?"),
        ('"one"\t"two"\t"label"\n"a"\t"b"\t"yes"\n', {"input_columns": [1, 2], "label_column": 3}, "is the file quoted? set `format: quoted-tsv`"),
    ],
)  # fmt: skip
def test_another_form_under_a_strange_name_is_told(content: str, columns: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(UserError, match=re.escape(message)):
        prepare(tmp_path, ENTRY | {"files": {"train": "a.txt", "valid": "a.txt"}} | columns)


@pytest.mark.parametrize(
    "content",
    [
        '{"one": "a", "label": "yes"}\n{"one": null, "two": "b", "label": "no"}\n',
        '{"one": ["a"], "two": "b", "label": "yes"}\n',
    ],
)
def test_a_value_that_is_no_text_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(
        UserError, match=r"a.jsonl, line 1: column '(one|two)' has no text; fill it in, or take the row out"
    ):
        prepare(tmp_path, ENTRY | {"files": {"train": "a.jsonl", "valid": "a.jsonl"}})


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_a_name_that_two_columns_have_is_refused(name: str, tmp_path: Path) -> None:
    separator = "\t" if name == "a.tsv" else ","
    (tmp_path / name).write_text("one,two,label,label\na,b,yes,no\nc,d,no,no\n".replace(",", separator))
    files = {"files": {"train": name, "valid": name}}
    with pytest.raises(UserError, match=f"{name}, line 1: several columns are named 'label'; give the number"):
        prepare(tmp_path, ENTRY | files)
    examples, _ = prepare(tmp_path, ENTRY | files | {"label_column": 3})
    assert [example.label for example in examples["train"]] == ["yes", "no"]


@pytest.mark.parametrize(
    ("name", "place"),
    [("a.tsv", "a.tsv, line 1"), ("a.csv", "a.csv, line 1"), ("a.jsonl", "a.jsonl"), ("a.parquet", "a.parquet")],
)
def test_a_column_that_is_not_there_has_a_line_only_where_a_line_has_names(
    name: str, place: str, tmp_path: Path
) -> None:
    write(tmp_path / name, ROWS)
    with pytest.raises(UserError, match=f"{place}: no column 'three' among one, two, label; mend the header or the"):
        prepare(tmp_path, ENTRY | {"files": {"train": name, "valid": name}, "input_columns": ["three"]})


def test_a_sample_is_counted_against_what_there_is(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", [(f"a{n}", "b", ("no", "yes", "skip")[n % 3]) for n in range(30)])
    entry = ENTRY | {"files": {"train": "a.csv", "valid": "a.csv"}, "ignored_labels": ["skip"]}
    _, summary = prepare(tmp_path, entry, max_train_examples=8)
    assert summary["train"]["dropped"] == summary["valid"]["dropped"] == {"labelled skip": 10}
    (tmp_path / "summary.json").write_text('{"train": {"cut": 0}, "valid": {"cut": 0}}')
    counts = read_counts(tmp_path / "out", tmp_path)
    assert counts["train"] == {"available": 30, "used": 8, "cut": 0, "quoted": 0}
    assert counts["valid"] == {"examples": 20, "dropped": 10, "in_train": 8, "cut": 0, "quoted": 0}


def test_examples_that_train_has_too_are_counted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "train.csv", [("a", "b", "yes"), ("c", "d", "no")])
    write(tmp_path / "valid.csv", [(" a", "b", "no"), ("b", "a", "yes"), ("a", "b", "yes")])
    write(tmp_path / "test.csv", [("e", "f", "yes")])
    files = {split: f"{split}.csv" for split in ("train", "valid", "test")}
    _, summary = prepare(tmp_path, ENTRY | {"files": files})
    assert [summary[split].get("in_train") for split in files] == [None, 2, None]
    assert caplog.messages == ["mine valid: 2 of 3 examples stand in train, too"]
    asked = {"right_label": "yes", "metrics": ["mrr"]}
    write(tmp_path / "valid.csv", [("a", "another candidate", "yes"), ("b", "a", "yes")])
    _, summary = prepare(tmp_path, ENTRY | {"files": files} | asked)
    assert summary["valid"]["in_train"] == 1


def test_a_test_file_that_is_not_scored_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    write(tmp_path / "a.csv", ROWS)
    write(tmp_path / "t.csv", ROWS, ("one", "two", "Label"))
    _, summary = prepare(tmp_path, ENTRY | {"files": {"train": "a.csv", "valid": "a.csv", "test": "t.csv"}})
    (tmp_path / "summary.json").write_text('{"train": {}, "valid": {}, "test": {}}')
    counts = read_counts(tmp_path / "out", tmp_path)
    assert [counts[split].get("unlabelled") for split in summary] == [None, None, len(ROWS)]
    assert [said for said in caplog.messages if "scored" in said] == [
        "mine test: no labels in column 'label', so not scored"
    ]


def test_a_test_sets_unread_labels_do_not_make_it_an_embedding_split(tmp_path: Path) -> None:
    files = {"train": "a.csv", "valid": "a.csv", "test": "t.csv"}
    config = {"tasks": {"mine": ENTRY | {"files": files}}, "embedding_tasks": {"mine": {"positive_label": "yes"}}}
    task = embedding_task_from_config("mine", config)
    assert (task.splits, task.unread) == (("valid",), ("test",))
    config["tasks"]["mine"]["files"] = files | {"test": {"path": "t.csv", "label_column": "label"}}
    assert embedding_task_from_config("mine", config).splits == ("valid", "test")


def test_a_gzip_file_needs_no_name_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(gzip.compress(b"one\ttwo\tlabel\na\tb\tyes\nc\td\tno\n"))
    examples, _ = prepare(tmp_path, ENTRY | {"files": {"train": "a.tsv", "valid": "a.tsv"}})
    assert [example.label for example in examples["train"]] == ["yes", "no"]
