"""What could be taken for something else than was meant is refused or said: columns, files, judgements, candidates."""

import json
import logging
import re
from pathlib import Path

import pandas
import pytest

from cross_thought.data.documents import find_files, none_twice
from cross_thought.data.finetuning import finetuning_settings
from cross_thought.data.glue import prepare_task
from cross_thought.data.input_rows import input_rows
from cross_thought.data.pairs import PairTask, training_pairs
from cross_thought.data.prepared import read_counts
from cross_thought.data.raw_files import raw_files
from cross_thought.data.retrieval import prepare_collection, read_qrels
from cross_thought.data.retrieval_tasks import retrieval_tasks_of
from cross_thought.data.tasks import TASKS, task_from_config
from cross_thought.errors import UserError
from cross_thought.tables.tasks import count_notes

ENTRY = {"input_columns": ["one", "two"], "label_column": "label", "labels": ["no", "yes", "maybe"]}
HEADER = "one\ttwo\tlabel\n"


def prepare(folder: Path, entry: dict, split: str = "valid") -> list[str]:
    """Prepare a task of files in a folder; return what the tables say of a split."""
    files = {name: str(folder / path) for name, path in entry["files"].items()}
    task = task_from_config("mine", entry | {"files": files})
    prepare_task(task, raw_files(task, data_dir=None), folder / "out")
    (folder / "summary.json").write_text(json.dumps({name: {} for name in files}))
    counts = read_counts(folder / "out", folder)
    assert counts is not None
    return list(count_notes(task, {split: counts[split]}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input_columns": ["one", 3]}, "3 and 'label' are one column; name another for each sentence and the label"),
        ({"input_columns": ["one", 1]}, "'one' and 1 are one column; name another for each sentence and the label"),
    ],
)
def test_a_column_by_its_name_and_by_its_number_is_one(changes: dict, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(HEADER + "a\tb\tyes\nc\td\tno\n")
    with pytest.raises(UserError, match=said):
        prepare(tmp_path, ENTRY | {"files": dict.fromkeys(("train", "valid"), "a.tsv")} | changes)
    with pytest.raises(UserError, match="'one' and 1 are one column"):
        list(input_rows(tmp_path / "a.tsv", ["one", 1]))


def test_objects_have_no_order_that_a_number_could_mean(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"one": "a", "two": "b", "label": "yes"}\n')
    (tmp_path / "b.jsonl").write_text('{"two": "b", "one": "a", "label": "yes"}\n')
    entry = ENTRY | {"files": {"train": "a.jsonl", "valid": "b.jsonl"}, "input_columns": [1, 2]}
    with pytest.raises(
        UserError, match="column 1 of objects, whose keys have no order: name it, as one of one, two, label"
    ):
        prepare(tmp_path, entry)


def test_a_label_without_examples_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(HEADER + "a\tb\tyes\nc\td\tno\ne\tf\tmaybe\n")
    (tmp_path / "b.tsv").write_text(HEADER + "g\th\tyes\ni\tj\tno\n")
    entry = ENTRY | {"files": {"train": "a.tsv", "valid": "b.tsv"}}
    said = "mine (valid): 1 of the labels have no example"
    assert prepare(tmp_path, entry) == [f"{said}."]
    macro = prepare(tmp_path, entry | {"metrics": ["accuracy", "macro_f1"]})
    assert macro == [f"{said}; macro means are over the others."]


def test_candidates_left_out_and_added_are_said(tmp_path: Path) -> None:
    rows = [("q1", "a", "yes"), ("q1", "b", "no"), ("q1", "c", "no"), ("q2", "d", "yes"), ("q2", "e", "no")]
    (tmp_path / "a.tsv").write_text(HEADER + "".join("\t".join(row) + "\n" for row in (*rows, ("q3", "f", "yes"))))
    entry = ENTRY | {"files": dict.fromkeys(("train", "valid"), "a.tsv"), "right_label": "yes", "metrics": ["mrr"]}
    notes = prepare(tmp_path, entry | {"num_candidates": 2, "drop_unusable": True, "fill_candidates": True}, "train")
    assert notes == [
        "mine (train): 1 wrong candidates left out, beyond `num_candidates`.",
        "mine (train): 1 candidates of other questions added (`fill_candidates`).",
    ]


def test_questions_that_cannot_be_filled_up_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(HEADER + "q1\ta\tyes\nq2\tb\tyes\nq2\tc\tno\n")
    entry = ENTRY | {"files": dict.fromkeys(("train", "valid"), "a.tsv"), "right_label": "yes", "metrics": ["mrr"]}
    notes = prepare(tmp_path, entry | {"num_candidates": 9, "fill_candidates": True})
    assert notes[-2:] == [
        "mine (valid): 2 questions still have fewer than `num_candidates`.",
        "mine (valid): 2 of 2 questions stand in the train set, too.",
    ]


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ({"questions": "q.jsonl"}, "files.valid.questions is of the format quasar-t"),
        ({"keep_ids": True}, "files.valid.keep_ids needs `ids`"),
        ({"question_id_column": "id"}, "question_id_column needs `right_label`"),
        ({"input_columns": ["one"]}, "files.valid has 1 input_columns, where train has 2: name as many"),
    ],
)
def test_what_a_file_is_told_to_no_effect_is_refused(split: dict, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        task_from_config("mine", ENTRY | {"files": {"train": "a.tsv", "valid": {"path": "a.tsv"} | split}})


@pytest.mark.parametrize("label", [{"gold": "yes"}, ["yes"]])
def test_a_label_that_is_no_text_is_not_taken_for_none(label: object, tmp_path: Path) -> None:
    rows = ({"one": name, "two": "b", "label": name} for name in ENTRY["labels"])
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "t.jsonl").write_text(json.dumps({"one": "a", "two": "b", "label": label}) + "\n")
    pandas.read_json(tmp_path / "t.jsonl", lines=True).to_parquet(tmp_path / "t.parquet")
    for name, unit, kind in (
        ("t.jsonl", "line", "an? (object|list)"),
        ("t.parquet", "row", "of the type (struct|list).*"),
    ):
        with pytest.raises(UserError, match=f"{name}, {unit} 1: the label is {kind}, which is no text; mend the row"):
            prepare(tmp_path, ENTRY | {"files": {"train": "a.jsonl", "valid": "a.jsonl", "test": name}})
    asked = {"right_label": "yes", "question_id_column": "id", "metrics": ["mrr"]}
    (tmp_path / "q.jsonl").write_text('{"one": "a", "two": "b", "label": "yes", "id": ["q"]}\n')
    with pytest.raises(UserError, match=r"q.jsonl, line 1: no question id in column 'id'"):
        prepare(tmp_path, ENTRY | {"files": dict.fromkeys(("train", "valid"), "q.jsonl")} | asked)
    with pytest.raises(UserError, match="column 'label' has no text"):
        list(input_rows(tmp_path / "t.jsonl", ["label"]))


