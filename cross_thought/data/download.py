"""Downloads: from a table of files to files in place, whole and checked, or one sentence that says why not.

The table is `resources/downloads.tsv`: name (the path below `results/downloads/`, and below `data_dir` for one's own
copy), url, bytes, sha256, mirrors (separated by spaces). A size with `~` is an estimate. A URL is http(s), `gdrive:ID`,
or `datasets:REPOSITORY/CONFIG@REVISION` for text out of the `datasets` library. Where nobody published a SHA-256, the
one of the first download is written to a lock file beside the data and holds from then on; an MD5 stands in its column
as `md5:...`.
"""

import errno
import fcntl
import hashlib
import logging
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cross_thought.data.articles import transfer_articles
from cross_thought.data.network import TransferError
from cross_thought.data.transfer import Partial, drive_remedy, partial_of, transfer_from_drive, transfer_http
from cross_thought.environment import REPOSITORY
from cross_thought.errors import UserError
from cross_thought.files import CHUNK_BYTES

logger = logging.getLogger(__name__)

DOWNLOADS_TABLE = REPOSITORY / "resources" / "downloads.tsv"
TIMEOUT_S = 60  # without a byte
ATTEMPTS = 3  # at one URL
PAUSE_S = 5  # before the second attempt; doubled before each further one
_SECONDS_BETWEEN_LOGS = 10
_MD5 = "md5:"
_LOCK_HEADER = "name\tbytes\tsha256"
_HTML_STARTS = (b"<!doctype html", b"<html")


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file to fetch.

    Attributes:
        name: its path below the downloads folder, and below `data_dir` for one's own copy.
        url: where it is.
        num_bytes: its size; None: not published.
        is_estimate: whether the size is a rough one.
        sha256: its checksum; None: not published.
        md5: another, where none of the former was published.
        mirrors: other URLs of the same file, in the order to try.
    """

    name: str
    url: str
    num_bytes: int | None = None
    is_estimate: bool = False
    sha256: str | None = None
    md5: str | None = None
    mirrors: tuple[str, ...] = ()

    @property
    def size_text(self) -> str:
        """The size for people."""
        if self.num_bytes is None:
            return "size not published"
        unit, scale = next(
            ((unit, scale) for unit, scale in (("GB", 1e9), ("MB", 1e6)) if self.num_bytes >= scale), ("kB", 1e3)
        )
        return f"{'about ' if self.is_estimate else ''}{self.num_bytes / scale:.1f} {unit}"


def read_table(path: Path) -> dict[str, Download]:
    """Read the table of downloads, by name.

    Raises:
        UserError: if a line has not five fields.
    """
    table = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()[1:], start=2):
        fields = line.split("\t")
        if len(fields) != 5:
            raise UserError(
                f"{path}, line {number}: {len(fields)} fields instead of 5 (name, url, bytes, sha256, mirrors)"
            )
        name, url, size, checksum, mirrors = fields
        is_md5 = checksum.startswith(_MD5)
        table[name] = Download(
            name=name,
            url=url,
            num_bytes=int(size.lstrip("~")) if size else None,
            is_estimate=size.startswith("~"),
            sha256=None if is_md5 else checksum or None,
            md5=checksum.removeprefix(_MD5) if is_md5 else None,
            mirrors=tuple(mirrors.split()),
        )
    return table


def checkpoint_download(table: dict[str, Download], *, source: str, location: str) -> Download:
    """Return the download of a model's checkpoint: the table's where it has the place, else one made up for it.

    `source` is "gdrive", and `location` a Drive id; or "url", and it is a URL.
    """
    url = f"gdrive:{location}" if source == "gdrive" else location
    for download in table.values():
        if download.url == url:
            return download
    suffix = ".tar.gz" if location.endswith((".tar.gz", ".tgz")) else ".pt"
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    return Download(name=f"checkpoints/{source}-{key}{suffix}", url=url)


def fetch(
    download: Download,
    folder: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    attempts: int = ATTEMPTS,
    pause_s: float = PAUSE_S,
) -> Path:
    """Fetch a file, trying its URL and its mirrors in turn.

    Args:
        download: what to fetch.
        folder: the downloads folder, which also holds the lock file `downloads.lock.tsv`.
        timeout_s: seconds without a byte after which a transfer counts as stalled.
        attempts: tries at each URL.
        pause_s: seconds before the second try; doubled before each further one.

    Returns:
        The file's path; it is there only when it is whole and right.

    Raises:
        UserError: naming each URL with the reason, and the remedy.
    """
    target = folder / download.name
    failures = []
    try:
        with partial_of(target) as partial:
            for url in (download.url, *download.mirrors):
                try:
                    _fetch_from(
                        url,
                        download,
                        partial,
                        lock_path=folder / "downloads.lock.tsv",
                        timeout_s=timeout_s,
                        attempts=attempts,
                        pause_s=pause_s,
                    )
                except TransferError as error:
                    failures.append(f"{url}: {error}")
                else:
                    partial.place(target)
                    logger.info("%s: done", download.name)
                    return target
    except OSError as error:
        raise UserError(_disk_message(error, target, download)) from error
    kept = f"; {partial.num_bytes / 1e6:.1f} MB are kept to go on from" if partial.num_bytes else ""
    raise UserError(
        f"{download.name} could not be fetched ({'; '.join(failures)}){kept}; try again later, or get the file by hand "
        f"and put it at {download.name} below the folder that data_dir in the config names"
    )


def _fetch_from(
    url: str,
    download: Download,
    partial: Partial,
    *,
    lock_path: Path,
    timeout_s: float,
    attempts: int,
    pause_s: float,
) -> None:
    """Fetch a file from one URL, and check it; a try that got on counts as none."""
    failed = 0
    while True:
        logger.info("%s: %s from %s%s", download.name, download.size_text, url, f", try {failed + 1}" if failed else "")
        before = partial.num_bytes
        try:
            _transfer(url, partial, download, timeout_s=timeout_s)
            try:
                _check(partial.path, download, lock_path)
            except TransferError:
                partial.discard()
                raise
            return
        except TransferError as error:
            logger.info("%s: %s", url, error)
            failed = 1 if partial.num_bytes > before else failed + 1
            if error.is_lasting or failed >= attempts:
                raise
        time.sleep(pause_s * 2 ** (failed - 1))


def _disk_message(error: OSError, target: Path, download: Download) -> str:
    """Say what the disk refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {target} ({download.size_text}) does not fit; make room, or run in a folder on a "
            "larger disk, and run again"
        )
    return f"{target} cannot be written ({error.strerror or error}); mend the folder's permissions and run again"


