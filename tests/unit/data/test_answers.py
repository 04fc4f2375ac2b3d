"""Questions with candidate answers out of files: both forms, GLUE's QNLI, and each refusal with its line."""

import json
import re
from pathlib import Path

import pytest

from cross_thought.data.definitions import Task
from cross_thought.data.glue import prepare_task, read_split
from cross_thought.data.prepared import NONE_RIGHT, Example, read_prepared
from cross_thought.data.raw_files import RawFile, raw_files
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError
from tests.unit.data.glue_format import write_archive

FILES = {"files": {"train": "train.tsv", "valid": "dev.tsv"}}
ROWS = FILES | {
    "header": False,
    "input_columns": [1, 2],
    "label_column": 3,
    "labels": ["0", "1"],
    "right_label": "1",
    "num_candidates": 3,
}
IDS = ROWS | {"question_id_column": 1, "input_columns": [2, 3], "label_column": 4, "num_candidates": None}
COLUMNS = FILES | {"header": False, "input_columns": [1, 2, 3, 4], "label_column": 5}


def read(entry: dict, path: Path, *rows: str) -> list[Example]:
    """Read rows whose fields are separated by `|`."""
    path.write_text("".join(row.replace("|", "\t") + "\n" for row in rows))
    return read_split(task_from_config("mine", entry), "train", RawFile(path=str(path)))[0]


def candidates_of(example: Example) -> set[str]:
    return set(example.sentences[1:])


def right_candidate(example: Example) -> str:
    (right,) = right_candidates(example)
    return right


def right_candidates(example: Example) -> set[str]:
    return {example.sentences[int(number)] for number in example.label.split() if number != NONE_RIGHT}


def test_a_row_with_all_candidates(tmp_path: Path) -> None:
    examples = read(COLUMNS, tmp_path / "a.tsv", "q|a|b|c|2", "r|a||b|3")
    assert examples == [Example("2", ("q", "a", "b", "c")), Example("3", ("r", "a", "", "b"))]


def test_rows_of_a_question_are_gathered_wherever_they_stand(tmp_path: Path) -> None:
    rows = ["q|a|0", "r|x|1", "q|b|1", "r|y|0", "q|c|0"]
    first, second = read(ROWS, tmp_path / "a.tsv", *rows)
    assert (first.sentences[0], candidates_of(first), right_candidate(first)) == ("q", {"a", "b", "c"}, "b")
    assert (second.sentences[0], candidates_of(second), right_candidate(second)) == ("r", {"x", "y", ""}, "x")
    assert second.sentences[3] == ""
    assert read(ROWS, tmp_path / "a.tsv", *rows) == [first, second]


def test_the_files_order_does_not_give_the_answer_away(tmp_path: Path) -> None:
    rows = [f"q{number}|{text}|{int(text == 'right')}" for number in range(60) for text in ("right", "b", "c")]
    labels = [example.label for example in read(ROWS, tmp_path / "a.tsv", *rows)]
    assert all(8 <= labels.count(label) <= 32 for label in "123")


def test_other_questions_fill_up_the_candidates(tmp_path: Path) -> None:
    rows = ["q|a|1", "r|b|1", "r|c|0", "s|d|1", "s|a|0"]
    examples = read(ROWS | {"fill_candidates": True}, tmp_path / "a.tsv", *rows)
    for example, answer, own in zip(examples, "abd", [{"a"}, {"b", "c"}, {"d", "a"}], strict=True):
        assert right_candidate(example) == answer
        assert own < candidates_of(example) <= {"a", "b", "c", "d"}
        assert len(candidates_of(example)) == 3
    (only,) = read(ROWS | {"fill_candidates": True}, tmp_path / "a.tsv", "q|a|1", "q|b|0")  # there are no others
    assert candidates_of(only) == {"a", "b", ""}


def test_no_empty_text_fills_up_the_candidates(tmp_path: Path) -> None:
    entry = ROWS | {"num_candidates": 4, "fill_candidates": True, "drop_unusable": True}
    (only,) = read(entry, tmp_path / "a.tsv", "q1|a|1", "q1|b|0", "q2||1", "q2|c|0")
    assert (candidates_of(only), only.sentences[4]) == ({"a", "b", "c", ""}, "")


