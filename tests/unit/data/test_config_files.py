"""The files that a config names: found, none twice, or refused in a sentence."""

import re
from pathlib import Path

import pytest

from cross_thought.config import load_config
from cross_thought.data.raw_files import RawFile, raw_files
from cross_thought.data.tasks import task_from_config
from cross_thought.errors import UserError

ENTRY = {"input_columns": ["one", "two"], "label_column": "label", "labels": ["no", "yes"]}


def test_a_file_that_a_list_and_a_pattern_name_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        (tmp_path / f"part-{number}.csv").touch()
    entry = ENTRY | {"files": {"train": ["part-1.csv", "part-*.csv"], "valid": "part-1.csv"}}
    config = load_config({"tasks": {"mine": entry}})
    assert config["tasks"]["mine"]["files"]["train"] == ["part-1.csv", "part-0.csv"]


@pytest.mark.parametrize(
    ("changes", "train", "message"),
    [
        ({"folder": "x"}, "a.tsv", "tasks.mine.folder is below data_dir, which is not set"),
        ({"archive": "gone.zip"}, "a.tsv", "tasks.mine.archive is 'gone.zip', which is no name in resources/downloads.tsv"),
        ({}, {"path": "a.tsv", "download": "gone"}, "tasks.mine.files.train.download is 'gone', which is no name in"),
        ({}, {"path": "a.tsv", "ids": "glue/MRPC/dev_ids.tsv"}, "files.train.ids selects rows of a `download`, and there"),
        ({"archive": "glue/RTE.zip"}, ["a.tsv", "b.tsv"], "but a file of a folder or an archive stands alone: name it"),
    ],
)  # fmt: skip
def test_files_that_are_looked_for_and_nowhere_are_refused(changes: dict, train: object, message: str) -> None:
    entry = ENTRY | {"files": {"train": train, "valid": __file__}} | changes
    with pytest.raises(UserError, match=re.escape(message)):
        load_config({"tasks": {"mine": entry}})


def test_own_files_may_be_a_folders_a_downloads_and_an_archives(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/a.tsv").touch()
    files = {"train": "a.tsv", "valid": "a.tsv"}
    load_config({"data_dir": str(tmp_path), "tasks": {"mine": ENTRY | {"files": files, "folder": "x"}}})
    gone = ENTRY | {"files": files | {"valid": "gone.tsv"}, "folder": "x"}
    with pytest.raises(UserError, match=r"files.valid is 'gone.tsv', which is no file in x below data_dir; correct it"):
        load_config({"data_dir": str(tmp_path), "tasks": {"mine": gone}})
    paths = {"train": {"path": "a.tsv", "download": "glue/AX.tsv"}, "valid": __file__}
    mixed = raw_files(task_from_config("mine", ENTRY | {"files": paths}), data_dir=None)
    assert [mixed[split].path for split in paths] == ["results/downloads/glue/AX.tsv", __file__]
    packed = raw_files(task_from_config("mine", ENTRY | {"files": files, "archive": "glue/RTE.zip"}), data_dir=None)
    assert packed["train"] == RawFile(path="results/downloads/glue/RTE.zip", member="a.tsv")