def _transfer(url: str, partial: Partial, download: Download, *, timeout_s: float) -> None:
    """Fetch one URL into `partial`."""
    scheme, _, rest = url.partition(":")
    if scheme == "datasets":
        transfer_articles(rest, partial, timeout_s=timeout_s)
    elif scheme == "gdrive":
        transfer_from_drive(rest, partial, progress=_Progress(download), timeout_s=timeout_s)
    else:
        transfer_http(url, partial, progress=_Progress(download), timeout_s=timeout_s)


def _check(path: Path, download: Download, lock_path: Path) -> None:
    """Hold a fetched file against what is known of it."""
    with open(path, "rb") as handle:
        start = handle.read(1024).lstrip().lower()
        if start.startswith(_HTML_STARTS):
            if download.url.startswith("gdrive:"):
                raise TransferError(drive_remedy(download.url.partition(":")[2]), is_lasting=True)
            raise TransferError(
                "an HTML page came in place of the file (a login, quota or error page)", is_lasting=True
            )
        handle.seek(0)
        expected = {"md5": download.md5, "sha256": download.sha256}
        digests = {name: hashlib.new(name) for name in expected if name == "sha256" or download.md5}
        while block := handle.read(CHUNK_BYTES):  # once for both
            for digest in digests.values():
                digest.update(block)
    size = path.stat().st_size
    if download.num_bytes is not None and not download.is_estimate and size != download.num_bytes:
        raise TransferError(f"{size} bytes came instead of {download.num_bytes}", is_lasting=False)
    if size == 0:
        raise TransferError("an empty file came", is_lasting=False)
    found = {name: digest.hexdigest() for name, digest in digests.items()}
    for name, checksum in expected.items():
        if checksum is not None and found[name] != checksum:
            raise TransferError(f"{name} is {found[name]} instead of {checksum}", is_lasting=False)
    if download.sha256 is not None:
        return
    known = record_checksum(lock_path, download.name, size, found["sha256"])
    if known != found["sha256"]:
        raise TransferError(
            f"sha256 is {found['sha256']} instead of {known}, which the first download left in {lock_path} (delete "
            "its line if the file was changed on purpose)",
            is_lasting=False,
        )


def record_checksum(lock_path: Path, name: str, size: int, digest: str) -> str:
    """Return the checksum that the lock file has for a file, writing this one if it has none.

    Jobs fetch side by side, and each adds its line at the end. Where there are locks they wait for each other; where
    there are none (`flock` fails on Lustre and on some NFS), whole lines at the end do not get in each other's way.
    """
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_path, "a+", encoding="utf-8", newline="\n") as handle:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        text = handle.read()
        fields = [line.split("\t") for line in text.splitlines()]
        known = {row[0]: row[2] for row in reversed(fields) if len(row) == 3}
        if name not in known:
            start = "" if text.endswith("\n") else "\n" if text else f"{_LOCK_HEADER}\n"
            handle.write(f"{start}{name}\t{size}\t{digest}\n")
        return known.get(name, digest)


class _Progress:
    """A line in the log every few seconds."""

    def __init__(self, download: Download) -> None:
        self._name = download.name
        self._expected = download.num_bytes or 0
        self._logged = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._logged > _SECONDS_BETWEEN_LOGS:
            self._logged = time.monotonic()
            of_total = f" of {(total or self._expected) / 1e6:.0f}" if total or self._expected else ""
            logger.info("%s: %.0f%s MB", self._name, done / 1e6, of_total)
