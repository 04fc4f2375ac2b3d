"""Reading text by its bytes, and writing so that nothing half-written is ever in place."""

import errno
import gzip
import hashlib
import json
import logging
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from cross_thought.errors import DISK_FULL, UserError

logger = logging.getLogger(__name__)

_GZIP = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# how files begin that are often taken for text: what they are, and what makes UTF-8 of them
_NO_UTF8 = {
    b"\xfd7zXZ\x00": ("packed by xz", "unpack it (xz -d)"),
    b"BZh91AY&SY": ("packed by bzip2", "unpack it (bzip2 -d)"),
    b"\x28\xb5\x2f\xfd": ("packed by zstd", "unpack it (zstd -d)"),
    b"PAR1": ("Parquet", "set `format: parquet`, or name it .parquet"),
    b"PK\x03\x04": ("a zip archive, as spreadsheets are", "unpack it, or save the table as CSV"),
    b"\xff\xfe\x00\x00": ("UTF-32", "convert it (iconv -f UTF-32 -t UTF-8)"),  # before UTF-16, which it begins like
    b"\x00\x00\xfe\xff": ("UTF-32", "convert it (iconv -f UTF-32 -t UTF-8)"),
    b"\xff\xfe": ("UTF-16", "convert it (iconv -f UTF-16 -t UTF-8)"),
    b"\xfe\xff": ("UTF-16", "convert it (iconv -f UTF-16 -t UTF-8)"),
}
CHUNK_BYTES = 1 << 24
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Hand out a temporary sibling of `path` to write to, and put it in place when the block ends well.

    Raises:
        UserError: before the block runs, if `path` is a folder, a device or a pipe.
    """
    _check_kind(path, is_folder=False)
    path = _followed(path)
    partial = _sibling(path)
    try:
        yield partial
        _follow_umask(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Hand out an empty temporary sibling of the folder `path`, and put it in place when the block ends well.

    Raises:
        UserError: before the block runs, if `path` is a file.
    """
    _check_kind(path, is_folder=True)
    path = _followed(path)
    partial = _sibling(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        for file in partial.rglob("*"):
            _follow_umask(file)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_output(path: Path, *, is_folder: bool = False, sources: Iterable[Path] = ()) -> None:
    """Refuse, before there is a result to lose, a place where no file, or folder, can be written.

    One that is there may be written over, unless it is, or holds, one of the `sources`, which are still to be read.

    Raises:
        UserError: if it is there as something else, or what is read would be lost, or nothing can be written where it
            is to lie.
    """
    _check_kind(path, is_folder=is_folder)
    for source in sources:
        if source.exists() and source.resolve().is_relative_to(path.resolve()):
            raise UserError(f"{path} would take the place of what is read, {source}: give another name for the output")
    path = _followed(path)
    above = next(parent for parent in path.parents if parent.exists())
    if not above.is_dir():
        raise UserError(f"{above} is a file where a folder is needed for {path.name}: correct the path")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"{path} cannot be written, for {above} may not: choose another place, or change permissions")


def _check_kind(path: Path, *, is_folder: bool) -> None:
    """Refuse to put a file in the place of anything but a file, and a folder in that of anything but a folder."""
    if not is_folder and path.is_dir():
        raise UserError(f"{path} is a folder where a file is to be written: give another name")
    if not is_folder and path.exists() and not path.is_file():
        raise UserError(
            f"{path} is a device or a pipe, and a file would take its place: give another name, or send stdout there"
        )
    if is_folder and path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file where a folder is to be written: give another name")


def _followed(path: Path) -> Path:
    """Return what a symbolic link leads to, which is what is written: the link stays."""
    return path.resolve() if path.is_symlink() else path


def _follow_umask(path: Path) -> None:
    """Let others read a file as the umask says: what libraries make by way of `tempfile` is its owner's alone."""
    if not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_mode & 0o077:
        return
    probe = path.with_name(f".{path.name}.umask")  # to ask for the umask is to change it, for all threads
    probe.touch()
    try:
        path.chmod(probe.stat().st_mode & 0o777)
    finally:
        probe.unlink()


