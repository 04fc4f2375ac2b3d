"""STS in SentEval's files: pairs with and without scores, from folders and from the archive; refusals; real SICK files."""

import json
import os
import re
import tarfile
from pathlib import Path

import pytest

from cross_thought.config import load_config
from cross_thought.data.definitions import STS_TASKS
from cross_thought.data.embedding_tasks import embedding_task_from_config
from cross_thought.data.glue import prepare_task, read_split
from cross_thought.data.prepared import Example, read_prepared
from cross_thought.data.raw_files import RawFile, missing_files, raw_files
from cross_thought.data.tasks import PAIRS, TASKS, task_from_config
from cross_thought.errors import UserError

REAL_DATA = Path(os.environ.get("CROSS_THOUGHT_DATA", Path(__file__).parents[4] / "shared" / "data"))
# the third line has no score; a line may end in \r, and more fields may follow: where the sentences are from
PARTS = {
    "a.b": ("one\ttwo\nthree\tfour\nfive\tsix\n", "4.5\n0\n\n\n"),
    "c": ('a " quote\tseven\tsource\tsource\r\n', "2.250\r\n"),
}
EXAMPLES = [
    Example("4.5", ("one", "two")),
    Example("0", ("three", "four")),
    Example("2.250", ('a " quote', "seven")),
]


