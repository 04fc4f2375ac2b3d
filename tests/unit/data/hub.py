"""A hub on this machine, with one data set of two Parquet files: what `datasets` asks of the real one, and no more."""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import running

REVISION = "b04c8d1ceb2f5cd4588862100d08de323dccfbaa"
PLACE = f"datasets:owner/name/config@{REVISION}"
README = b"---\nconfigs:\n- config_name: config\n  data_files:\n  - {split: train, path: config/*.parquet}\n---\n"
ARTICLES = [f"Title {number}\n\nParagraph {number}.\n \nAnother, é.\r" for number in range(60)]


def parquet(texts: list[str]) -> bytes:
    """Return a Parquet file of a `text` column, in groups of 10 rows."""
    import pyarrow
    import pyarrow.parquet

    target = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), target, row_group_size=10, compression="none")
    return target.getvalue()


class _Hub(BaseHTTPRequestHandler):
    """Answers as the hub does; fails as `server.fault` says where the second Parquet file is read."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        files, path = self.server.files, self.path.partition("?")[0]
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in files.items()
        ]
        entries.append({"type": "directory", "path": "config", "oid": "0" * 40})
        if path.startswith("/api/datasets/owner/name/revision/"):
            siblings = [{"rfilename": name} for name in files]
            self._answer(json.dumps({"id": "owner/name", "sha": REVISION, "siblings": siblings}).encode())
        elif path.startswith("/api/datasets/owner/name/tree/"):
            folder = path.partition(REVISION)[2].strip("/")
            inside = [entry for entry in entries if entry["path"].rpartition("/")[0] == folder]
            self._answer(json.dumps(inside).encode())
        elif path.startswith("/api/datasets/owner/name/paths-info/"):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
            self._answer(json.dumps([entry for entry in entries if entry["path"] in asked]).encode())
        elif (name := path.partition(f"resolve/{REVISION}/")[2]) in files:
            self._answer_file(files[name], fault=self.server.fault if name == "config/train-1.parquet" else None)
        else:
            self._answer(b"", status=404)

    do_HEAD = do_POST = do_GET

    def _answer_file(self, content: bytes, *, fault: str | None) -> None:
        """Answer with a file, or a range of it."""
        start, status, body = 0, 200, content
        if span := self.headers.get("Range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            start = int(first)
            body, status = content[start : int(last or len(content) - 1) + 1], 206
        size = len(content)
        if self.command == "HEAD" or not fault:
            self._answer(body, status=status, size=size, start=start)
        elif fault in ("cut", "stall"):
            self._answer(body[: len(body) // 2], status=status, length=len(body), size=size, start=start)
            self.close_connection = True
            if fault == "stall":
                self.server.ended.wait(20)
        else:
            self._answer(b"", status=int(fault))

    def _answer(
        self, body: bytes, *, status: int = 200, length: int | None = None, size: int | None = None, start: int = 0
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{size}"')
        if status == 404:
            self.send_header("X-Error-Code", "EntryNotFound")
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{start + (length or len(body)) - 1}/{size}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub() -> Iterator[ThreadingHTTPServer]:
    """Run a hub; its `fault` is "cut", "stall", a status, or None."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), _Hub)) as server:
        half = len(ARTICLES) // 2
        server.files = {
            "README.md": README,
            "config/train-0.parquet": parquet(ARTICLES[:half]),
            "config/train-1.parquet": parquet(ARTICLES[half:]),
        }
        server.fault = None
        yield server
