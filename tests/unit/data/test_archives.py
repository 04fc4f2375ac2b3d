"""Checkpoints out of tar archives."""

import io
import tarfile
from pathlib import Path

import pytest

from cross_thought.data.archives import unpack
from cross_thought.errors import UserError


def write_archive(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))


def test_the_model_is_taken_out_of_its_folder(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar.gz", ["roberta.base/dict.txt", "roberta.base/model.pt"])
    unpack(tmp_path / "a.tar.gz", tmp_path / "out", required="model.pt")
    assert (tmp_path / "out" / "model.pt").read_text() == "roberta.base/model.pt"
    assert len(list((tmp_path / "out").iterdir())) == 1
    unpack(tmp_path / "a.tar.gz", tmp_path / "both", required="model.pt", optional=("dict.txt", "NOTE"))
    assert (tmp_path / "both" / "dict.txt").read_text() == "roberta.base/dict.txt"


def test_what_is_no_such_archive_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar.gz", ["dict.txt"])
    with pytest.raises(UserError, match=r"a\.tar\.gz has no model\.pt"):
        unpack(tmp_path / "a.tar.gz", tmp_path, required="model.pt")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no archive"):
        (tmp_path / "a.tar.gz").write_bytes(damaged)
        with pytest.raises(UserError, match="no sound tar archive"):
            unpack(tmp_path / "a.tar.gz", tmp_path, required="model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
