"""Datasets fetched from a server that drops connections, lies, and serves wrong bytes."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labelgen.cli import main
from labelgen.core.errors import UserError
from labelgen.core.files import sha256, try_lock
from labelgen.dataset.info import info
from labelgen.dataset.verify import verify
from labelgen.pipeline.build import build
from labelgen.share import catalog, remote
from labelgen.share.card import card
from labelgen.share.card_metadata import CardMetadata
from labelgen.share.get import get
from labelgen.share.remote import dataset_location
from labelgen.share.remote_manifest import read_remote_manifest
from tests.helpers.hostile import dataset as make_dataset


@dataclass
class Server:
    """A web server on loopback over a folder, with faults that a test sets."""

    folder: Path
    address: str = ""
    ranges: bool = True
    drop_after: int | None = None
    """Bytes after which each answer ends early."""
    claims: int = 0
    """Bytes that Content-Length says too many (or too few)."""
    redirect: str = ""
    errors: list[int] = field(default_factory=list)
    """Statuses to answer the next requests with."""
    swap: dict[str, bytes] = field(default_factory=dict)
    """Other bytes for a file."""
    encoding: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Paths and ranges of all requests."""


class Handler(http.server.BaseHTTPRequestHandler):
    server: Any

    def do_GET(self) -> None:
        state: Server = self.server.state
        wanted = self.headers.get("Range", "")
        state.requests.append((self.path, wanted))
        if state.errors and (status := state.errors.pop(0)):
            self.send_error(status)
            return
        if state.redirect:
            self.send_response(302)
            self.send_header("Location", state.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        name = self.path.lstrip("/").split("?")[0]
        path = state.folder / name
        if name not in state.swap and not path.is_file():
            self.send_error(404)
            return
        data = state.swap.get(name) if name in state.swap else path.read_bytes()
        assert data is not None
        start = 0
        if state.ranges and (found := re.fullmatch(r"bytes=(\d+)-", wanted)):
            start = int(found[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        body = data[start:]
        self.send_header("Content-Length", str(len(body) + state.claims))
        if state.encoding:
            self.send_header("Content-Encoding", state.encoding)
        self.end_headers()
        self.wfile.write(body if state.drop_after is None else body[: state.drop_after])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in parts with its card."""
    folder = tmp_path_factory.mktemp("published")
    path = make_dataset(folder, parts=3)
    for shard in folder.glob("*.shard"):
        shard.unlink()
    card(path, CardMetadata(license="CC0-1.0", origin="random numbers", people="none"))
    return folder


@pytest.fixture(scope="module")
def large(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of some megabytes, as a build makes it."""
    path = tmp_path_factory.mktemp("large") / "out.h5"
    build(raw, path, jobs=1, limit=1)
    path.with_name("out.times.json").unlink()
    card(path, CardMetadata(license="CC0-1.0", origin="simulated", people="none"))
    return path.parent


@pytest.fixture
def server(published: Path, tmp_path: Path) -> Iterator[Server]:
    yield from serve(Path(shutil.copytree(published, tmp_path / "offered")))


def serve(folder: Path) -> Iterator[Server]:
    state = Server(folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        web.state = state  # type: ignore[attr-defined]
        state.address = f"http://127.0.0.1:{web.server_port}/"
        threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
        yield state
        web.shutdown()


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "PAUSES_S", (0.0, 0.0, 0.0))


def same(folder: Path, offered: Path) -> bool:
    """Whether a folder holds what is offered and nothing else."""
    names = {p.name for p in offered.iterdir()}
    return {p.name for p in folder.iterdir()} == names and all(
        sha256(folder / n) == sha256(offered / n) for n in names
    )


def test_all_files_come_over(server: Server, tmp_path: Path) -> None:
    dataset = get(server.address, tmp_path / "mine")
    assert dataset == tmp_path / "mine" / "out.h5"
    assert same(tmp_path / "mine", server.folder)
    assert info(dataset)["parts"] == 3
    before = len(server.requests)
    get(server.address, tmp_path / "mine")
    again = {path for path, _ in server.requests[before:]}
    assert again == {"/SHA256SUMS", "/croissant.json"}


def test_a_folder_can_be_fetched_too(published: Path, tmp_path: Path) -> None:
    assert get(str(published), tmp_path / "mine").is_file()
    assert same(tmp_path / "mine", published)
    get(str(published / "out.h5"), tmp_path / "other")
    assert same(tmp_path / "other", published)


@pytest.fixture
def large_server(large: Path, tmp_path: Path) -> Iterator[Server]:
    yield from serve(Path(shutil.copytree(large, tmp_path / "offered")))


def test_dropped_connections_are_resumed(large_server: Server, tmp_path: Path) -> None:
    large_server.drop_after = 1 << 20
    dataset = get(large_server.address, tmp_path / "mine")
    assert same(tmp_path / "mine", large_server.folder)
    assert verify(dataset) == []
    ranges = [int(asked[6:-1]) for path, asked in large_server.requests if asked and "h5" in path]
    assert len(ranges) >= dataset.stat().st_size >> 20
    assert ranges == sorted(set(ranges))


def test_a_server_that_always_disconnects_is_given_up(large_server: Server, tmp_path: Path) -> None:
    large_server.drop_after, large_server.ranges = 1 << 20, False
    with pytest.raises(UserError, match=r"out.h5: .*; the same command goes on from there"):
        get(large_server.address, tmp_path / "mine")
    assert not (tmp_path / "mine" / "out.h5").exists()
    large_server.drop_after = None
    get(large_server.address, tmp_path / "mine")
    assert same(tmp_path / "mine", large_server.folder)


def test_an_interrupted_file_is_resumed(server: Server, tmp_path: Path) -> None:
    part = "out-00001-of-00003.h5"
    whole = (server.folder / part).read_bytes()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"{part}.part").write_bytes(whole[:1234])
    get(server.address, tmp_path / "mine")
    assert (f"/{part}", "bytes=1234-") in server.requests
    assert same(tmp_path / "mine", server.folder)


def test_a_partial_file_that_does_not_fit_is_fetched_again(server: Server, tmp_path: Path) -> None:
    part = "out-00001-of-00003.h5"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"{part}.part").write_bytes(b"of another version")
    get(server.address, tmp_path / "mine")
    assert same(tmp_path / "mine", server.folder)
    longer = (server.folder / part).read_bytes() + b"more"
    (tmp_path / "mine" / part).unlink()
    (tmp_path / "mine" / f"{part}.part").write_bytes(longer)
    get(server.address, tmp_path / "mine")
    assert same(tmp_path / "mine", server.folder)


Fault = Callable[[Server], object]


def setting(**values: Any) -> Fault:
    def fault(server: Server) -> None:
        for name, value in values.items():
            setattr(server, name, value)

    return fault


def wrong_bytes(server: Server) -> None:
    data = bytearray((server.folder / "out-00002-of-00003.h5").read_bytes())
    data[5000] ^= 1
    server.swap["out-00002-of-00003.h5"] = bytes(data)


def longer(server: Server) -> None:
    data = (server.folder / "out-00000-of-00003.h5").read_bytes()
    server.swap["out-00000-of-00003.h5"] = b"\0" + data


def with_sums(old: str, new: str) -> Fault:
    def fault(server: Server) -> None:
        sums = (server.folder / "SHA256SUMS").read_text()
        assert old in sums
        server.swap["SHA256SUMS"] = sums.replace(old, new).encode()

    return fault


def with_card(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Another croissant.json, whose checksum is right."""

    def fault(server: Server) -> None:
        path = server.folder / "croissant.json"
        content, before = json.loads(path.read_text()), sha256(path)
        change(content)
        data = json.dumps(content).encode()
        server.swap["croissant.json"] = data
        sums = (server.folder / "SHA256SUMS").read_text()
        digest = hashlib.sha256(data).hexdigest()
        server.swap["SHA256SUMS"] = sums.replace(before, digest).encode()

    return fault


def with_wrong_size(card: dict[str, Any]) -> None:
    card["distribution"][0]["contentSize"] = "100 B"


FAULTS: dict[str, tuple[Fault, str]] = {
    "wrong bytes": (
        wrong_bytes,
        r"00002-of-00003.h5: its bytes are not those that SHA256SUMS says",
    ),
    "other bytes, longer": (longer, r"00000-of-00003.h5: its bytes are not those that SHA256SUMS"),
    "drops at once": (
        setting(drop_after=0),
        r"SUMS: the connection ended",
    ),
    "claims more than it sends": (
        setting(claims=1000),
        r"SUMS: the connection ended",
    ),
    "not there": (setting(errors=[404]), r"SHA256SUMS: no such file on the server"),
    "not for us": (setting(errors=[0, 403]), r"croissant.json: the server says 403 Forbidden"),
    "broken": (setting(errors=[500] * 9), r"SHA256SUMS: the server says 500 Internal Server Error"),
    "redirects for ever": (
        setting(redirect="/SHA256SUMS"),
        r"SUMS: .* redirects for ever",
    ),
    "redirects to a file": (
        setting(redirect="file:///etc/passwd"),
        r"to file:///etc/passwd, wh",
    ),
    "compressed": (
        setting(encoding="gzip", swap={"SHA256SUMS": b"\x1f\x8b"}),
        r"SUMS: is no text",
    ),
    "no list": (
        setting(swap={"SHA256SUMS": b"<html>"}),
        r"'<html>' is no checksum and name; refused",
    ),
    "no text": (setting(swap={"SHA256SUMS": b"\xff" * 9}), r"SUMS: is no text"),
    "endless list": (setting(swap={"SHA256SUMS": b"a" * (2 << 20)}), r"larger than 1 MiB"),
    "leads out": (with_sums("  out.h5", "  ../out.h5"), r"'../out.h5' is not the plain name"),
    "absolute": (with_sums("  out.h5", "  /etc/x.h5"), r"'/etc/x.h5' is not the plain name"),
    "windows": (with_sums("  out.h5", "  c:x.h5"), r"'c:x.h5' is not the plain name"),
    "hidden": (with_sums("  out.h5", "  .bashrc"), r"'.bashrc' is not the plain name"),
    "steers a terminal": (with_sums("  out.h5", "  \x1b[2J.h5"), r"is not the plain name"),
    "unfinished": (with_sums("  out.h5", "  x.part"), r"'x.part' is not the plain name"),
    "twice": (with_sums("  README.md", "  OUT.H5"), r"is listed twice"),
    "not described": (with_sums("croissant.json", "other.json"), r"lists no croissant.json"),
    "other description": (
        setting(swap={"croissant.json": b"{}"}),
        r"croissant.json: is not what SHA256SUMS says",
    ),
    "no description": (with_card(lambda card: card.clear()), r"not as 'labelgen card' writes it"),
    "odd size": (
        with_card(lambda card: card["distribution"][0].update(contentSize="-1 B")),
        r"contentSize is '-1 B', expected '123 B'",
    ),
    "smaller than it is": (
        with_card(with_wrong_size),
        r"its bytes are not those that SHA256SUMS says",
    ),
    "left out": (with_card(lambda card: card["distribution"].pop()), r"differ about '"),
    "too large": (
        with_card(lambda card: card["distribution"][0].update(contentSize=f"{10**17} B")),
        r"GB may be needed and",
    ),
    "no dataset": (with_sums("  out.h5", "  out-00003-of-00003.h5"), r"differ about"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_one_line_and_nothing_wrong_is_left(
    server: Server, tmp_path: Path, name: str
) -> None:
    fault, message = FAULTS[name]
    fault(server)
    folder = tmp_path / "mine"
    result = CliRunner().invoke(main, ["get", server.address, "-o", str(folder)])
    assert result.exit_code == 2, result.output
    error = [line for line in result.output.splitlines() if line.startswith("labelgen: ")]
    assert len(error) == 1, result.output
    assert re.search(message, error[0]), error[0]
    assert "\x1b" not in result.output
    for path in folder.iterdir() if folder.exists() else ():
        whole = path.name.removesuffix(".part")
        offered = (server.folder / whole).read_bytes()
        assert offered.startswith(path.read_bytes()), path
        assert path.name != "out.h5"  # the dataset's own name comes last
    # Nothing that was fetched leads outside of the folder.
    assert {p.name for p in tmp_path.iterdir()} <= {"offered", "mine"}


def test_errors_of_the_server_are_retried(server: Server, tmp_path: Path) -> None:
    server.errors = [0, 503, 0, 500]
    get(server.address, tmp_path / "mine")
    assert same(tmp_path / "mine", server.folder)


def test_a_server_without_ranges_sends_the_file_again(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    part = "out-00001-of-00003.h5"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"{part}.part").write_bytes((server.folder / part).read_bytes()[:99])
    get(server.address, tmp_path / "mine")
    assert same(tmp_path / "mine", server.folder)


def test_the_digest_of_the_checksums_can_be_required(server: Server, tmp_path: Path) -> None:
    right = sha256(server.folder / "SHA256SUMS")
    get(server.address, tmp_path / "mine", sums_sha256=right.upper())
    with pytest.raises(UserError, match="another SHA-256 than expected"):
        read_remote_manifest(server.address, "0" * 64)


def test_files_of_users_are_not_overwritten(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text("my notes")
    (folder / "others.txt").write_text("mine as well")
    with pytest.raises(UserError, match=r"README.md: is there and differs .*--overwrite"):
        get(server.address, folder)
    assert (folder / "README.md").read_text() == "my notes"
    get(server.address, folder, overwrite=True)
    assert (folder / "others.txt").read_text() == "mine as well"
    assert sha256(folder / "README.md") == sha256(server.folder / "README.md")


def test_the_files_are_listed_before_they_are_fetched(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    command = ["get", server.address, "-o", str(folder), "--dry-run"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    total = sum(
        p.stat().st_size for p in server.folder.glob("*") if p.suffix in (".h5", ".md", ".toml")
    )
    assert f"{total / 1e6:.1f} MB" in result.output
    assert "licence: CC0-1.0" in result.output
    assert not folder.exists()
    assert {path for path, _ in server.requests} == {"/SHA256SUMS", "/croissant.json"}


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("https://h.org/a/b", "https://h.org/a/b/"),
        ("https://h.org/a/b/", "https://h.org/a/b/"),
        ("https://h.org/a/SHA256SUMS?download=1", "https://h.org/a/?download=1"),
        ("https://h.org/a/out.h5#x", "https://h.org/a/"),
        ("https://h.org/a/out.hdf5", "https://h.org/a/"),
        ("https://h.org/a/recipe.toml", "https://h.org/a/"),
        ("https://h.org/night.h5.old/", "https://h.org/night.h5.old/"),
        ("http://h.org", "http://h.org/"),
    ],
)
def test_the_location_is_the_folder_of_an_address(address: str, location: str) -> None:
    assert dataset_location(address) == location


@pytest.mark.parametrize(
    "address", ["ftp://h.org/x", "file:///etc", "https:///x", "no-such-name", "s3://b/x"]
)
def test_other_locations_are_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"expected|neither"):
        read_remote_manifest(address)


def two_datasets(server: Server) -> None:
    """Lists that agree about a second dataset."""
    digest = sha256(server.folder / "README.md")
    size = (server.folder / "README.md").stat().st_size
    more = {"name": "b.h5", "contentSize": f"{size} B", "sha256": digest}
    with_card(lambda card: card["distribution"].append(more))(server)
    server.swap["SHA256SUMS"] += f"{digest}  b.h5\n".encode()


def test_a_folder_of_two_datasets_is_refused(server: Server, tmp_path: Path) -> None:
    two_datasets(server)
    with pytest.raises(UserError, match="offers 2 datasets in one folder"):
        get(server.address, tmp_path / "mine")
    with pytest.raises(UserError, match=r"SHA256SUMS does not list 'c.h5'"):
        read_remote_manifest(server.address + "c.h5")


def test_a_dataset_that_is_shorter_than_its_card_says(server: Server, tmp_path: Path) -> None:
    path = server.folder / "out-00000-of-00003.h5"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"bytes that croissant.json says; tell who offers it"):
        get(server.address, tmp_path / "mine")


def test_a_disk_that_is_full_is_one_line(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    code = (
        "import resource, sys; from labelgen.cli import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        f"main(['get', '{server.address}', '-o', '{folder}'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search(r"out-0000\d-of-00003.h5.part: File too large; mend that", done.stderr)
    get(server.address, folder)
    assert same(folder, server.folder)


def test_two_processes_do_not_write_one_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    begun = tmp_path / "mine" / "out-00000-of-00003.h5.part"
    with begun.open("ab") as held:
        assert try_lock(held.fileno())
        with pytest.raises(UserError, match="another 'labelgen get' is fetching it"):
            get(server.address, tmp_path / "mine")
    get(server.address, tmp_path / "mine")
    assert same(tmp_path / "mine", server.folder)


def test_names_of_the_catalogue(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "catalog_folder", lambda: tmp_path / "datasets")
    known = tmp_path / "datasets" / "mine"
    shutil.copytree(published, known / "data")
    (known / "set.toml").write_text('title = "t"\nget = "data"\n')
    other = tmp_path / "datasets" / "theirs"
    other.mkdir()
    (other / "set.toml").write_text('title = "t"\nhomepage = "https://h.org"\n')
    monkeypatch.chdir(tmp_path)
    assert get("mine") == Path("mine/out.h5")
    with pytest.raises(UserError, match=r"theirs: nobody offers it .*https://h.org.*build.sh"):
        read_remote_manifest("theirs")
    (known / "set.toml").write_text('title = "t"\nget = "data"\nsums_sha256 = "00"\n')
    with pytest.raises(UserError, match="another SHA-256"):
        read_remote_manifest("mine")
    (known / "set.toml").write_text("title = 3\n")
    with pytest.raises(UserError, match="not the entry of a dataset"):
        read_remote_manifest("mine")
