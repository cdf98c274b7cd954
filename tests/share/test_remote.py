"""One file read from a web server: proxies, redirects, silence, and positions within the file."""

from __future__ import annotations

import base64
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from labelgen.core.errors import UserError
from labelgen.share import remote
from labelgen.share.remote import read_with_retries

CONTENT = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `CONTENT`; /redirect/... leads to it, /endless leads to it with an endless body."""

    server: Any

    def do_GET(self) -> None:
        self.server.requests.append((self.path, self.headers))
        if self.path == "/silent":
            self.server.release.wait(20)
            return
        if "redirect" in self.path or self.path == "/endless":
            self.send_response(307)
            self.send_header("Location", "../file" if "redirect" in self.path else "/file")
            self.end_headers()
            try:
                while self.path == "/endless":
                    self.wfile.write(bytes(1 << 16))
            except OSError:
                self.server.hung_up.set()
            return
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def serving() -> Iterator[Any]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.requests = []  # type: ignore[attr-defined]
        web.release, web.hung_up = threading.Event(), threading.Event()  # type: ignore[attr-defined]
        web.address = f"http://127.0.0.1:{web.server_port}"  # type: ignore[attr-defined]
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        yield web
        web.release.set()  # type: ignore[attr-defined]
        web.shutdown()


@pytest.fixture
def server() -> Iterator[Any]:
    with serving() as web:
        yield web


@pytest.fixture(autouse=True)
def no_pauses_nor_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES_S", (0.0,))
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def read(address: str, start: int = 0) -> bytes:
    return b"".join(block for _, block in read_with_retries(address, start))


def test_a_redirect_keeps_the_position(server: Any) -> None:
    address = f"{server.address}/a/redirect"
    assert read(address) == CONTENT
    assert read(address, 1234) == CONTENT[1234:]
    assert [path for path, _ in server.requests] == ["/a/redirect", "/file"] * 2


def test_the_body_of_a_redirect_is_not_read(server: Any) -> None:
    assert read(f"{server.address}/endless") == CONTENT
    assert server.hung_up.wait(10)


def test_no_more_than_the_size_is_handed_out(server: Any) -> None:
    blocks = list(read_with_retries(f"{server.address}/file", 10, 700_000))
    assert b"".join(block for _, block in blocks) == CONTENT[10:700_000]
    assert list(read_with_retries(f"{server.address}/file", 700_000, 700_000)) == []


def test_the_proxy_of_the_environment_is_used(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = server.address.replace("//", "//me:pass%20word@")
    monkeypatch.setenv("http_proxy", proxy)
    assert read("http://host.invalid/file", 99) == CONTENT[99:]
    path, headers = server.requests.pop()
    assert path == "http://host.invalid/file"
    login = base64.b64decode(headers["Proxy-Authorization"].removeprefix("Basic "))
    assert login == b"me:pass word"
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    with serving() as other:
        assert read(f"{other.address}/file") == CONTENT
    assert not server.requests


def test_a_silent_server_is_given_up(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "SILENT_S", 0.1)
    with pytest.raises(UserError, match=r"/silent: the server sent nothing for 0.1 s$"):
        read(f"{server.address}/silent")
    assert len(server.requests) == 2


@pytest.mark.parametrize("address", ["http://a b/", "http://[::1/", "http://h:99999/"])
def test_addresses_of_no_server_are_refused_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES_S", (60.0,))
    with pytest.raises(UserError) as refusal:
        read(address)
    assert len(str(refusal.value).splitlines()) == 1


def test_no_server_is_one_line_of_plain_words() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/file"
        with pytest.raises(UserError, match=r"/file: no connection \(Connection refused\)$"):
            read(address)
