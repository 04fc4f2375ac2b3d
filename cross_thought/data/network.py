"""What went wrong on the way to a server, in a few words that name the cause and the variable to set.

Libraries wrap the cause several layers deep, each in its own way: it is looked for in all layers.
"""

import errno
import os
import re
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
_BROKEN = "the connection broke off before the end of the file"
_PROXYS_ANSWER = re.compile(r"(?:Tunnel connection failed: |ProxyError: )(\d{3} [\w -]+)")
_TIMEOUTS = ("Timeout", "ReadTimeout", "ConnectTimeout", "PoolTimeout", "WriteTimeout")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


class TransferError(Exception):
    """A URL did not give the file; `is_lasting` if another attempt at it is of no use."""

    def __init__(self, reason: str, *, is_lasting: bool) -> None:
        super().__init__(reason)
        self.is_lasting = is_lasting


def explained(error: BaseException, url: str, *, timeout_s: float) -> TransferError:
    """Put what a library of the network raised on the way to a URL into a few words.

    It is one of requests, gdown, datasets, huggingface_hub, httpx, or the operating system; `timeout_s` is how long was
    waited for a byte.
    """
    layers = list(_layers(error))
    text = "; ".join(f"{type(layer).__name__}: {layer}" for layer in layers)
    return (
        _explained_certificates(layers, text, url)
        or _explained_proxy(layers, text, url)
        or _explained_answer(layers)
        or _explained_connection(layers, text, timeout_s)
        or TransferError(" ".join(f"{type(error).__name__}: {error}".split())[:300], is_lasting=False)
    )


def _explained_certificates(layers: list[BaseException], text: str, url: str) -> TransferError | None:
    """Say what is wrong with the certificates, the server's or one's own; None: nothing is."""
    verification = next((layer for layer in layers if isinstance(layer, ssl.SSLCertVerificationError)), None)
    if verification is not None:
        given = [f"{variable} ({os.environ[variable]})" for variable in _BUNDLES if os.environ.get(variable)]
        remedy = (
            f"add its issuer's certificate to the file that {' and '.join(given)} names"
            if given
            else "set REQUESTS_CA_BUNDLE and SSL_CERT_FILE to the file of that proxy's certificates"
        )
        return TransferError(
            f"the TLS certificate of {urlsplit(url).hostname} is not trusted ({verification.verify_message}); if a "
            f"proxy of yours opens TLS connections, {remedy}",
            is_lasting=True,
        )
    is_local = "TLS CA certificate bundle" in text or any(
        isinstance(layer, ssl.SSLError) or (isinstance(layer, FileNotFoundError) and not layer.filename)
        for layer in layers
    )
    bundle = _wrong_bundle() if is_local else None
    return TransferError(bundle, is_lasting=True) if bundle else None


def _explained_proxy(layers: list[BaseException], text: str, url: str) -> TransferError | None:
    """Say what is wrong with the proxy; None: nothing is, or there is none."""
    found = proxy_of(url)
    if found is None:
        return None
    variable, address = found
    if "SOCKS" in text and _is_of(layers, "InvalidSchema", "ImportError"):
        return TransferError(
            f"{variable} names a SOCKS proxy, {address}, which needs further packages: pip install PySocks socksio",
            is_lasting=True,
        )
    if "407" in text and (_is_of(layers, "ProxyError") or getattr(_response(layers), "status_code", 0) == 407):
        return TransferError(
            f"the proxy {address} wants a name and a password (407): set {variable} to http://NAME:PASSWORD@HOST:PORT",
            is_lasting=True,
        )
    if _is_of(layers, "ProxyError", "ConnectError") or (address.startswith("socks") and "SOCKS" in text):
        answer = _PROXYS_ANSWER.search(text)
        if answer is not None:
            return TransferError(
                f"the proxy {address}, which {variable} names, answered {answer[1]}",
                is_lasting=answer[1].startswith("4"),
            )
        return TransferError(
            f"the proxy {address} cannot be reached: correct {variable}, or unset it if there is no proxy",
            is_lasting=False,
        )
    return None


def _explained_answer(layers: list[BaseException]) -> TransferError | None:
    """Say what the server answered; None: it did not."""
    response = _response(layers)
    if response is None:
        return None
    status = response.status_code
    phrase = getattr(response, "reason", None) or getattr(response, "reason_phrase", "")
    is_lasting = 400 <= status < 500 and status not in (408, 425, 429)
    return TransferError(f"the server answered {status} {phrase}".strip(), is_lasting=is_lasting)


def _explained_connection(layers: list[BaseException], text: str, timeout_s: float) -> TransferError | None:
    """Say how the connection ended; None: in another way."""
    # by the type's own name: urllib3 derives a connection that was refused from a timeout
    if any(type(layer).__name__.startswith(_TIMEOUTS) for layer in layers):
        return TransferError(f"stalled, no data for {timeout_s:g} s", is_lasting=False)
    if _is_of(layers, "ChunkedEncodingError", "RemoteProtocolError", "ReadError"):
        return TransferError(_BROKEN, is_lasting=False)
    if _is_of(layers, "ConnectionError", "ConnectError", "LocalEntryNotFoundError"):
        return TransferError(
            "no connection; is there a network, and need it a proxy (HTTPS_PROXY)?",
            is_lasting=False,
        )
    if _is_of(layers, "DownloadError"):  # gdown's, of a file that came too short
        return TransferError(_BROKEN, is_lasting=False)
    disk = next((layer for layer in layers if isinstance(layer, OSError) and layer.errno in _DISK), None)
    if disk is not None and disk.filename:
        return TransferError(
            f"{disk.filename} cannot be written ({disk.strerror}): set HF_HOME to a folder with room that is yours",
            is_lasting=True,
        )
    return None


def proxy_of(url: str) -> tuple[str, str] | None:
    """Return the variable that names the proxy for a URL, and the proxy without name and password; None: no proxy."""
    from requests.utils import get_environ_proxies, select_proxy

    proxy = select_proxy(url, get_environ_proxies(url))
    if not proxy:
        return None
    names = (f"{urlsplit(url).scheme}_proxy", "all_proxy")
    variables = [variable for name in names for variable in (name, name.upper()) if os.environ.get(variable)]
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    port = f":{parts.port}" if parts.port else ""
    return next(iter(variables), "the system's setting"), f"{parts.scheme}://{parts.hostname}{port}"


def _wrong_bundle() -> str | None:
    """Say which variable names certificates that are not there; None: none does."""
    for variable in _BUNDLES:
        path = os.environ.get(variable)
        if not path:
            continue
        if not os.path.exists(path):
            return f"{variable} is {path}, which is not there: correct it or unset it"
        if os.path.isfile(path):
            try:
                ssl.create_default_context(cafile=path)
            except OSError as error:  # ssl.SSLError is one
                reason = getattr(error, "reason", None) or error.strerror or error
                return f"{variable} is {path}, which is no file of certificates ({reason}): correct it or unset it"
    return None


def _layers(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and all that it was made of."""
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        layer = pending.pop(0)
        if not isinstance(layer, BaseException) or id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        pending += [layer.__cause__, layer.__context__, getattr(layer, "reason", None), *layer.args]


def _is_of(layers: list[BaseException], *names: str) -> bool:
    """Whether a layer is of one of the types, or derived: by name, for not every library is installed everywhere."""
    return any(kind.__name__ in names for layer in layers for kind in type(layer).__mro__)


def _response(layers: list[BaseException]) -> Any:
    """Return the HTTP response that an exception carries, of whatever library; None: none does."""
    responses = (getattr(layer, "response", None) for layer in layers)
    return next((response for response in responses if response is not None), None)
