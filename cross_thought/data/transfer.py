"""Bytes from a server into a file beside its place, from where the try before ended.

What is there of a file lies in `.NAME.partial`, and a note, `.NAME.partial.json`, says where it comes from and how much
of it is safely on the disk. So a connection that breaks, a job that is killed and a machine that is lost cost seconds.
"""

import glob
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cross_thought.data.network import TransferError, explained
from cross_thought.files import write_json

logger = logging.getLogger(__name__)

USER_AGENT = "cross-thought/0.1"  # the default one of Python is turned away by WikiText's host
_CHUNK_BYTES = 1 << 14  # what a break may lose
_DRIVE_RETRIES = 2
_SECONDS_BETWEEN_NOTES = 10


class Partial:
    """What is there of a file, and the note that lets another try go on from it.

    Attributes:
        path: where the bytes lie, beside the file's place.
        origin: the note: "bytes", how many are safely on the disk, and what the kind of transfer needs; empty: none.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.absolute().with_name(f".{target.name}.partial")
        self._note = self.path.with_name(f"{self.path.name}.json")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.origin: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            note = json.loads(self._note.read_text(encoding="utf-8"))
            if self.path.stat().st_size >= note["bytes"]:
                self.origin = note

    @property
    def num_bytes(self) -> int:
        """How many bytes another try can go on from."""
        return self.origin.get("bytes", 0)

    @contextmanager
    def open(self, start: int) -> Iterator[IO[bytes]]:
        """Open the file to write on from byte `start`; what lies after it is cut off."""
        if not start:
            self.discard()
        with open(self.path, "r+b" if start else "wb") as handle:
            handle.truncate(start)
            handle.seek(start)
            yield handle

    def keep(self, handle: IO[bytes], **origin: object) -> None:
        """See that what was written is on the disk, and note it."""
        handle.flush()
        os.fsync(handle.fileno())
        self.origin = {"bytes": handle.tell(), **origin}
        write_json(self._note, self.origin)

    def place(self, target: Path) -> None:
        """Put the file, which is whole, in its place."""
        os.replace(self.path, target)
        self.discard()

    def discard(self) -> None:
        """Forget what there is."""
        self.origin = {}
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@contextmanager
def partial_of(target: Path) -> Iterator[Partial]:
    """Hand out what there is of a file; at the end, bytes that no other try can go on from are gone."""
    partial = Partial(target)
    try:
        yield partial
    finally:
        if not partial.origin:
            partial.discard()


def transfer_http(url: str, partial: Partial, *, progress: Callable[[int, int], None], timeout_s: float) -> None:
    """Fetch one http(s) URL; redirects are followed.

    It goes on from what an earlier try got of the same URL, where the server says that the file is still the same (by a
    strong ETag or the time of its last change, RFC 9110, If-Range); else it starts anew. `progress` is told the number
    of bytes that are there, and of all (0: not known); `timeout_s` without a byte, a transfer counts as stalled.

    Raises:
        TransferError: if the bytes did not come to an end.
        OSError: if they cannot be written.
    """
    import requests

    # an encoding would make the position in the file another than that in the transfer
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    start = partial.num_bytes if partial.origin.get("url") == url else 0
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": partial.origin["validator"]}
    with explaining(url, timeout_s):
        response = requests.get(url, headers=headers, stream=True, timeout=timeout_s)
    with response:
        ranges = response.headers.get("Content-Range", "")
        if start and response.status_code == requests.codes.requested_range_not_satisfiable:
            if ranges == f"bytes */{start}":
                return  # all was there
            partial.discard()
            raise TransferError("the file has changed in between", is_lasting=False)
        with explaining(url, timeout_s):
            response.raise_for_status()
        if start and response.status_code != requests.codes.partial_content:
            logger.info("the server starts anew: the file has changed, or it knows no ranges")
            start = 0
        elif start and not ranges.startswith(f"bytes {start}-"):
            partial.discard()
            raise TransferError(f"the server gave {ranges or 'no range'} for bytes {start}-", is_lasting=False)
        elif start:
            logger.info("goes on after %.1f MB", start / 1e6)
        total = start + int(response.headers.get("Content-Length") or -start)
        validator = _validator(response.headers)
        origin = {"url": url, "validator": validator}
        with partial.open(start) as handle, noting(partial, handle, lambda: origin if validator else {}) as note:
            for chunk in _chunks(response, url, timeout_s):
                handle.write(chunk)
                progress(handle.tell(), total)
                note()


@contextmanager
def explaining(url: str, timeout_s: float) -> Iterator[None]:
    """Turn what a library of the network raises into a `TransferError`."""
    try:
        yield
    except Exception as error:
        raise explained(error, url, timeout_s=timeout_s) from error


def _chunks(response: Any, url: str, timeout_s: float) -> Iterator[bytes]:
    """Yield what comes."""
    chunks = response.iter_content(_CHUNK_BYTES)
    while True:
        with explaining(url, timeout_s):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk


def _validator(headers: Any) -> str | None:
    """Return what tells a file from one that has taken its place; None: nothing does, or the server knows no ranges."""
    if headers.get("Accept-Ranges") == "none" or headers.get("Content-Encoding", "identity") != "identity":
        return None
    etag = headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified")


@contextmanager
def noting(
    partial: Partial, handle: IO[bytes], origin: Callable[[], Mapping[str, object]]
) -> Iterator[Callable[[], bool]]:
    """Note what has come when the transfer breaks, and hand out what does so every few seconds, and tells if it did.

    `origin` returns what another try needs to go on from there; nothing: it cannot, and nothing is noted.
    """
    noted = time.monotonic()

    def note() -> bool:
        nonlocal noted
        if time.monotonic() - noted <= _SECONDS_BETWEEN_NOTES:
            return False
        noted = time.monotonic()
        needed = origin()
        if needed:
            partial.keep(handle, **needed)
        return bool(needed)

    try:
        yield note
    except TransferError:
        if handle.tell() and (needed := origin()):
            partial.keep(handle, **needed)
        raise


def transfer_from_drive(
    file_id: str, partial: Partial, *, progress: Callable[[int, int], None], timeout_s: float
) -> None:
    """Fetch a file of Google Drive; `gdown` finds the way to it, past Drive's pages.

    A broken connection is gone on from while the job lives, as `gdown` does it, but not by the next job: of what that
    would go on from, nothing says whether the file is still the same.

    Raises:
        TransferError: if the bytes did not come to an end.
        OSError: if they cannot be written.
    """
    import gdown
    import gdown.exceptions
    import requests

    partial.discard()
    try:
        gdown.download(
            id=file_id,
            output=str(partial.path),
            quiet=True,
            use_cookies=False,
            timeout=timeout_s,
            progress=lambda num_bytes, total: progress(num_bytes, total or 0),
            retries=_DRIVE_RETRIES,
        )
    except gdown.exceptions.FileURLRetrievalError as error:
        raise TransferError(drive_remedy(file_id), is_lasting=True) from error
    except (gdown.exceptions.DownloadError, requests.RequestException) as error:
        raise explained(error, f"https://drive.google.com/uc?id={file_id}", timeout_s=timeout_s) from error
    finally:
        for rest in partial.path.parent.glob(f"{glob.escape(partial.path.name)}????????.part"):
            rest.unlink()
    if not partial.path.exists():
        raise TransferError(drive_remedy(file_id), is_lasting=True)
    mask = os.umask(0)
    os.umask(mask)
    partial.path.chmod(0o666 & ~mask)  # it was a temporary file, which nobody else may read


def drive_remedy(file_id: str) -> str:
    """Explain Drive's refusals, which all look alike."""
    return (
        "Google Drive gives a page instead of the file, most often because too many people fetched it lately: wait a "
        f"day, or download https://drive.google.com/file/d/{file_id}/view in a browser"
    )
