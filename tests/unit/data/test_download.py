"""Downloads against a server on this machine that does all that servers do; nothing half is ever in place."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from file_server import CONTENT, PIECE, file_server

from cross_thought.data.download import Download, _check, fetch, read_table, record_checksum
from cross_thought.data.transfer import Partial
from cross_thought.errors import UserError

SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with file_server() as server:
        yield server


@pytest.fixture
def url(server: ThreadingHTTPServer) -> Callable[[str], str]:
    """Return what makes a URL of a path."""
    return lambda path: f"http://127.0.0.1:{server.server_port}/{path}"


def download(*urls: str, **changes: object) -> Download:
    right = Download(name="folder/file", url=urls[0], mirrors=urls[1:], num_bytes=len(CONTENT), sha256=SHA256)
    return replace(right, **changes)


def fetch_soon(item: Download, folder: Path) -> Path:
    """Fetch with a test's patience for servers that have nothing more to say."""
    return fetch(item, folder, timeout_s=1 if "stalled" in item.url else 60, attempts=3, pause_s=0.01)


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "paths",
    [
        *(["right"], ["redirect"], ["picky"], ["broken-then-right"], ["cut-then-right"], ["stalled-then-right"]),
        *(["gone", "right"], ["page", "gone", "right"], ["changed", "right"], ["broken", "redirect"]),
    ],
)
def test_what_ends_well(paths: list[str], url: Callable[[str], str], tmp_path: Path) -> None:
    path = fetch_soon(download(*map(url, paths)), tmp_path)
    assert path == tmp_path / "folder" / "file"
    assert path.read_bytes() == CONTENT
    assert files_in(tmp_path) == ["folder/file"]


