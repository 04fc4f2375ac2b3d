"""A server of one file on this machine that does all that servers do."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import running

CONTENT = bytes(range(256)) * 4000
PIECE = 1 << 18  # bytes until the server with ranges breaks off


class _Answers(BaseHTTPRequestHandler):
    """Answers by the path."""

    def do_GET(self) -> None:
        self.server.requests[self.path] += 1
        first = self.server.requests[self.path] == 1
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "/right")
            self.end_headers()
        elif self.path == "/gone":
            self.send_error(404)
        elif self.path == "/broken" or (self.path == "/broken-then-right" and first):
            self.send_error(500)
        elif self.path == "/page":
            self._answer(b"\n<!DOCTYPE html><html>Quota exceeded</html>")
        elif self.path == "/empty":
            self._answer(b"")
        elif self.path == "/cut" or (self.path == "/cut-then-right" and first):
            self._answer(CONTENT[:1000], length=len(CONTENT))
        elif self.path == "/stalled" or (self.path == "/stalled-then-right" and first):
            self._answer(CONTENT[:1000], length=len(CONTENT))
            self.wfile.flush()
            self.server.ended.wait(10)
        elif self.path == "/picky" and "python" in self.headers["User-Agent"].lower():
            self.send_error(403)
        elif self.path in ("/changed", "/short"):
            self._answer(CONTENT[:-1] + b"x" * (self.path == "/changed"))
        elif self.path.startswith("/ranges"):
            self._answer_range()
        else:
            self._answer(CONTENT)

    def _answer_range(self) -> None:
        """Give a piece, then break off; further ones when asked for what follows."""
        server, content, etag = self.server, self.server.content, f'"{len(self.server.content)}"'
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        server.starts.append(start)
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/ranges-refused" or (start and self.headers["If-Range"] != etag):
            start = 0
        wrong = 7 if self.path == "/ranges-wrong" and start else 0
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        if start:
            self.send_header("Content-Range", f"bytes {start + wrong}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start : start + server.piece])

    def _answer(self, body: bytes, *, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def file_server() -> Iterator[ThreadingHTTPServer]:
    """Run a server that counts its requests."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), _Answers)) as server:
        server.requests = Counter()
        server.content, server.piece, server.starts = CONTENT, PIECE, []
        yield server
