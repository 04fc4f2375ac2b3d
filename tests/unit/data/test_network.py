"""What stands between here and a server is named, with the variable to set: real TLS servers and proxies on this machine."""

import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from servers import running

from cross_thought.data.download import Download, fetch
from cross_thought.data.network import TransferError, explained
from cross_thought.errors import UserError

VARIABLES = [
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
]


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *_: object) -> None:
        pass


class _Proxy(_Server):
    """Answers with `server.status`; with 200, every tunnel leads to `server.target`."""

    def do_CONNECT(self) -> None:
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        self.send_response(200)
        self.end_headers()
        with socket.create_connection(self.server.target) as target:
            back = threading.Thread(target=_copy, args=(target, self.connection))
            back.start()
            _copy(self.connection, target)
            back.join()
        self.close_connection = True

    def do_GET(self) -> None:
        self.send_error(self.server.status)


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until there are no more."""
    try:
        while block := source.recv(1 << 16):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a self-signed certificate for 127.0.0.1, with its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl")
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> Iterator[ThreadingHTTPServer]:
    """Return a TLS server whose certificate nobody knows."""
    with running(ThreadingHTTPServer(("127.0.0.1", 0), _Server)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield server


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    with running(ThreadingHTTPServer(("127.0.0.1", 0), _Proxy)) as server:
        server.status = 407
        yield server


def address(server: ThreadingHTTPServer) -> str:
    return f"127.0.0.1:{server.server_port}"


def with_requests(url: str, folder: Path) -> str:
    """Return why a plain download fails."""
    with pytest.raises(UserError) as error:
        fetch(Download(name="file", url=url), folder, attempts=1, timeout_s=5)
    assert not list(folder.iterdir())
    (reason,) = re.findall(rf"^file could not be fetched \({re.escape(url)}: (.*)\); try again", str(error.value))
    return reason


def with_gdown(_: str, folder: Path) -> str:
    """Return why a download from Google Drive fails."""
    return with_requests("gdrive:abc", folder)


def with_httpx(url: str, _: Path) -> str:
    """Return why the client of Hugging Face's libraries fails."""
    with pytest.raises(Exception) as error, httpx2.Client(timeout=5) as client:  # noqa: PT011
        client.get(url).raise_for_status()
    explanation = explained(error.value, url, timeout_s=5)
    assert isinstance(explanation, TransferError)
    return str(explanation)


Reason = Callable[[str, Path], str]
every_client = pytest.mark.parametrize("reason", [with_requests, with_gdown, with_httpx])
HOST = "https://data.example.invalid/file"


@pytest.mark.parametrize("reason", [with_requests, with_httpx])
def test_a_certificate_that_is_not_trusted(
    reason: Reason, tls: ThreadingHTTPServer, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://{address(tls)}/file"
    said = reason(url, tmp_path)
    assert said.startswith("the TLS certificate of 127.0.0.1 is not trusted (self")
    assert said.endswith("set REQUESTS_CA_BUNDLE and SSL_CERT_FILE to the file of that proxy's certificates")
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):  # what it says helps
        monkeypatch.setenv(variable, str(certificate))
    fetch(Download(name="file", url=url), tmp_path, attempts=1)
    with httpx2.Client() as client:
        assert client.get(url).text == "here"


@every_client
def test_a_proxy_that_opens_tls(
    reason: Reason,
    tls: ThreadingHTTPServer,
    proxy: ThreadingHTTPServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy.status, proxy.target = 200, tls.server_address
    monkeypatch.setenv("HTTPS_PROXY", f"http://{address(proxy)}")
    assert "is not trusted (self" in reason(HOST, tmp_path)


@every_client
def test_a_proxy_that_wants_a_password(
    reason: Reason, proxy: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{address(proxy)}")
    said = reason(HOST, tmp_path)
    assert said == (
        f"the proxy http://{address(proxy)} wants a name and a password (407): set HTTPS_PROXY to "
        "http://NAME:PASSWORD@HOST:PORT"
    )


def test_a_proxy_that_wants_a_password_for_plain_http(
    proxy: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://{address(proxy)}")
    said = with_requests("http://data.example.invalid/file", tmp_path)
    assert said.startswith(f"the proxy http://{address(proxy)} wants a name and a password (407): set http_proxy to")


@every_client
def test_a_proxy_that_refuses(
    reason: Reason, proxy: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.status = 403
    monkeypatch.setenv("HTTPS_PROXY", f"http://{address(proxy)}")
    said = reason(HOST, tmp_path)
    assert said == f"the proxy http://{address(proxy)}, which HTTPS_PROXY names, answered 403 Forbidden"


@every_client
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_a_dead_proxy(reason: Reason, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "http://127.0.0.1:9")
    wanted = f"the proxy http://127.0.0.1:9 cannot be reached: correct {variable}, or unset it if there is no proxy"
    assert reason(HOST, tmp_path) == wanted


@pytest.mark.parametrize("reason", [with_requests, with_gdown])
def test_a_dead_socks_proxy(reason: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    assert reason(HOST, tmp_path).startswith("the proxy socks5://127.0.0.1:9 cannot be reached: correct HTTPS_PROXY")


@every_client
def test_no_support_for_socks(reason: Reason, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:9")
    for module in ("socks", "socksio", "urllib3.contrib.socks"):
        monkeypatch.setitem(sys.modules, module, None)
    import requests.adapters

    def missing(*_: object, **__: object) -> None:  # what requests puts in its place where it finds no PySocks
        raise requests.adapters.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", missing)
    assert reason(HOST, tmp_path) == (
        "HTTPS_PROXY names a SOCKS proxy, socks5://127.0.0.1:9, which needs further packages: pip install PySocks socksio"
    )


@pytest.mark.parametrize(
    ("reason", "variable"),
    [(with_requests, "REQUESTS_CA_BUNDLE"), (with_requests, "CURL_CA_BUNDLE"), (with_httpx, "SSL_CERT_FILE")],
)
def test_certificates_that_are_not_there(
    reason: Reason, variable: str, tls: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = f"https://{address(tls)}/file", tmp_path / "folder"
    folder.mkdir()
    monkeypatch.setenv(variable, "/no/such/file.pem")
    wanted = f"{variable} is /no/such/file.pem, which is not there: correct it or unset it"
    assert reason(url, folder) == wanted
    (tmp_path / "text").write_text("no certificate")
    monkeypatch.setenv(variable, str(tmp_path / "text"))
    said = reason(url, folder)
    assert said.startswith(f"{variable} is {tmp_path / 'text'}, which is no file of certificates (NO_CERTIFICATE")
    assert said.endswith("): correct it or unset it")


@every_client
def test_no_network_at_all(reason: Reason, tmp_path: Path) -> None:
    assert reason(HOST, tmp_path) == "no connection; is there a network, and need it a proxy (HTTPS_PROXY)?"
