"""Downloads: from a table of files to files in place, whole and checked, or one sentence that says why not.

The table is `resources/downloads.tsv`: name (the path below `results/downloads/`, and below `data_dir` for one's own
copy), url, bytes, sha256, mirrors (separated by spaces). A size with `~` is an estimate. A URL is http(s), `gdrive:ID`,
or `datasets:REPOSITORY/CONFIG@REVISION` for text out of the `datasets` library. Where nobody published a checksum, the
one of the first download is written to a lock file beside the data and holds from then on.
"""

import errno
import fcntl
import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

from cross_thought.errors import UserError
from cross_thought.files import atomic_file

logger = logging.getLogger(__name__)

USER_AGENT = "cross-thought/0.1"  # the default one of Python is turned away by WikiText's host
TIMEOUT_S = 60  # without a byte
ATTEMPTS = 3  # at one URL
PAUSE_S = 5  # before the second attempt; doubled before each further one
_CHUNK_BYTES = 1 << 18
_SECONDS_BETWEEN_LOGS = 10
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
        mirrors: other URLs of the same file, in the order to try.
    """

    name: str
    url: str
    num_bytes: int | None = None
    is_estimate: bool = False
    sha256: str | None = None
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


class TransferError(Exception):
    """A URL did not give the file; `is_lasting` if another attempt at it is of no use."""

    def __init__(self, reason: str, *, is_lasting: bool) -> None:
        super().__init__(reason)
        self.is_lasting = is_lasting


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
        name, url, size, sha256, mirrors = fields
        table[name] = Download(
            name=name,
            url=url,
            num_bytes=int(size.lstrip("~")) if size else None,
            is_estimate=size.startswith("~"),
            sha256=sha256 or None,
            mirrors=tuple(mirrors.split()),
        )
    return table


def checkpoint_download(table: dict[str, Download], *, source: str, location: str) -> Download:
    """Return the download of a model's checkpoint: the table's where it has the place, else one made up for it.

    Args:
        table: of known downloads.
        source: "gdrive" or "url".
        location: Drive id or URL.
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
    for url in (download.url, *download.mirrors):
        for attempt in range(attempts):
            logger.info(
                "%s: %s from %s%s", download.name, download.size_text, url, f", try {attempt + 1}" if attempt else ""
            )
            try:
                with atomic_file(target) as partial:
                    _transfer(url, partial, download, timeout_s=timeout_s)
                    _check(partial, download, folder / "downloads.lock.tsv")
            except TransferError as error:
                reason = f"{url}: {error}"
                logger.info("%s", reason)
                if error.is_lasting or attempt + 1 == attempts:
                    failures.append(reason)
                    break
                time.sleep(pause_s * 2**attempt)
            except OSError as error:
                raise UserError(_disk_message(error, target, download)) from error
            else:
                logger.info("%s: done", download.name)
                return target
    raise UserError(
        f"{download.name} could not be fetched ({'; '.join(failures)}); try again later, or get the file by hand and "
        f"put it at {download.name} below the folder that data_dir in the config names"
    )


def _disk_message(error: OSError, target: Path, download: Download) -> str:
    """Say what the disk refused."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full: {target} ({download.size_text}) does not fit; make room, or run in a folder on a "
            "larger disk, and run again"
        )
    return f"{target} cannot be written ({error.strerror or error}); mend the folder's permissions and run again"


def _transfer(url: str, partial: Path, download: Download, *, timeout_s: float) -> None:
    """Fetch one URL into `partial`."""
    scheme, _, rest = url.partition(":")
    if scheme == "gdrive":
        _transfer_from_drive(rest, partial, download, timeout_s=timeout_s)
    elif scheme == "datasets":
        _transfer_dataset(rest, partial)
    else:
        _transfer_http(url, partial, download, timeout_s=timeout_s)


def _transfer_http(url: str, partial: Path, download: Download, *, timeout_s: float) -> None:
    """Fetch one http(s) URL; redirects are followed."""
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=_Progress(download),
        chunk_size=_CHUNK_BYTES,
        timeout=timeout_s,
        headers={"User-Agent": USER_AGENT},
    )
    try:
        downloader(url, str(partial), None)
    except requests.RequestException as error:
        raise _explained(error, timeout_s) from error


def _explained(error: Exception, timeout_s: float) -> TransferError:
    """Put an exception of requests into a few words."""
    import requests
    import urllib3

    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        is_lasting = 400 <= status < 500 and status not in (408, 425, 429)
        return TransferError(f"the server answered {status} {error.response.reason}", is_lasting=is_lasting)
    causes = [error, *error.args]
    if any(isinstance(cause, requests.Timeout | urllib3.exceptions.TimeoutError) for cause in causes):
        return TransferError(f"stalled, no data for {timeout_s:g} s", is_lasting=False)
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return TransferError("the connection broke off before the end of the file", is_lasting=False)
    if isinstance(error, requests.ConnectionError):
        return TransferError("no connection; is there a network, and need it a proxy?", is_lasting=False)
    return TransferError(f"{type(error).__name__}: {error}", is_lasting=True)


def _transfer_from_drive(file_id: str, partial: Path, download: Download, *, timeout_s: float) -> None:
    """Fetch a file of Google Drive."""
    import gdown
    import gdown.exceptions
    import requests

    progress = _Progress(download)

    def report(num_bytes: int, total: int | None) -> None:
        progress.total = total or 0
        progress.set(num_bytes)

    try:
        gdown.download(
            id=file_id, output=str(partial), quiet=True, use_cookies=False, timeout=timeout_s, progress=report
        )
    except gdown.exceptions.DownloadError as error:
        raise TransferError(_drive_remedy(file_id), is_lasting=True) from error
    except requests.RequestException as error:
        raise _explained(error, timeout_s) from error
    if not partial.exists():
        raise TransferError(_drive_remedy(file_id), is_lasting=True)


def _drive_remedy(file_id: str) -> str:
    """Explain Drive's refusals, which all look alike."""
    return (
        "Google Drive gives a page instead of the file, most often because too many people fetched it lately: wait a "
        f"day, or download https://drive.google.com/file/d/{file_id}/view in a browser"
    )