def write_parts(folder: Path, parts: dict[str, tuple[str, str]], prefix: str = "STS") -> list[str]:
    """Write both files of each part; return the paths of the pairs'."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pairs, scores) in parts.items():
        (folder / f"{prefix}.input.{name}.txt").write_bytes(pairs.encode())
        (folder / f"{prefix}.gs.{name}.txt").write_bytes(scores.encode())
    return [str(folder / f"{prefix}.input.{name}.txt") for name in parts]


def own(paths: list[str] | str) -> dict:
    """Return the entry of an embedding task of these files."""
    files = {"test": {"path": paths}}
    return {"files": files, "format": "sts", "input_columns": ["sentence1", "sentence2"], "label_column": "score"}


@pytest.mark.parametrize("prefix", ["STS", "STS2016"])
def test_pairs_without_a_score_are_left_out_and_counted(prefix: str, tmp_path: Path) -> None:
    paths = write_parts(tmp_path / "mine", PARTS, prefix)
    task = task_from_config("mine", own(paths), section="embedding_tasks")
    raw = raw_files(task, data_dir=None)
    assert len(raw["test"].inputs) == 4  # a changed score makes the task anew
    prepare_task(task, raw, tmp_path / "out")
    assert list(read_prepared(tmp_path / "out" / "test.tsv")) == EXAMPLES
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["test"]
    assert summary["parts"] == {"a.b": 2, "c": 1}
    assert (summary["rows"], summary["used"], summary["dropped"]) == (4, 3, {"without a label or score": 1})


def test_a_pattern_names_all_parts_and_their_scores_must_be_there(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, PARTS)
    given = {"embedding_tasks": {"mine": own(str(tmp_path / "STS.input.*.txt"))}}
    config = load_config(given)
    assert config["embedding_tasks"]["mine"]["files"]["test"]["path"] == paths
    task = embedding_task_from_config("mine", config)
    assert (task.evaluation, task.metrics) == ("similarity", ("spearman", "pearson", "spearman_mean"))
    (tmp_path / "STS.gs.c.txt").unlink()
    with pytest.raises(UserError, match=r"files.test is .*, which is no file; correct the path"):
        load_config(given)


def test_the_years_ship_with_their_parts() -> None:
    numbers = {name: len(PAIRS[name].splits["test"].files) for name in STS_TASKS[:5]}
    assert numbers == {"STS12": 5, "STS13": 3, "STS14": 6, "STS15": 5, "STS16": 5}
    for name in STS_TASKS:
        config = {"embedding_tasks": {name: {}}, "tasks": {}}
        found = embedding_task_from_config(name, config)
        assert (found.evaluation, found.has_parts) == ("similarity", name in numbers)
        assert found.splits[-1] == "test"
        task = (TASKS | PAIRS)[name]
        assert task.downloads == ("senteval/senteval.tar",)
    assert raw_files(PAIRS["STS13"], data_dir=None)["test"] == RawFile(
        path="results/downloads/senteval/senteval.tar",
        member="STS/STS13-en-test/STS.input.FNWN.txt",
        more_members=("STS/STS13-en-test/STS.input.headlines.txt", "STS/STS13-en-test/STS.input.OnWN.txt"),
    )


def test_a_year_is_read_from_the_archive_as_from_ones_own_folder(tmp_path: Path) -> None:
    names = ("FNWN", "headlines", "OnWN")
    parts = {name: (f"{name} one\ttwo\nthree\tfour\n", f"{number}\n\n") for number, name in enumerate(names)}
    folder = tmp_path / "senteval" / "STS" / "STS13-en-test"
    write_parts(folder, parts)
    task = PAIRS["STS13"]
    expected = [Example(str(number), (f"{name} one", "two")) for number, name in enumerate(names)]
    raw = raw_files(task, data_dir=str(tmp_path))["test"]
    assert (len(raw.paths), len(raw.inputs), raw.member) == (3, 6, None)
    assert read_split(task, "test", raw)[0] == expected
    with tarfile.open(tmp_path / "senteval" / "senteval.tar", "w") as tar:
        tar.add(folder, "STS/STS13-en-test")
    (folder / "STS.input.OnWN.txt").unlink()
    packed = raw_files(task, data_dir=str(tmp_path))["test"]
    assert packed.inputs == (str(tmp_path / "senteval" / "senteval.tar"),)
    assert read_split(task, "test", packed)[0] == expected
    assert missing_files(task, data_dir=str(tmp_path)) == []
    (tmp_path / "senteval" / "senteval.tar").unlink()
    assert missing_files(task, data_dir=str(tmp_path)) == ["senteval/STS/STS13-en-test/STS.input.OnWN.txt"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"a": ("x\ty\n", "1\n2\n")}, "STS.input.a.txt, line 2: "),
        ({"a": ("x\ty\nz\tw\n", "1\n")}, "gs.a.txt ends before"),
        ({"a": ("x y\n", "1\n")}, "STS.input.a.txt, line 1: no tab in 'x y', which should be a pair"),
        ({"a": ("x\ty\n", "high\n")}, "STS.input.a.txt, line 1: score 'high' is not a number"),
        ({"a": ("x\ty\n", "1\n"), "b": ("x\ty\n", "\n")}, "STS.input.b.txt has no pairs with a score"),
    ],
)
def test_files_that_do_not_fit_are_refused(parts: dict, message: str, tmp_path: Path) -> None:
    task = task_from_config("mine", own(write_parts(tmp_path, parts)), section="embedding_tasks")
    with pytest.raises(UserError, match=re.escape(message)):
        read_split(task, "test", raw_files(task, data_dir=None)["test"])


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    paths = [
        path for year in ("2013", "2014") for path in write_parts(tmp_path / year, {"headlines": ("x\ty\n", "1\n")})
    ]
    task = task_from_config("mine", own(paths), section="embedding_tasks")
    with pytest.raises(UserError, match="a second part 'headlines' of one split; make each year's files a task"):
        read_split(task, "test", raw_files(task, data_dir=None)["test"])
    (tmp_path / "pairs.txt").touch()
    with pytest.raises(UserError, match=r"a file of format 'sts' is named STS\.input\.PART\.txt, not 'pairs\.txt'"):
        load_config({"embedding_tasks": {"mine": own(str(tmp_path / "pairs.txt"))}})


def test_sick_in_its_own_files() -> None:
    path = REAL_DATA / "sick" / "SICK_trial.txt"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    examples = read_split(TASKS["SICK-R"], "valid", RawFile(path=str(path)))[0]
    assert len(examples) == 500
    assert examples[0].label == "3.6"
    assert examples[0].sentences[1] == "There is no boy playing outdoors and there is no man smiling"
