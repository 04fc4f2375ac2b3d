"""Checkpoints out of tar archives."""

import io
import tarfile
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from workflow_scripts.unpack_checkpoint import unpack_checkpoint


def write_archive(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))


def test_the_model_is_taken_out_of_its_folder(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar.gz", ["roberta.base/dict.txt", "roberta.base/model.pt"])
    unpack_checkpoint(tmp_path / "a.tar.gz", tmp_path / "out" / "model.pt")
    assert (tmp_path / "out" / "model.pt").read_text() == "roberta.base/model.pt"


def test_what_is_no_such_archive_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar.gz", ["dict.txt"])
    with pytest.raises(UserError, match=r"a\.tar\.gz has no model\.pt"):
        unpack_checkpoint(tmp_path / "a.tar.gz", tmp_path / "model.pt")
    whole = (tmp_path / "a.tar.gz").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no archive"):
        (tmp_path / "a.tar.gz").write_bytes(damaged)
        with pytest.raises(UserError, match="no sound tar archive"):
            unpack_checkpoint(tmp_path / "a.tar.gz", tmp_path / "model.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