@pytest.mark.parametrize(
    ("path", "reason", "requests"),
    [
        ("gone", "the server answered 404 Not Found", 1),
        ("broken", "the server answered 500 Internal Server Error", 3),
        ("cut", "the connection broke off before the end of the file", 3),
        ("stalled", "stalled, no data for 1 s", 3),
        ("changed", f"sha256 is {hashlib.sha256(CONTENT[:-1] + b'x').hexdigest()} instead of {SHA256}", 3),
        ("short", f"{len(CONTENT) - 1} bytes came instead of {len(CONTENT)}", 3),
        ("page", "an HTML page came in place of the file (a login, quota or error page)", 1),
        ("empty", f"0 bytes came instead of {len(CONTENT)}", 3),
    ],
)
def test_what_ends_in_one_sentence(
    path: str, reason: str, requests: int, server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as error:
        fetch_soon(download(url(path)), tmp_path)
    message = str(error.value)
    assert message.startswith(f"folder/file could not be fetched ({url(path)}: {reason}); ")
    assert (
        "try again later, or get the file by hand and put it at folder/file below the folder that data_dir" in message
    )
    assert "\n" not in message
    assert server.requests[f"/{path}"] == requests
    assert files_in(tmp_path) == []
    assert fetch_soon(download(url("right")), tmp_path).read_bytes() == CONTENT  # a second run picks up


def test_a_broken_transfer_goes_on_where_it_was(
    server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path
) -> None:
    server.piece = 1 << 16  # fifteen breaks: a try that gets on is not counted
    path = fetch_soon(download(url("ranges")), tmp_path)
    assert path.read_bytes() == CONTENT
    assert server.starts == list(range(0, len(CONTENT), 1 << 16))
    assert files_in(tmp_path) == ["folder/file"]


def test_the_next_run_goes_on(server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"broke off.*\); 0\.3 MB are kept to go on from; try again"):
        fetch(download(url("ranges")), tmp_path, attempts=1)
    assert files_in(tmp_path) == ["folder/.file.partial", "folder/.file.partial.json"]
    with open(tmp_path / "folder" / ".file.partial", "ab") as handle:
        handle.write(b"what came before the machine went down, after the last note")
    assert fetch_soon(download(url("ranges")), tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, PIECE, 2 * PIECE, 3 * PIECE]
    assert files_in(tmp_path) == ["folder/file"]


def test_a_run_killed_with_all_bytes_there(
    server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path
) -> None:
    partial = Partial(tmp_path / "folder" / "file")
    with partial.open(0) as handle:
        handle.write(CONTENT)
        partial.keep(handle, url=url("ranges"), validator=f'"{len(CONTENT)}"')
    assert fetch_soon(download(url("ranges")), tmp_path).read_bytes() == CONTENT
    assert server.starts == [len(CONTENT)]


@pytest.mark.parametrize("unknown", [{}, {"num_bytes": None, "sha256": None}])
def test_a_file_that_changed_is_fetched_anew(
    unknown: dict, server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path
) -> None:
    server.content = b"old" * 200_000
    with pytest.raises(UserError):
        fetch(download(url("ranges")), tmp_path, attempts=1)
    server.content, server.piece = CONTENT, len(CONTENT)
    assert fetch_soon(download(url("ranges"), **unknown), tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, PIECE]  # the second answer began at 0


def test_a_server_without_ranges_starts_anew(
    server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="broke off"):
        fetch_soon(download(url("ranges-refused")), tmp_path)
    assert server.starts == [0, PIECE, PIECE]
    server.piece = len(CONTENT)
    assert fetch_soon(download(url("ranges-refused")), tmp_path).read_bytes() == CONTENT


def test_a_server_that_gives_another_range(
    server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"the server gave bytes 262151-1023999/1024000 for bytes 262144-"):
        fetch(download(url("ranges-wrong")), tmp_path, attempts=2, pause_s=0.01)
    assert files_in(tmp_path) == []


def test_damage_in_what_was_kept_is_found_at_the_end(
    server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path
) -> None:
    with pytest.raises(UserError):
        fetch(download(url("ranges")), tmp_path, attempts=1)
    partial = tmp_path / "folder" / ".file.partial"
    partial.write_bytes(b"x" + partial.read_bytes()[1:])
    server.piece = len(CONTENT)
    assert fetch_soon(download(url("ranges")), tmp_path).read_bytes() == CONTENT
    assert server.starts == [0, PIECE, 0]


def test_another_place_takes_over(server: ThreadingHTTPServer, url: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        fetch(download(url("ranges")), tmp_path, attempts=1)
    with pytest.raises(UserError, match="are kept"):  # a place that has nothing leaves what another gave
        fetch_soon(download(url("gone")), tmp_path)
    assert fetch_soon(download(url("gone"), url("right")), tmp_path).read_bytes() == CONTENT
    assert files_in(tmp_path) == ["folder/file"]


def test_a_file_system_without_locks(url: Callable[[str], str], tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs a compiler")
    source, library = tmp_path / "nolocks.c", tmp_path / "nolocks.so"
    source.write_text('#include <errno.h>\nextern "C" int flock(int, int) { errno = ENOLCK; return -1; }\n')
    subprocess.run([compiler, "-x", "c++", "-shared", "-fPIC", "-o", library, source], check=True)
    code = (
        "import fcntl, sys; from pathlib import Path; from cross_thought.data.download import Download, fetch\n"
        "try: fcntl.flock(0, fcntl.LOCK_EX)\n"
        "except OSError as error: print(error)\n"
        "for name in sys.argv[3:]: fetch(Download(name=name, url=sys.argv[1]), Path(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, url("right"), str(tmp_path / "got"), "one", "two", "one"],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "No locks available" in done.stdout
    lock = (tmp_path / "got" / "downloads.lock.tsv").read_text()
    assert lock == f"name\tbytes\tsha256\none\t{len(CONTENT)}\t{SHA256}\ntwo\t{len(CONTENT)}\t{SHA256}\n"


def test_every_url_is_named_with_its_reason(url: Callable[[str], str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"gone: the server answered 404 Not Found; .*page: an HTML page"):
        fetch_soon(download(url("gone"), url("page")), tmp_path)


@pytest.mark.parametrize("place", ["http://127.0.0.1:9/file", "http://no-such-host.invalid/file"])
def test_no_network(place: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(f"{place}: no connection; is there a network")):
        fetch_soon(download(place), tmp_path)
    assert files_in(tmp_path) == []


def test_a_failed_update_leaves_the_old_file(url: Callable[[str], str], tmp_path: Path) -> None:
    path = fetch_soon(download(url("right")), tmp_path)
    with pytest.raises(UserError):
        fetch_soon(download(url("cut")), tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_checksum_that_nobody_published_is_kept(url: Callable[[str], str], tmp_path: Path) -> None:
    unknown = {"num_bytes": None, "sha256": None}
    fetch_soon(download(url("right"), **unknown), tmp_path)
    lock = tmp_path / "downloads.lock.tsv"
    assert lock.read_text() == f"name\tbytes\tsha256\nfolder/file\t{len(CONTENT)}\t{SHA256}\n"
    fetch_soon(download(url("right"), **unknown), tmp_path)
    with pytest.raises(UserError, match=f"instead of {SHA256}, which the first download left in {lock}"):
        fetch_soon(download(url("changed"), **unknown), tmp_path)
    assert (tmp_path / "folder" / "file").read_bytes() == CONTENT
    assert lock.read_text().count("\n") == 2
    with pytest.raises(UserError, match="an empty file came"):
        fetch_soon(download(url("empty"), **unknown), tmp_path)
    # an estimate is no size to hold a file against
    fetch_soon(download(url("right"), num_bytes=5, is_estimate=True, sha256=None), tmp_path)


def test_the_lock_file_takes_jobs_side_by_side(tmp_path: Path) -> None:
    lock = tmp_path / "downloads.lock.tsv"
    with ThreadPoolExecutor(8) as pool:
        known = list(pool.map(lambda number: record_checksum(lock, f"file{number % 20}", 1, str(number)), range(100)))
    lines = dict(line.split("\t")[::2] for line in lock.read_text().splitlines()[1:])
    assert len(lines) == 20
    assert all(lines[f"file{number % 20}"] == digest for number, digest in enumerate(known))


def test_a_full_disk(url: Callable[[str], str], tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        with pytest.raises(UserError, match=r"the disk is full: .*file \(1\.0 MB\) does not fit; make room"):
            fetch_soon(download(url("right")), tmp_path)
        assert files_in(tmp_path) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_may_not_be_written(url: Callable[[str], str], tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file where the folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        fetch_soon(download(url("right")), tmp_path)


@pytest.mark.parametrize("what", ["page", "refusal", "nothing"])
def test_drives_pages_are_explained(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gdown
    import gdown.exceptions

    def answer(*, output: str, **_: object) -> None:
        if what == "page":
            Path(output).write_bytes(b"<!DOCTYPE html><html><title>Google Drive - Quota exceeded</title></html>")
        if what == "refusal":
            raise gdown.exceptions.FileURLRetrievalError("Cannot retrieve the public link of the file.")

    monkeypatch.setattr(gdown, "download", answer)
    with pytest.raises(UserError) as error:
        fetch_soon(Download(name="checkpoints/model.pt", url="gdrive:abc"), tmp_path)
    assert "too many people fetched it lately: wait a day" in str(error.value)
    assert "https://drive.google.com/file/d/abc/view in a browser" in str(error.value)
    assert "put it at checkpoints/model.pt below the folder that data_dir" in str(error.value)
    assert files_in(tmp_path) == []


def test_a_drive_file_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gdown

    def answer(*, id: str, output: str, progress: Callable[[int, int | None], None], **_: object) -> None:
        assert id == "abc"
        progress(10, None)
        Path(output).write_bytes(CONTENT)

    monkeypatch.setattr(gdown, "download", answer)
    path = fetch_soon(Download(name="checkpoints/model.pt", url="gdrive:abc"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert SHA256 in (tmp_path / "downloads.lock.tsv").read_text()


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="this system does not count what a process reads")
def test_a_file_is_read_once_for_both_checksums(tmp_path: Path) -> None:
    def num_read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])  # rchar

    content = bytes(8 << 20)
    (tmp_path / "file").write_bytes(content)
    item = Download(name="file", url="http://x.org/file", md5=hashlib.md5(content).hexdigest())
    before = num_read()
    _check(tmp_path / "file", item, tmp_path / "lock.tsv")
    assert num_read() - before < 1.1 * len(content)
    assert (tmp_path / "lock.tsv").read_text().endswith(f"\t{hashlib.sha256(content).hexdigest()}\n")


def test_an_md5_alone_is_held_and_the_rest_locked(url: Callable[[str], str], tmp_path: Path) -> None:
    line = f"folder/file\t{url('right')}\t\tmd5:{hashlib.md5(CONTENT).hexdigest()}\t\n"
    (tmp_path / "table").write_text(f"name\turl\tbytes\tsha256\tmirrors\n{line}")
    item = read_table(tmp_path / "table")["folder/file"]
    assert (item.sha256, item.md5) == (None, hashlib.md5(CONTENT).hexdigest())
    folder = tmp_path / "downloads"
    with pytest.raises(UserError, match=f"md5 is {item.md5} instead of {'0' * 32}"):
        fetch_soon(replace(item, md5="0" * 32), folder)
    assert not (folder / "downloads.lock.tsv").exists()
    assert fetch_soon(item, folder).read_bytes() == CONTENT
    assert SHA256 in (folder / "downloads.lock.tsv").read_text()


def test_no_proxy_or_cookie_of_the_user_is_needed(url: Callable[[str], str], tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cross_thought.data.download import Download, fetch;"
        "print(fetch(Download(name='file', url=sys.argv[1]), Path(sys.argv[2])))"
    )
    command = [sys.executable, "-c", code, url("right"), str(tmp_path)]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")}
    done = subprocess.run(
        command, cwd=Path(__file__).parents[3], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(tmp_path / "file")
    assert files_in(tmp_path) == ["downloads.lock.tsv", "file"]