def _sibling(path: Path) -> Path:
    """Return the place beside `path` to write to, in a folder that is there."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.partial")


def check_writable(*folders: Path) -> None:
    """Refuse to work in folders where nothing can be written; those that are not there are passed over.

    Raises:
        UserError: if one is read-only, not the user's, or on a full disk.
    """
    for folder in folders:
        if not folder.exists():
            continue
        if not os.access(folder, os.W_OK):
            raise UserError(
                f"{folder.resolve().name}/ may not be written: run in another folder, or change permissions"
            )
        if shutil.disk_usage(folder).free == 0:
            raise UserError(f"{folder.resolve().name}/: {DISK_FULL}")


@contextmanager
def open_bytes(path: Path, *, member: str | None = None) -> Iterator[IO[bytes]]:
    """Open a file, or a member of the zip or tar archive at `path`, for bytes; what gzip has packed is unpacked.

    Raises:
        UserError: if the file or the member is not there, or the archive or what gzip has packed is damaged.
    """
    try:
        with _open_plain_or_gzip(path) if member is None else _open_member(path, member) as handle:
            yield handle
    except FileNotFoundError as error:
        raise UserError(f"{path} is not there: put the file in its place or correct the path") from error


@contextmanager
def _open_plain_or_gzip(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, which gzip has packed if it begins like that, whatever its name."""
    with open(path, "rb") as file, _unpacked(file, path) as handle:
        yield handle


@contextmanager
def _unpacked(file: Any, path: Path) -> Iterator[IO[bytes]]:
    """Hand out an open file, unpacked if gzip has packed it."""
    if not file.peek(len(_GZIP)).startswith(_GZIP):
        yield file
        return
    try:
        with gzip.open(file) as unpacked:
            yield cast(IO[bytes], unpacked)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is no sound gzip file ({reason}): fetch it or pack it again") from error


@contextmanager
def _open_member(path: Path, member: str) -> Iterator[IO[bytes]]:
    """Open a file in an archive."""
    kind = "tar" if ".tar" in path.suffixes[-2:] else "zip"
    try:
        with ExitStack() as stack:
            if kind == "tar":
                file: Any = stack.enter_context(tarfile.open(path)).extractfile(member)
            else:
                file = stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open(member))
            yield stack.enter_context(_unpacked(file, path))
    except KeyError as error:
        raise UserError(
            f"{path} has no member {member}: the archive is not the expected one, fetch it again"
        ) from error
    except UserError:
        raise
    except Exception as error:  # zipfile stumbles over damage in many ways, a seek to nowhere (EINVAL) among them
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno not in (None, errno.EINVAL)):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is no sound {kind} archive ({reason}): delete it and fetch it again") from error


def decode(data: bytes, *, path: Path | str, offset: int) -> str:
    """Decode UTF-8 that starts at byte `offset` of `path`.

    Raises:
        UserError: naming the file and the offset of the first byte that is not UTF-8.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: byte {offset + error.start} (0x{data[error.start]:02x}) is not valid UTF-8 ({error.reason}); "
            "convert the file to UTF-8 or remove that byte"
        ) from error


def _refuse_no_utf8(data: bytes, where: str) -> None:
    """Refuse a file by what it begins with: to remove those bytes would not help."""
    found = next((about for start, about in _NO_UTF8.items() if data.startswith(start)), None)
    if found is None and (encoding := _wide_encoding(data[:4096])):
        found = f"{encoding} without a byte order mark", f"convert it (iconv -f {encoding} -t UTF-8)"
    if found is not None:
        raise UserError(f"{where} is {found[0]}, and text is read as UTF-8, plain or packed by gzip: {found[1]}")


def _wide_encoding(data: bytes) -> str | None:
    """Return which UTF-16 or UTF-32 a text seems to be by its beginning; None: neither.

    Alphabets and punctuation end below U+2100: in UTF-16 they may be valid UTF-8. Of what is above, decoding says so.
    """
    for order in ("LE", "BE"):
        # from the highest byte of each character to the lowest
        first, second, *_, last = (data[place::4] for place in (range(3, -1, -1) if order == "LE" else range(4)))
        if first and last.strip(b"\0") and not first.strip(b"\0") and not second.strip(b"\0\1\2\3"):
            return f"UTF-32{order}"
        high, low = (data[1::2], data[::2]) if order == "LE" else (data[::2], data[1::2])
        num_others = len(high.translate(None, bytes(range(0x21))))
        if 0 in high and low.strip(b"\0") and num_others < 0.2 * len(high):  # 0: of a space or an end of line
            return f"UTF-16{order}"
    return None


def read_chunks(
    path: Path, *, member: str | None = None, start: int = 0, end: int | None = None, chunk_bytes: int = CHUNK_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Yield a file in pieces of whole lines, each with its byte offset; a byte order mark at the start is left out.

    A line longer than `chunk_bytes` comes whole. Only `\\n` ends a line.

    Args:
        path: a file, or a zip or tar archive.
        member: the file inside the archive.
        start: byte to start at, the beginning of a line.
        end: byte to stop before; None: read all.
        chunk_bytes: bytes to read at once.

    Raises:
        UserError: as `open_bytes`, and if the file begins like one that is packed otherwise, or UTF-16, or UTF-32.
    """
    with open_bytes(path, member=member) as handle:
        if start:
            handle.seek(start)
        offset = position = start
        pending: list[bytes] = []  # the beginning of a line whose end has not been read yet
        while block := handle.read(chunk_bytes if end is None else min(chunk_bytes, end - position)):
            if position == 0:
                _refuse_no_utf8(block, str(path) if member is None else f"{path}:{member}")
                if block.startswith(BYTE_ORDER_MARK):
                    block, offset, position = block[3:], 3, 3
            position += len(block)
            cut = block.rfind(b"\n") + 1
            if cut == 0:
                pending.append(block)
                continue
            chunk = b"".join((*pending, block[:cut]))
            yield offset, chunk
            offset += len(chunk)
            pending = [block[cut:]] if cut < len(block) else []
        if rest := b"".join(pending):
            yield offset, rest