def test_rows_without_labels_are_gathered_too(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("q\ta\nq\tb\n")
    task = task_from_config("mine", ROWS | {"files": FILES["files"] | {"test": "test.tsv"}})
    (example,) = read_split(task, "test", RawFile(path=str(tmp_path / "test.tsv")))[0]
    assert (example.label, candidates_of(example)) == ("", {"a", "b", ""})


def test_data_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = ["q|a|1", "q|b|0", "q|c|1", "q|d|0", "r|x|1", "s|y|0", "s|z|0", "t|e|0", "t|e|0", "t|f|1"]
    entry = ROWS | {"num_candidates": None}
    q, r, t = read(entry, tmp_path / "a.tsv", *rows)  # in train, s teaches nothing
    assert (right_candidates(q), candidates_of(q)) == ({"a", "c"}, {"a", "b", "c", "d"})
    assert (r.label, r.sentences) == ("1", ("r", "x"))
    assert (right_candidates(t), sorted(t.sentences[1:])) == ({"f"}, ["e", "e", "f"])
    write = "".join(row.replace("|", "\t") + "\n" for row in rows)
    for name in ("train.tsv", "dev.tsv"):
        (tmp_path / name).write_text(write)
    entry |= {"files": {"train": str(tmp_path / "train.tsv"), "valid": str(tmp_path / "dev.tsv")}}
    task = task_from_config("mine", entry)
    assert prepare_task(task, raw_files(task, data_dir=None), tmp_path / "out") == {"train": 3, "valid": 4}
    valid = list(read_prepared(tmp_path / "out" / "valid.tsv"))
    assert [len(example.label.split()) for example in valid] == [2, 1, 1, 1]
    assert (valid[2].sentences[0], valid[2].label) == ("s", NONE_RIGHT)
    assert {len(example.sentences) for example in (*valid, *read_prepared(tmp_path / "out" / "train.tsv"))} == {5}
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["train"]["dropped"] == {"questions without a right candidate": 1}
    assert summary["valid"]["dropped"] == {}
    assert summary["valid"]["questions"] == {
        "questions with several right candidates": 1,
        "questions with right candidates alone": 1,
        "questions without a right candidate": 1,
        "questions with a candidate twice": 1,
    }


def test_several_right_candidates_in_a_row(tmp_path: Path) -> None:
    examples = read(COLUMNS, tmp_path / "a.tsv", "q|a|b|c|3 1", "r|a|||1", "s|a|b|c|0", "t|a|a|b|2")
    assert [example.label for example in examples] == ["1 3", "1", "2"]
    examples = read(COLUMNS | {"drop_unusable": True}, tmp_path / "a.tsv", "q|a|b|c|3", "r||||1", "|a|b||2")
    assert [example.label for example in examples] == ["3"]


def test_questions_are_told_apart_by_their_id(tmp_path: Path) -> None:
    examples = read(IDS, tmp_path / "a.tsv", "1|q|a|1", "2|q|b|1", "1|q|c|0")
    assert [candidates_of(example) for example in examples] == [{"a", "c"}, {"b"}]
    spaced = read(IDS, tmp_path / "a.tsv", "1|q|a|1", "1 | q|b|0")
    assert [candidates_of(example) for example in spaced] == [{"a", "b"}]


def test_what_is_unfit_is_left_out_where_the_task_says_so(tmp_path: Path) -> None:
    rows = ["q|a|1", "q|b|0", "q|c|1", "q|d|0", "q|e|1", "q|f|1", "r|a|1", "r||0", "|b|1", "s|x|1"]
    examples = read(ROWS | {"drop_unusable": True}, tmp_path / "a.tsv", *rows)
    assert [example.sentences[0] for example in examples] == ["q", "s"]
    assert right_candidates(examples[0]) == candidates_of(examples[0]) == {"a", "c", "e"}  # wrong ones go first


@pytest.mark.parametrize(
    ("entry", "rows", "message"),
    [
        (ROWS, ["q|a|0", "q|b|0"], "line 1: from here on, no question has a right candidate; mend the labels, or right_label"),
        (COLUMNS, ["q|a|b|c|0"], "line 1: from here on, no question has a right candidate; mend the labels"),
        (ROWS, ["q|a|1", "q|b|0", "q|c|0", "q|d|0"], "line 4: the question has 4 candidates, more than num_candidates 3; leave that out, or raise it to 4"),
        (ROWS, ["q|a|1", "q| |0"], "line 2: the candidate is empty"),
        (ROWS, ["q|a|1", "q|b|0", " |b|0"], "line 3: the question is empty"),
        (IDS, ["1|q|a|1", "2|r|a|1", "1|r|b|0"], "line 3: another question under the id '1' than in line 1; mend either"),
        (IDS, ["1|q|a|1", "|q|b|0"], "line 2: no question id in column 1; fill it in"),
        (COLUMNS, ["|a|b|c|1"], "line 1: the question is empty"),
        (ROWS, ["q|a|yes"], "line 1: label 'yes' is none of mine's 0, 1"),
        (COLUMNS, ["q|a|b|c|1", "q|a|b|c|4"], "line 2: label '4' is none of mine's 1, 2, 3"),
        (COLUMNS, ["q|a|b|c|1 1"], "line 1: label '1 1' is none of mine's 1, 2, 3"),
        (COLUMNS, ["q||||1"], "line 1: no candidates; give one or more, or take the row out; or set tasks.mine.drop_unusable"),
        (COLUMNS, ["q|a| |c|2"], "line 1: candidate 2, the right one, is empty"),
    ],
)  # fmt: skip
def test_what_is_no_choice_is_refused(entry: dict, rows: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'a.tsv'}, {message}")):
        read(entry, tmp_path / "a.tsv", *rows)


def qnli(tmp_path: Path, entry: dict, train: list[str]) -> tuple[Task, Path]:
    """Prepare QNLI-answers from files in QNLI's format; return the task and the folder."""
    folder = tmp_path / "glue" / "QNLI"
    folder.mkdir(parents=True)
    for file in ("train.tsv", "dev.tsv"):
        lines = ["index|question|sentence|label", *(f"{index}|{row}" for index, row in enumerate(train))]
        (folder / file).write_text("".join(line.replace("|", "\t") + "\n" for line in lines))
    task = task_from_config("QNLI-answers", {"check_rows": False} | entry)
    prepare_task(task, raw_files(task, data_dir=str(tmp_path)), tmp_path / "out")
    return task, tmp_path / "out"


def test_qnli_leaves_out_questions_without_a_right_sentence(tmp_path: Path) -> None:
    rows = [
        *("what|a|entailment", "what|b|not_entailment", "who|c|not_entailment", "when|d|entailment"),
        *("when|e|entailment", "why|f|entailment", "why|g|not_entailment", "why|h|not_entailment"),
        *("why|i|not_entailment", "how|j|entailment", "how|k|not_entailment", "how|k|not_entailment"),
    ]
    task, folder = qnli(tmp_path, {"num_candidates": 3}, rows)
    what, when, why, how = read_prepared(folder / "valid.tsv")
    assert (what.sentences[0], right_candidate(what)) == ("what", "a")
    assert {"a", "b"} < candidates_of(what) <= set("abcdefghijk")
    assert (when.sentences[0], right_candidates(when)) == ("when", {"d", "e"})
    assert (why.sentences[0], right_candidate(why), candidates_of(why)) == ("why", "f", {"f", "g", "h"})
    assert (how.sentences[0], right_candidate(how), sorted(how.sentences[1:])) == ("how", "j", ["j", "k", "k"])
    assert all(len(candidates_of(example)) == 3 for example in (what, when, why))
    assert len(what.sentences) == task.num_sentences == 4


def test_qnli_as_it_is_downloaded(tmp_path: Path) -> None:
    write_archive("QNLI", tmp_path, {"train": 12, "valid": 12, "test": 2})
    task = task_from_config("QNLI-answers", {"check_rows": False})
    counts = prepare_task(task, raw_files(task, data_dir=str(tmp_path)), tmp_path / "out", max_train_examples=4)
    assert set(counts) == {"train", "valid"}
    assert counts["train"] == 4
    assert len(next(read_prepared(tmp_path / "out" / "valid.tsv")).sentences) == 9
