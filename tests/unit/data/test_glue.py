"""Reading GLUE's files: their quirks, their row counts, and what is refused."""

import os
import re
from pathlib import Path

import pytest

from cross_thought.data.definitions import Split, Task
from cross_thought.data.glue import prepare_task, read_split
from cross_thought.data.prepared import Example, read_prepared
from cross_thought.data.raw_files import RawFile, raw_files
from cross_thought.data.tasks import TASKS, task_from_config
from cross_thought.errors import UserError
from tests.unit.data.glue_format import GLUE, WORDS, make_rows, write_archive

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
COUNTS = {"train": 23, "valid": 7, "test": 5}


def own_task(**changes: object) -> Task:
    split = Split(file="train.tsv", input_columns=(1, 2), label_column=3)
    settings = {"metrics": ("accuracy",), "labels": ("0", "1"), "num_sentences": 2, "splits": {"train": split}}
    return Task(name="mine", **(settings | changes))


def read(task: Task, path: Path, content: bytes) -> list[Example]:
    path.write_bytes(content)
    return read_split(task, "train", RawFile(path=str(path)))[0]


@pytest.mark.parametrize("name", [*GLUE, "AX", "SNLI"])
def test_every_task_in_its_own_format(name: str, tmp_path: Path) -> None:
    write_archive(name, tmp_path, COUNTS)
    task = task_from_config(name, {"check_rows": False})
    output = tmp_path / "out"
    counts = prepare_task(task, raw_files(task, data_dir=str(tmp_path)), output)
    assert counts == {split: COUNTS[split.rstrip("1")] for split in task.splits}
    for split, definition in task.splits.items():
        rows = make_rows(name, split, COUNTS[split.rstrip("1")])
        header = rows.pop(0) if definition.header else []
        places = [header.index(c) if isinstance(c, str) else c - 1 for c in definition.input_columns]
        examples = list(read_prepared(output / f"{split}.tsv"))
        sentences = [tuple(row[place] for place in places) for row in rows]
        if name != "MRPC":  # whose dev rows stand among the others
            assert [example.sentences for example in examples] == sentences
        assert sorted(example.sentences for example in examples) == sorted(sentences)
        labelled = split in ("train", "valid", "valid1") or name == "SNLI"
        for example in examples:
            assert set(" ".join(example.sentences).split()) <= set(WORDS)
            assert bool(example.label) == labelled
            assert not example.label or task.labels is None or example.label in task.labels


@pytest.mark.parametrize("name", ["RTE", "MRPC", "SST-2"])
def test_the_real_files_have_the_published_rows(name: str, tmp_path: Path) -> None:
    if not (REAL_DATA / "glue" / name).is_dir():
        pytest.skip(f"needs the real files in {REAL_DATA}/glue/{name}")
    task = TASKS[name]
    counts = prepare_task(task, raw_files(task, data_dir=str(REAL_DATA)), tmp_path / name)
    assert counts == {split: value.expected_rows for split, value in task.splits.items()}
    for split, count in counts.items():
        assert len((tmp_path / name / f"{split}.tsv").read_bytes().split(b"\n")) == count + 2


def test_quotes_and_odd_line_breaks_are_text(tmp_path: Path) -> None:
    odd = 'she said "no\rand\u2028left\x85'
    examples = read(own_task(), tmp_path / "a", f'h\th\th\n{odd}\t"\t1\n"\tb"\t0\n'.encode())
    assert examples == [Example("1", (odd, '"')), Example("0", ('"', 'b"'))]


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    split = Split(file="train.tsv", input_columns=("one", "two"), label_column="label")
    content = "\ufeffone\ttwo\tlabel\r\na\tb\t1\r\nc\td\t0".encode()
    examples = read(own_task(splits={"train": split}), tmp_path / "a", content)
    assert examples == [Example("1", ("a", "b")), Example("0", ("c", "d"))]