def read_lines(path: Path, *, member: str | None = None, chunk_bytes: int = CHUNK_BYTES) -> Iterator[str]:
    """Yield the lines of a UTF-8 file without their `\\n`; nothing else ends a line, and a byte order mark is left out.

    Of a pipe, lines come once `chunk_bytes` have arrived.

    Raises:
        UserError: if the file is missing or not UTF-8 (with the byte offset), or one line with a `\\r` in it is all.
    """
    where = str(path) if member is None else f"{path}:{member}"
    held = b""  # a first line with returns in it, until another one comes
    for number, (offset, chunk) in enumerate(read_chunks(path, member=member, chunk_bytes=chunk_bytes)):
        if number == 0 and b"\r" in chunk.strip() and b"\n" not in chunk.strip():
            held = chunk
            continue
        yield from split_lines(decode(held + chunk, path=where, offset=offset - len(held)))
        held = b""
    if held:
        refuse_returns(where, num_returns=held.strip().count(b"\r"), num_lines=1)


def refuse_returns(where: str, *, num_returns: int, num_lines: int) -> NoReturn:
    """Refuse a text file in which carriage returns alone end lines, which would be read as a few long ones."""
    raise UserError(
        f"{where}: lines end in a carriage return alone ({num_returns} of them, and {num_lines} in a line feed), as on "
        "old Macs; convert the file: tr '\\r' '\\n' < OLD > NEW"
    )


def count_lines(path: Path) -> int:
    """Return how many lines `read_lines` yields."""
    return sum(chunk.count(b"\n") + (not chunk.endswith(b"\n")) for _, chunk in read_chunks(path))


def is_read_once(path: Path) -> bool:
    """Whether what a path leads to cannot be read a second time: a pipe, or what comes in."""
    return path.is_relative_to("/dev") or not path.is_file()


def split_lines(text: str) -> list[str]:
    """Cut text at each `\\n` alone; the last line need not end in one.

    `str.splitlines` would also cut at `\\r`, U+2028 and others, which are text here.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def report_source(path: str, *, data_dir: str | None) -> None:
    """Say in the log which file is read, and that it is a download where `data_dir` has no file of one's own."""
    if data_dir is not None and not Path(path).is_relative_to(data_dir):
        logger.info("reading %s: data_dir %s has no such file", path, data_dir)
    else:
        logger.info("reading %s", path)


def write_json(path: Path | str, document: object) -> None:
    """Write a JSON file for people and programs, whole or not at all."""
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with atomic_file(Path(path)) as partial:
        partial.write_text(text, encoding="utf-8")


def file_hash(path: Path | str) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of(paths: Iterable[Path | str]) -> list[Path]:
    """Return the files of these and of the folders among them; hidden ones, Snakemake's time stamps, are no data."""
    found = [below for path in map(Path, paths) for below in (sorted(path.rglob("[!.]*")) if path.is_dir() else [path])]
    return [path for path in dict.fromkeys(found) if path.is_file()]


def refuse_lfs_pointer(path: Path) -> None:
    """Refuse what git leaves in a large file's place where git-lfs is not installed.

    Raises:
        UserError: if the file is such a pointer; a file that is not there passes.
    """
    try:
        with open(path, "rb") as file:
            is_pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
    except OSError:
        return
    if is_pointer:
        raise UserError(f"{path} is a git-lfs pointer, not the file itself: run `git lfs pull` in its folder")
