"""Checkpoints out of tar archives; zips that anyone may have made."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cross_thought.data.archives import unpack, unpack_zip
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


def write_zip(path: Path, names: list[str], *, size: int | None = None) -> None:
    """Write a zip of files that hold their names; the last may claim another size."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), name)
        if size is not None:
            archive.filelist[-1].file_size = size


def unpack_into(folder: Path, archive: Path) -> None:
    folder.mkdir(exist_ok=True)
    unpack_zip(archive, folder, kind="bag", required=["a.txt"], max_bytes=1000)


def test_a_zip_is_unpacked_whole(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", ["a.txt", "b/ü c..txt"])
    unpack_into(tmp_path / "out", tmp_path / "a.zip")
    assert (tmp_path / "out/a.txt").read_text() == "a.txt"
    assert (tmp_path / "out/b/ü c..txt").read_text() == "b/ü c..txt"


@pytest.mark.parametrize("name", ["../b", "b/../../c", "/b", "..\\b", "C:\\b", "C:b", "\\\\host\\share\\b"])
def test_nothing_is_written_outside_the_folder(name: str, tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", ["a.txt", name])
    with pytest.raises(UserError, match=r"a\.zip is no bag \(its file '.*' would lie outside the folder\): name one"):
        unpack_into(tmp_path / "out", tmp_path / "a.zip")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "out"]


def test_a_zip_that_takes_too_much_is_refused_before_it_does(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", ["a.txt", "b"], size=20_000_000_000)
    with pytest.raises(UserError, match=r"a\.zip unpacks to 20\.0 GB, more than the 1e-06 that are allowed:"):
        unpack_into(tmp_path / "out", tmp_path / "a.zip")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_zip_that_lies_about_a_size_does_not_go_beyond_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(10_000_000))
        archive.filelist[0].file_size = 100
    with pytest.raises(UserError, match=r"a\.zip is no bag \(.+\): name one"):
        unpack_into(tmp_path / "out", tmp_path / "a.zip")
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 100


def test_what_is_no_such_zip_is_refused(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", ["b.txt"])
    with pytest.raises(UserError, match=r"a\.zip is no bag \(it has no a\.txt\): name one"):
        unpack_into(tmp_path / "out", tmp_path / "a.zip")
    write_zip(tmp_path / "a.zip", ["a.txt", "a.txt/b"])  # a file that is a folder as well
    with pytest.raises(UserError, match="folder"):
        unpack_into(tmp_path / "out", tmp_path / "a.zip")
    write_zip(tmp_path / "a.zip", ["a.txt"])
    whole = (tmp_path / "a.zip").read_bytes()
    spoilt = whole.replace(b"a.txt", b"a.tXt", 1).replace(b"a.txt", b"b.txt", 1)
    for damaged in (whole[: len(whole) // 2], b"no archive", b"", spoilt):
        (tmp_path / "a.zip").write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.zip is no bag \(.+\): name one"):
            unpack_into(tmp_path / "other", tmp_path / "a.zip")