def test_malformed_rows_are_left_out_where_the_task_says_so(tmp_path: Path) -> None:
    split = Split(file="train.tsv", input_columns=(4, 5), label_column=6, num_fields=6, expected_rows=2)
    content = b"h\n1\t2\t3\ta\tb\t1\nonly\tfive\tfields\there\t1\n1\t2\t3\tc\td\t0\n\n"
    examples = read(own_task(splits={"train": split}), tmp_path / "a", content)
    assert [example.sentences for example in examples] == [("a", "b"), ("c", "d")]


def test_rows_without_an_agreed_label_are_left_out_but_counted(tmp_path: Path) -> None:
    split = Split(file="train.tsv", input_columns=(1, 2), label_column=3, expected_rows=2)
    task = own_task(splits={"train": split}, ignored_labels=("-",))
    assert read(task, tmp_path / "a", b"h\th\th\na\tb\t-\nc\td\t1\n") == [Example("1", ("c", "d"))]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"h\th\na\tb\n", "a, line 2: 2 fields where columns 1, 2, 3 are needed"),
        (b"h\th\th\na\tb\t1\nc\td\n", "a, line 3: 2 fields where line 1 has 3; mend the row: is it cut, or"),
        (b"h\th\th\na\tb\tc\t1\n", "a, line 2: 4 fields where line 1 has 3; mend the row: is it cut, or"),
        (b"h\th\th\na\tb\t2\n", "a, line 2: label '2' is none of mine's 0, 1"),
        (b"h\th\th\na\tb\t1 \n", "a, line 2: label '1 ' is none of mine's 0, 1"),
        (b"h\n", "has no rows"),
        (b"", "has no rows"),
        (b"h\th\th\na\tb\t1\n\xff\tb\t1\n", "a: byte 12 (0xff) is not valid UTF-8"),
    ],
)
def test_what_does_not_fit_is_named_by_its_line(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        read(own_task(), tmp_path / "a", content)


@pytest.mark.parametrize("score", ["", "high", "nan", "inf", "1_0"])
def test_a_score_must_be_a_number(score: str, tmp_path: Path) -> None:
    task = own_task(labels=None, metrics=("pearson",))
    with pytest.raises(UserError, match=rf"line 2: score '{score}' is not a number"):
        read(task, tmp_path / "a", f"h\th\th\na\tb\t{score}\n".encode())


def test_a_wrong_row_count_is_refused_unless_it_is_wanted(tmp_path: Path) -> None:
    write_archive("RTE", tmp_path, COUNTS)
    raw = raw_files(TASKS["RTE"], data_dir=str(tmp_path))
    with pytest.raises(UserError, match=r"RTE\.zip:RTE/train\.tsv has 23 rows where RTE's published train has 2490"):
        prepare_task(TASKS["RTE"], raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_sample_is_the_same_each_time_and_in_file_order(tmp_path: Path) -> None:
    write_archive("SST-2", tmp_path, COUNTS | {"train": 500})
    task = task_from_config("SST-2", {"check_rows": False})
    raw = raw_files(task, data_dir=str(tmp_path))
    for folder in ("one", "two"):
        assert prepare_task(task, raw, tmp_path / folder, max_train_examples=100)["train"] == 100
    prepare_task(task, raw, tmp_path / "all")
    sample = list(read_prepared(tmp_path / "one" / "train.tsv"))
    assert sample == list(read_prepared(tmp_path / "two" / "train.tsv"))
    everything = iter(read_prepared(tmp_path / "all" / "train.tsv"))
    assert all(example in everything for example in sample)  # consumes: the order holds
    assert {example.label for example in sample} == {"0", "1"}
    assert len(list(read_prepared(tmp_path / "one" / "valid.tsv"))) == COUNTS["valid"]


def test_a_missing_named_column_is_named(tmp_path: Path) -> None:
    task = own_task(splits={"train": Split(file="t", input_columns=("premise", "two"), label_column="label")})
    with pytest.raises(UserError, match="line 1: no column 'premise' among one, two, label"):
        read(task, tmp_path / "a", b"one\ttwo\tlabel\na\tb\t1\n")