def _transfer_dataset(place: str, partial: Path) -> None:
    """Write the articles of a data set with a `text` column as documents, streaming it."""
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            "this text comes through the `datasets` library: install it with pip, or use --use-conda"
        ) from error

    name, _, revision = place.partition("@")
    repository, _, config = name.rpartition("/")
    num_documents, logged = 0, time.monotonic()
    try:
        with open(partial, "w", encoding="utf-8", newline="\n") as handle:
            for row in datasets.load_dataset(repository, config, revision=revision, split="train", streaming=True):
                lines = [line for line in row["text"].split("\n") if line.strip()]
                handle.write("\n".join([*lines, "", ""]))
                num_documents += 1
                if time.monotonic() - logged > _SECONDS_BETWEEN_LOGS:
                    logged = time.monotonic()
                    logger.info("%s: %d documents", place, num_documents)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TransferError(f"{type(error).__name__}: {error}", is_lasting=False) from error


def _check(path: Path, download: Download, lock_path: Path) -> None:
    """Hold a fetched file against what is known of it."""
    with open(path, "rb") as handle:
        start = handle.read(1024).lstrip().lower()
        if start.startswith(_HTML_STARTS):
            if download.url.startswith("gdrive:"):
                raise TransferError(_drive_remedy(download.url.partition(":")[2]), is_lasting=True)
            raise TransferError(
                "an HTML page came in place of the file (a login, quota or error page)", is_lasting=True
            )
        handle.seek(0)
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    size = path.stat().st_size
    if download.num_bytes is not None and not download.is_estimate and size != download.num_bytes:
        raise TransferError(f"{size} bytes came instead of {download.num_bytes}", is_lasting=False)
    if size == 0:
        raise TransferError("an empty file came", is_lasting=False)
    if download.sha256 is not None:
        if digest != download.sha256:
            raise TransferError(f"sha256 is {digest} instead of {download.sha256}", is_lasting=False)
        return
    known = record_checksum(lock_path, download.name, size, digest)
    if known != digest:
        raise TransferError(
            f"sha256 is {digest} instead of {known}, which the first download left in {lock_path} (delete its line "
            "if the file was changed on purpose)",
            is_lasting=False,
        )


def record_checksum(lock_path: Path, name: str, size: int, digest: str) -> str:
    """Return the checksum that the lock file has for a file, writing this one if it has none.

    Jobs fetch side by side, so the file is locked meanwhile.
    """
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with open(lock_path.with_name(f".{lock_path.name}.lock"), "w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        lines = lock_path.read_text(encoding="utf-8").splitlines() if lock_path.exists() else [_LOCK_HEADER]
        known = dict(line.split("\t")[::2] for line in lines[1:] if line)
        if name in known:
            return known[name]
        with atomic_file(lock_path) as partial:
            partial.write_text("\n".join([*lines, f"{name}\t{size}\t{digest}", ""]), encoding="utf-8")
        return digest


class _Progress:
    """A line in the log every few seconds, in the form that pooch expects of a progress bar."""

    def __init__(self, download: Download) -> None:
        self.name = download.name
        self.total = download.num_bytes or 0
        self.done = 0
        self._logged = time.monotonic()

    def update(self, num_bytes: int) -> None:
        self.set(self.done + num_bytes)

    def set(self, num_bytes: int) -> None:
        self.done = num_bytes
        if time.monotonic() - self._logged > _SECONDS_BETWEEN_LOGS:
            self._logged = time.monotonic()
            of_total = f" of {self.total / 1e6:.0f}" if self.total else ""
            logger.info("%s: %.0f%s MB", self.name, self.done / 1e6, of_total)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        pass
