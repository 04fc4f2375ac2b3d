"""Lines by `\\n` alone, errors by byte offset, and nothing half-written in place."""

import zipfile
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, atomic_file, read_chunks, read_lines, split_lines

LINE_LIKE = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h"


def test_only_newlines_end_lines(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(f"{LINE_LIKE}\n\n\r\nlast".encode())
    assert list(read_lines(path)) == [LINE_LIKE, "", "\r", "last"]
    assert split_lines("") == []
    assert split_lines("\n\n") == ["", ""]


def test_a_byte_order_mark_at_the_start_alone_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeffone\n\ufefftwo\n".encode())
    assert list(read_lines(path)) == ["one", "\ufefftwo"]


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 100])
def test_chunks_are_whole_lines_with_their_offsets(chunk_bytes: int, tmp_path: Path) -> None:
    text = "é\nlonger line\n\n\nend without newline".encode()
    path = tmp_path / "text"
    path.write_bytes(text)
    chunks = list(read_chunks(path, chunk_bytes=chunk_bytes))
    assert b"".join(chunk for _, chunk in chunks) == text
    for offset, chunk in chunks:
        assert text[offset : offset + len(chunk)] == chunk
        assert offset == 0 or text[offset - 1 : offset] == b"\n"
    assert b"".join(chunk for _, chunk in read_chunks(path, start=3, end=15, chunk_bytes=chunk_bytes)) == text[3:15]


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xc3", b"\xf8\x88\x80\x80\x80"])
def test_invalid_utf8_is_named_by_file_and_byte(bad: bytes, tmp_path: Path) -> None:
    path = tmp_path / "text"
    good = "fine\nfine é\n".encode()
    path.write_bytes(good + bad + b"\nmore\n")
    with pytest.raises(UserError, match=rf"text: byte {len(good)} \(0x{bad[0]:02x}\) is not valid UTF-8"):
        list(read_lines(path))


def test_archive_members(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/b.txt", "one\ntwo\n")
    assert list(read_lines(path, member="folder/b.txt")) == ["one", "two"]
    with pytest.raises(UserError, match=r"has no member folder/c\.txt"):
        list(read_lines(path, member="folder/c.txt"))
    path.write_bytes(b"no archive")
    with pytest.raises(UserError, match="no sound zip archive"):
        list(read_lines(path, member="folder/b.txt"))
    with pytest.raises(UserError, match="is not there"):
        list(read_lines(tmp_path / "gone"))


def write_half(path: Path) -> None:
    with atomic_file(path) as partial:
        partial.write_text("half")
        raise RuntimeError("half-way")


def fill_half(path: Path) -> None:
    with atomic_directory(path) as partial:
        (partial / "third").touch()
        raise RuntimeError("half-way")


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with atomic_file(path) as partial:
        partial.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"):
        write_half(path)
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for name in ("first", "second"):
        with atomic_directory(path) as partial:
            (partial / name).touch()
    assert [file.name for file in path.iterdir()] == ["second"]
    with pytest.raises(RuntimeError, match="half-way"):
        fill_half(path)
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]
    assert [file.name for file in path.iterdir()] == ["second"]
