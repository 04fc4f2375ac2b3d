"""A hub on this machine with models: what huggingface_hub asks of the real one to fetch and to upload, and no more."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from servers import running


class _Hub(BaseHTTPRequestHandler):
    """Keeps the files of each revision, a commit's name being a hash of what it holds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if match := re.fullmatch(r"/api/models/(\w+/\w+)(?:/revision/(\w+))?", path):
            name, revision = match[1], match[2] or "main"
            if name not in self.server.models:
                return self._answer({}, 404, {"X-Error-Code": "RepoNotFound"})
            if not (commit := self._commit(name, revision)):
                return self._answer({}, 404, {"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": file} for file in self.server.commits[commit]]
            return self._answer({"id": name, "sha": commit, "siblings": siblings})
        if match := re.fullmatch(r"/api/models/(\w+/\w+)/tree/(\w+)", path):
            files = self.server.commits[self._commit(match[1], match[2])]
            return self._answer(
                [
                    {"type": "file", "path": file, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for file, content in files.items()
                ]
            )
        if match := re.fullmatch(r"/(\w+/\w+)/resolve/(\w+)/(.+)", path):
            commit = self._commit(match[1], match[2])
            content = self.server.commits.get(commit, {}).get(match[3])
            if content is not None:
                self.server.fetched.append(match[3])
                tags = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": commit}
                return self._answer(content, 200, tags)
        return self._answer({}, 404, {"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.models.setdefault(name, {})
            return self._answer({"url": f"{self.server.endpoint}/{name}", "name": name, "id": name})
        if self.path == "/api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if match := re.fullmatch(r"/api/models/(\w+/\w+)/(preupload|commit)/main(?:\?.*)?", self.path):
            if match[2] == "preupload":
                files = [file["path"] for file in json.loads(body)["files"]]
                modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]
                return self._answer({"files": modes})
            entries = [json.loads(line) for line in body.splitlines()]
            files = [entry["value"] for entry in entries if entry["key"] == "file"]
            commit = self.server.put(match[1], {file["path"]: base64.b64decode(file["content"]) for file in files})
            url = f"{self.server.endpoint}/{match[1]}/commit/{commit}"
            return self._answer({"success": True, "commitUrl": url, "commitOid": commit, "hookOutput": ""})
        return self._answer({}, 404)

    def _commit(self, name: str, revision: str) -> str | None:
        branches = self.server.models.get(name, {})
        return branches.get(revision) or (revision if revision in self.server.commits else None)

    def _answer(self, body: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


class ModelHub(ThreadingHTTPServer):
    """The server; `fetched` lists the files that were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Hub)
        self.models: dict[str, dict[str, str]] = {}
        self.commits: dict[str, dict[str, bytes]] = {}
        self.fetched: list[str] = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}"

    def put(self, name: str, files: dict[str, bytes], *, branch: str = "main") -> str:
        """Commit files to a branch of a model, and return the commit's name."""
        commit = hashlib.sha1(b"".join(path.encode() + content for path, content in files.items())).hexdigest()
        self.commits[commit] = files
        self.models.setdefault(name, {})[branch] = commit
        return commit


@contextmanager
def model_hub() -> Iterator[ModelHub]:
    """Run a hub."""
    with running(ModelHub()) as server:
        yield server
