"""Questions with candidate answers out of files: both forms, GLUE's QNLI, and each refusal with its line."""

import re
from pathlib import Path

import pytest

from cross_thought.data.definitions import Task
from cross_thought.data.glue import prepare_task, read_split
from cross_thought.data.prepared import Example, read_prepared
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
COLUMNS = FILES | {"header": False, "input_columns": [1, 2, 3, 4], "label_column": 5}


def read(entry: dict, path: Path, *rows: str) -> list[Example]:
    """Read rows whose fields are separated by `|`."""
    path.write_text("".join(row.replace("|", "\t") + "\n" for row in rows))
    return read_split(task_from_config("mine", entry), "train", RawFile(path=str(path)))


def candidates_of(example: Example) -> set[str]:
    return set(example.sentences[1:])


def right_candidate(example: Example) -> str:
    return example.sentences[int(example.label)]


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


def test_rows_without_labels_are_gathered_too(tmp_path: Path) -> None:
    (tmp_path / "test.tsv").write_text("q\ta\nq\tb\n")
    task = task_from_config("mine", ROWS | {"files": FILES["files"] | {"test": "test.tsv"}})
    (example,) = read_split(task, "test", RawFile(path=str(tmp_path / "test.tsv")))
    assert (example.label, candidates_of(example)) == ("", {"a", "b", ""})


@pytest.mark.parametrize(
    ("entry", "rows", "message"),
    [
        (ROWS, ["q|a|0", "q|b|0"], "line 1: the question has no right candidate"),
        (ROWS, ["r|a|1", "q|a|1", "r|b|0", "q|b|0", "q|c|1"], "line 5: a second right candidate for the question of line 2"),
        (ROWS, ["r|a|1", "r|b|0", "q|a|1"], "line 3: the question's only candidate"),
        (ROWS, ["q|a|1", "q|b|0", "q|c|0", "q|d|0"], "line 4: the question has 4 candidates, more than num_candidates 3"),
        (ROWS, ["q|a|1", "q| |0"], "line 2: the candidate is empty"),
        (ROWS, ["q|a|1", "q|b|0", " |b|0"], "line 3: the question is empty"),
        (ROWS, ["q|a|1", "q|b|0", "q |a |0"], "line 3: the same question and candidate as in line 1; leave one"),
        (ROWS, ["q|a|1", " q|b|1"], "line 2: a second right candidate for the question of line 1"),
        (COLUMNS, ["q|a|b| a|1"], "line 1: candidates 1 and 3 are the same; mend one or leave it empty"),
        (COLUMNS, ["|a|b|c|1"], "line 1: the question is empty"),
        (ROWS, ["q|a|yes"], "line 1: label 'yes' is none of mine's 0, 1"),
        (COLUMNS, ["q|a|b|c|1", "q|a|b|c|4"], "line 2: label '4' is none of mine's 1, 2, 3"),
        (COLUMNS, ["q|a|||1"], "line 1: 1 candidates; give two or more"),
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


def test_qnli_leaves_out_questions_without_one_right_sentence(tmp_path: Path) -> None:
    rows = [
        *("what|a|entailment", "what|b|not_entailment", "who|c|not_entailment", "when|d|entailment"),
        *("when|e|entailment", "why|f|entailment", "why|g|not_entailment", "why|h|not_entailment"),
        *("why|i|not_entailment", "how|j|entailment", "how|k|not_entailment", "how|k|not_entailment"),
    ]
    task, folder = qnli(tmp_path, {"num_candidates": 3}, rows)
    what, why = read_prepared(folder / "valid.tsv")
    assert (what.sentences[0], right_candidate(what)) == ("what", "a")
    assert {"a", "b"} < candidates_of(what) <= set("abcdefghijk")
    assert (why.sentences[0], right_candidate(why), candidates_of(why)) == ("why", "f", {"f", "g", "h"})
    assert all(len(candidates_of(example)) == 3 for example in (what, why))
    assert len(what.sentences) == task.num_sentences == 4


def test_qnli_as_it_is_downloaded(tmp_path: Path) -> None:
    write_archive("QNLI", tmp_path, {"train": 12, "valid": 12, "test": 2})
    task = task_from_config("QNLI-answers", {"check_rows": False})
    counts = prepare_task(task, raw_files(task, data_dir=str(tmp_path)), tmp_path / "out", max_train_examples=4)
    assert set(counts) == {"train", "valid"}
    assert counts["train"] == 4
    assert len(next(read_prepared(tmp_path / "out" / "valid.tsv")).sentences) == 9