def test_lists_have_no_names(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('["a", "b", "yes"]\n')
    with pytest.raises(UserError, match="a.jsonl: lists, whose columns have no names such as 'one': give numbers"):
        prepare(tmp_path, ENTRY | {"files": dict.fromkeys(("train", "valid"), "a.jsonl")})


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").touch()
    with pytest.raises(UserError, match="a.tsv is empty: give a file with a header that names 'one', and rows"):
        prepare(tmp_path, ENTRY | {"files": dict.fromkeys(("train", "valid"), "a.tsv")})
    with pytest.raises(UserError, match="a.tsv is empty: give a file with a header that names 'one'"):
        list(input_rows(tmp_path / "a.tsv", ["one"]))


def test_pairs_that_are_mostly_without_a_hard_negative_are_refused(tmp_path: Path) -> None:
    rows = ["yes\tone a\ttwo a", "no\tone a\tthree a", *(f"yes\tone {n}\ttwo {n}" for n in range(3))]
    rows += ["yes\tone b\ttwo b", "no\tone b\tthree b"]
    (tmp_path / "train.tsv").write_text("\n".join(["label\tsentence1\tsentence2", *rows, ""]))
    task = PairTask(name="mine", positive_label="yes", negative_label="no")
    with pytest.raises(
        UserError, match="3 of 5 positive pairs have no hard negative, labelled 'no', and would be left out"
    ):
        training_pairs(task, tmp_path / "train.tsv")


def test_a_file_under_two_paths_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("texts").mkdir()
    Path("texts/a.txt").write_text("a\n")
    Path("link.txt").symlink_to("texts/a.txt")
    paths = ["texts/a.txt", "./texts/../texts/a.txt", str(tmp_path / "texts/a.txt"), "link.txt"]
    assert none_twice(paths) == find_files(paths, key="corpus.files.train") == ["texts/a.txt"]


def test_judgements_go_by_the_names_of_their_columns(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text("".join(f'{{"_id": "{n}", "text": "t{n}"}}\n' for n in range(20)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "a"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\tannotator\nq1\t17\t2\t1\n")
    entry = {"queries": "queries.jsonl", "passages": "corpus.jsonl", "judgements": {"test": "qrels.tsv"}}
    entry = {key: str(tmp_path / name) for key, name in entry.items() if isinstance(name, str)}
    entry["judgements"] = {"test": str(tmp_path / "qrels.tsv")}
    (task,) = retrieval_tasks_of({"retrieval_tasks": {"mine": entry}, "data_dir": None}).values()
    prepare_collection(task, tmp_path / "out")
    assert read_qrels(tmp_path / "out/test.qrels") == {"q1": {"17": 2}}


def test_own_rows_have_no_published_schedule() -> None:
    finetuning = {"num_epochs": 10}
    assert finetuning_settings(TASKS["RTE"], finetuning, {})["num_updates"] == 2036
    assert finetuning_settings(TASKS["RTE"], finetuning, {"check_rows": False})["num_updates"] is None


def test_questions_without_a_passage_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "q.jsonl").write_text(
        "".join(json.dumps({"uid": f"u{n}", "question": f"who {n}", "answer": "baker"}) + "\n" for n in range(3))
    )
    contexts = [[[1.0, "The baker keeps hens ."], [0.5, "A pilot ."]], [], [[1.0, "The baker ."], [0.1, "A mill ."]]]
    lines = (json.dumps({"uid": f"u{n}", "contexts": found}) + "\n" for n, found in enumerate(contexts))
    (tmp_path / "c.jsonl").write_text("".join(lines))
    given = {"path": str(tmp_path / "c.jsonl"), "questions": str(tmp_path / "q.jsonl")}
    task = task_from_config(
        "mine",
        {
            "files": {"train": given, "valid": given},
            "format": "quasar-t",
            "input_columns": ["question", "passage"],
            "question_id_column": "id",
            "label_column": "label",
            "labels": ["0", "1"],
            "right_label": "1",
            "metrics": ["raw_mrr"],
        },
    )
    prepare_task(task, raw_files(task, data_dir=None), tmp_path / "out")
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["valid"]["dropped"] == {"questions without a passage": 1}
    assert summary["valid"]["used"] == 2
