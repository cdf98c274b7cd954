"""Bytes of a published dataset, from a web server or a folder, from any position on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from labelgen.core.errors import UserError
from labelgen.core.validation import one_line
from labelgen.share.manifest import CROISSANT, HDF5, README, RECIPE, SUMS

AT_ONCE = 1 << 20
CONNECT_S, SILENT_S = 30, 60
"""Seconds that a server may take to answer, and be silent in between."""
PAUSES_S = 0.5, 2.0, 8.0
"""Seconds before a connection that was lost is tried again; anew whenever bytes have arrived."""


class TransientFailure(Exception):
    """Why a file can't be read just now; to be tried again perhaps."""


class Truncated(TransientFailure):
    """Why a file ends before it should; its server may not have said all, or not have more."""


class PermanentFailure(Exception):
    """Why a file can't be read, and will not be by trying again."""


def dataset_location(text: str) -> str:
    """Where a dataset is, of what a user gives: the address of its folder, ending in a slash.

    Parameters
    ----------
    text : str
        http(s) address or path of a folder, or of a file of the dataset in it.

    Raises
    ------
    UserError
        Neither a web address nor a folder that is there.
    """
    if is_web(text):
        try:
            parts = urlsplit(text)
            if not parts.hostname:
                raise ValueError("no server")
        except ValueError as e:
            raise UserError(f"{text}: no address ({e}); expected https://host/folder") from e
        head, _, last = parts.path.rpartition("/")
        is_file = last in (README, CROISSANT, RECIPE, SUMS) or last.endswith(HDF5)
        path = (head if is_file else parts.path).rstrip("/") + "/"
        return urlunsplit(parts._replace(path=path, fragment=""))
    if "://" in text:
        raise UserError(f"{text}: expected an http or https address, a folder, or a name")
    folder = Path(text).parent if Path(text).is_file() else Path(text)
    if not folder.is_dir():
        raise UserError(f"{text}: neither an address, a folder, nor the name of a known dataset")
    return f"{folder}/"


def is_web(place: str) -> bool:
    """Whether a place is an address of the web."""
    return place.lower().startswith(("http://", "https://"))


def file_address(place: str, name: str) -> str:
    """The address of a file in a place."""
    if not is_web(place):
        return place + name
    parts = urlsplit(place)
    return urlunsplit(parts._replace(path=parts.path + quote(name)))


def read_blocks(address: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The bytes of a file, piece by piece, each with its position.

    Where the server can't begin within the file it begins at its start.

    Parameters
    ----------
    address : str
        As `file_address` gives it.
    start : int
        Position of the first byte that is wanted.

    Raises
    ------
    Unreachable
        The connection or the disk failed; another try may go on.
    Gone
        There is no such file, or it may not be read.
    """
    return _read_web(address, start) if is_web(address) else _read_disk(Path(address), start)


def _read_disk(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    try:
        if not path.is_file():
            raise PermanentFailure("no such file")
        with path.open("rb") as file:
            position = file.seek(start)
            while block := file.read(AT_ONCE):
                yield position, block
                position += len(block)
    except OSError as e:
        raise TransientFailure(e.strerror or str(e)) from e


def _read_web(address: str, start: int) -> Iterator[tuple[int, bytes]]:
    import aiohttp
    from fsspec.implementations.http import HTTPFileSystem

    # Bytes as they are: what a server compresses on the way could inflate to anything.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENT_S)
    client = {"timeout": timeout, "auto_decompress": False, "trust_env": True}
    system = HTTPFileSystem(client_kwargs=client, skip_instance_cache=True, encoded=True)
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        # A block size of 0 streams; a size is asked for by a request of its own unless given.
        with system.open(address, block_size=0, size=1, headers=headers) as remote:
            if remote.r.status >= 400:
                raise _refusal(remote.r.status, remote.r.reason)
            ranged = f"bytes {start}-"
            begins = remote.r.headers.get("Content-Range", "").startswith(ranged)
            position = start if remote.r.status == 206 and begins else 0
            while block := remote.read(AT_ONCE):
                yield position, block
                position += len(block)
    except FileNotFoundError as e:
        raise PermanentFailure("no such file on the server") from e
    except aiohttp.TooManyRedirects as e:
        raise PermanentFailure("the server redirects for ever") from e
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as e:
        raise PermanentFailure(f"the server redirects to {one_line(e)}, which is no web address") from e
    except aiohttp.ClientPayloadError as e:
        raise TransientFailure("the connection ended before the file did") from e
    except aiohttp.ClientResponseError as e:
        raise _refusal(e.status, e.message) from e
    except (aiohttp.ClientError, OSError, ValueError, asyncio.TimeoutError) as e:
        raise TransientFailure(one_line(e)) from e
    finally:
        _close(system)


def _refusal(status: int, reason: str | None) -> Exception:
    """What a status of HTTP means: of the server's own errors some pass."""
    text = f"the server says {status} {one_line(Exception(reason or ''))}".rstrip()
    return TransientFailure(text) if status >= 500 or status in (408, 416, 429) else PermanentFailure(text)


def _close(system: object) -> None:
    """End the connections of a file system, which otherwise complain when Python ends."""
    from fsspec.implementations.http import HTTPFileSystem

    assert isinstance(system, HTTPFileSystem)
    with contextlib.suppress(Exception):
        HTTPFileSystem.close_session(system.loop, system._session)


def read_with_retries(
    address: str,
    done: Callable[[], int],
    more: Callable[[int, bytes], None],
    size: int | None,
) -> None:
    """Read a file to its end, or to so many bytes; go on where a connection was lost.

    Raises
    ------
    UserError
        It is not there, or several tries in a row brought nothing new.
    """
    failed, most = 0, -1
    while size is None or done() < size:
        try:
            for position, block in read_blocks(address, done()):
                more(position, block)
                if size is not None and done() >= size:
                    return
            if size is None:
                return
            raise Truncated(f"ends after {done():,} of the {size:,} bytes that {CROISSANT} says")
        except PermanentFailure as e:
            raise UserError(f"{address}: {e}") from e
        except TransientFailure as e:
            failed = 0 if done() > most >= 0 else failed + 1
            most = max(most, done())
            if failed > len(PAUSES_S):
                kept = "; the same command goes on from there" if size and done() else ""
                kept = "; tell who offers it" if isinstance(e, Truncated) else kept
                raise UserError(f"{address}: {e}{kept}") from e
            time.sleep(PAUSES_S[max(failed - 1, 0)])
