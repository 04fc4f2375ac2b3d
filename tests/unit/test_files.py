"""Lines by `\\n` alone, errors by byte offset, and nothing half-written in place."""

import bz2
import gzip
import lzma
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest

from cross_thought.errors import UserError
from cross_thought.files import atomic_directory, atomic_file, check_output, read_chunks, read_lines, split_lines

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


@pytest.mark.parametrize(
    ("data", "what", "remedy"),
    [
        (lzma.compress(b"text\n"), "packed by xz", "unpack it (xz -d)"),
        (bz2.compress(b"text\n"), "packed by bzip2", "unpack it (bzip2 -d)"),
        (b"\x28\xb5\x2f\xfd rest", "packed by zstd", "unpack it (zstd -d)"),
        (b"PK\x03\x04 rest", "a zip archive, as spreadsheets are", "unpack it, or save the table as CSV"),
        ("text\n".encode("utf-16"), "UTF-16", "convert it (iconv -f UTF-16 -t UTF-8)"),
        ("text\n".encode("utf-32"), "UTF-32", "convert it (iconv -f UTF-32 -t UTF-8)"),
    ],
)
def test_what_is_often_taken_for_text_is_named(data: bytes, what: str, remedy: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(data)
    with pytest.raises(UserError) as error:
        list(read_lines(path))
    assert str(error.value) == f"{path} is {what}, and text is read as UTF-8, plain or packed by gzip: {remedy}"
    path.write_bytes(b"BZh is a name\nPK, too\n")
    assert list(read_lines(path)) == ["BZh is a name", "PK, too"]


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])
@pytest.mark.parametrize(
    "text",
    [
        "A line, and\nanother.\n",
        "a\tb\tc\n1\t2\t3\n",
        '{"text": "a"}',
        "“It’s” – he said … “so”\r\n",
        "Привет, мир\nещё одна строка\n",
        "यह एक वाक्य है\nदूसरा\n",
        "สวัสดี ชาวโลก\n",
        "I like it 😀 a lot\n" * 9999,
    ],
)
def test_wide_characters_without_a_mark_are_named(text: str, encoding: str, tmp_path: Path) -> None:
    """Each of these is UTF-8 as well, of characters such as NUL."""
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(text.encode(encoding)))
    with pytest.raises(UserError) as error:
        list(read_lines(path))
    assert str(error.value) == (
        f"{path} is {encoding} without a byte order mark, and text is read as UTF-8, plain or packed by gzip: "
        f"convert it (iconv -f {encoding} -t UTF-8)"
    )
    path.write_text(text, encoding="utf-8", newline="")
    assert list(read_lines(path)) == split_lines(text)


@pytest.mark.parametrize("text", ["nul\0inside\n", "\0\0\0\0", "1\t2\n" * 99, "one\0two\0" * 99, "a\0 line\n\0\n" * 99])
def test_nuls_are_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(text.encode())
    assert list(read_lines(tmp_path / "text")) == split_lines(text)


@pytest.mark.parametrize("chunk_bytes", [3, 100])
def test_a_file_of_one_line_with_returns_is_refused(chunk_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "text"
    for text in ("one\rtwo\r\rthree\r", "one\rtwo\r\rthree\n"):
        path.write_bytes(text.encode())
        with pytest.raises(UserError) as error:
            list(read_lines(path, chunk_bytes=chunk_bytes))
        assert str(error.value) == (
            f"{path}: lines end in a carriage return alone (3 of them, and 1 in a line feed), as on old Macs; convert "
            "the file: tr '\\r' '\\n' < OLD > NEW"
        )
    for text in ("one\rtwo\nthree", "one\r", "\r\n", "one\r\ntwo\r\n", "\n"):
        path.write_bytes(text.encode())
        assert list(read_lines(path, chunk_bytes=chunk_bytes)) == split_lines(text)


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


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_what_libraries_write_follows_the_umask(mask: int, tmp_path: Path) -> None:
    """Files by way of `tempfile` are their owner's alone, whatever the umask says."""
    before = os.umask(mask)
    try:
        for place in ("file", "folder"):
            atomic = atomic_file if place == "file" else atomic_directory
            with atomic(tmp_path / place) as partial:
                target = partial if place == "file" else partial / "below/inner"
                target.parent.mkdir(exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=tmp_path, delete=False) as file:
                    file.write(b"text")
                os.replace(file.name, target)
    finally:
        os.umask(before)
    for path in (tmp_path / "file", tmp_path / "folder/below/inner"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        assert path.read_bytes() == b"text"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["below", "file", "folder", "inner"]


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for check in (check_output, lambda path: atomic_file(path).__enter__()):
        with pytest.raises(UserError, match="folder is a folder where a file is to be written: give another name"):
            check(tmp_path / "folder")
    for check in (lambda path: check_output(path, is_folder=True), lambda path: atomic_directory(path).__enter__()):
        with pytest.raises(UserError, match="file is a file where a folder is to be written: give another name"):
            check(tmp_path / "file")
    with pytest.raises(UserError, match=r"file is a file where a folder is needed for e\.npy: correct the path"):
        check_output(tmp_path / "file/below/e.npy")
    check_output(tmp_path / "new/below/e.npy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_no_file_takes_the_place_of_a_pipe_or_of_what_is_read(tmp_path: Path) -> None:
    """As root, /dev/null itself would be gone."""
    os.mkfifo(tmp_path / "pipe")
    for check in (check_output, lambda path: atomic_file(path).__enter__()):
        with pytest.raises(
            UserError, match="pipe is a device or a pipe, and a file would take its place: give another"
        ):
            check(tmp_path / "pipe")
    (tmp_path / "rows.tsv").touch()
    (tmp_path / "link.tsv").symlink_to("rows.tsv")
    for output in (tmp_path / "rows.tsv", tmp_path / "link.tsv"):
        with pytest.raises(
            UserError, match=r"\.tsv would take the place of what is read, .*rows\.tsv: give another name"
        ):
            check_output(output, sources=[tmp_path / "rows.tsv"])
    with pytest.raises(UserError, match="would take the place of what is read"):
        check_output(tmp_path, is_folder=True, sources=[tmp_path / "rows.tsv"])
    check_output(tmp_path / "other.tsv", sources=[tmp_path / "rows.tsv", tmp_path / "other.tsv"])  # not there


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk/folder").mkdir(parents=True)
    for name in ("file", "folder", "new"):
        (tmp_path / name).symlink_to(f"disk/{name}")
    for name in ("file", "new"):
        check_output(tmp_path / name)
        with atomic_file(tmp_path / name) as partial:
            partial.write_text("text")
    check_output(tmp_path / "folder", is_folder=True)
    with atomic_directory(tmp_path / "folder") as partial:
        (partial / "inner").touch()
    assert all((tmp_path / name).is_symlink() for name in ("file", "folder", "new"))
    assert (tmp_path / "disk/file").read_text() == (tmp_path / "disk/new").read_text() == "text"
    assert sorted(path.name for path in (tmp_path / "disk").rglob("*")) == ["file", "folder", "inner", "new"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told_of_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(UserError, match="e.npy cannot be written, for .* may not: choose another place"):
        check_output(tmp_path / "e.npy")
