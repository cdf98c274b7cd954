"""Read the files of a published dataset, on a web server or in a folder, from any position.

HTTP is done by urllib3: it has no dependencies, uses the certificates of the system, and returns
the body as it was sent. requests and httpx read the body of every redirect into memory, and a
server could make that endless.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
)

from labelgen.core.errors import UserError
from labelgen.core.validation import one_line
from labelgen.share.manifest import CROISSANT, HDF5_SUFFIXES, README, RECIPE, SUMS

BLOCK = 1 << 20
"""Most bytes that are read at once."""
CONNECT_S, SILENT_S = 30, 60
"""Longest wait (s) for a server to accept a connection, and for the next bytes."""
PAUSES_S = 0.5, 2.0, 8.0
"""Pauses (s) before consecutive new attempts. An attempt that reads new bytes starts them again."""
MAX_REDIRECTS = 10
TRANSIENT_STATUSES = (408, 416, 429)
"""Client errors of HTTP that may pass: timeout, range not satisfiable, too many requests."""


class TransientFailure(Exception):
    """A file can't be read now; another attempt may succeed."""


class Truncated(TransientFailure):
    """A file ended before its stated size: the connection was cut, or the file is shorter."""


class PermanentFailure(Exception):
    """A file can't be read, and another attempt would fail too."""


def dataset_location(text: str) -> str:
    """Return the location of a dataset: the address or path of its folder, ending in a slash.

    Parameters
    ----------
    text : str
        http(s) address or path of the folder, or of a file of the dataset in it.

    Raises
    ------
    UserError
        Neither a web address nor an existing folder.

    Examples
    --------
    >>> dataset_location("https://host.org/night/out.h5")
    'https://host.org/night/'
    """
    if is_web(text):
        try:
            parts = urlsplit(text)
            if not parts.hostname:
                raise ValueError("no server")
        except ValueError as e:
            raise UserError(f"{text}: no address ({e}); expected https://host/folder") from e
        head, _, last = parts.path.rpartition("/")
        is_file = last in (README, CROISSANT, RECIPE, SUMS) or last.endswith(HDF5_SUFFIXES)
        path = (head if is_file else parts.path).rstrip("/") + "/"
        return urlunsplit(parts._replace(path=path, fragment=""))
    if "://" in text:
        raise UserError(f"{text}: expected an http or https address, a folder, or a name")
    folder = Path(text).parent if Path(text).is_file() else Path(text)
    if not folder.is_dir():
        raise UserError(f"{text}: neither an address, a folder, nor the name of a known dataset")
    return f"{folder}/"


def is_web(location: str) -> bool:
    """Whether a location is a web address."""
    return location.lower().startswith(("http://", "https://"))


def file_address(location: str, name: str) -> str:
    """Return the address or path of a file of a dataset.

    Examples
    --------
    >>> file_address("https://host.org/night/?key=1", "out.h5")
    'https://host.org/night/out.h5?key=1'
    """
    if not is_web(location):
        return location + name
    parts = urlsplit(location)
    return urlunsplit(parts._replace(path=parts.path + quote(name)))


def read_with_retries(
    address: str, start: int = 0, size: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Read a file from a position to its end; resume where a connection was lost.

    Parameters
    ----------
    address : str
        Result of `file_address`.
    start : int
        Position of the first byte to read.
    size : int, optional
        Bytes of the whole file. By default the file is read to its end.

    Yields
    ------
    int
        Position of the block. It is 0 again if the server can only send the whole file.
    bytes
        The block as sent: a compressed body is not decompressed.

    Raises
    ------
    UserError
        The file does not exist, or several consecutive attempts read nothing new.
    """
    position, farthest, failures = start, -1, 0
    while size is None or position < size:
        try:
            for begin, block in _read_blocks(address, position):
                whole = block if size is None else block[: size - begin]
                position = begin + len(whole)
                yield begin, whole
                if size is not None and position >= size:
                    return
            if size is None:
                return
            raise Truncated(f"ends after {position:,} of the {size:,} bytes that {CROISSANT} says")
        except PermanentFailure as e:
            raise UserError(f"{address}: {e}") from e
        except TransientFailure as e:
            failures = 0 if position > farthest >= 0 else failures + 1
            farthest = max(farthest, position)
            if failures > len(PAUSES_S):
                advice = "; the same command goes on from there" if size and position else ""
                advice = "; tell who offers it" if isinstance(e, Truncated) else advice
                raise UserError(f"{address}: {e}{advice}") from e
            time.sleep(PAUSES_S[max(failures - 1, 0)])


def _read_blocks(address: str, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield blocks with their positions in one attempt, which may raise `TransientFailure`."""
    return _read_web(address, start) if is_web(address) else _read_disk(Path(address), start)


def _read_disk(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    try:
        if not path.is_file():
            raise PermanentFailure("no such file")
        with path.open("rb") as file:
            position = file.seek(start)
            while block := file.read(BLOCK):
                yield position, block
                position += len(block)
    except OSError as e:
        raise TransientFailure(e.strerror or str(e)) from e


def _read_web(address: str, start: int) -> Iterator[tuple[int, bytes]]:
    try:
        response = _request(address, start)
        try:
            if response.status >= 400:
                raise _status_failure(response.status, response.reason)
            first_byte = f"bytes {start}-"
            is_range = response.headers.get("Content-Range", "").startswith(first_byte)
            position = start if response.status == 206 and is_range else 0
            # A compressed body is not decoded, since it could inflate to any size.
            while block := response.read1(BLOCK, decode_content=False):
                yield position, block
                position += len(block)
        finally:
            response.close()
    except ProtocolError as e:
        raise TransientFailure("the connection ended before the file did") from e
    except NewConnectionError as e:  # in some versions a ConnectTimeoutError as well
        raise TransientFailure(f"no connection ({_root_cause(e)})") from e
    except ConnectTimeoutError as e:
        raise TransientFailure(f"no connection within {CONNECT_S} s") from e
    except ReadTimeoutError as e:
        raise TransientFailure(f"the server sent nothing for {SILENT_S} s") from e
    except ValueError as e:  # also of urllib3: an address that no server can have
        raise PermanentFailure(one_line(e)) from e
    except (HTTPError, http.client.HTTPException, OSError) as e:
        raise TransientFailure(f"no connection ({_root_cause(e)})") from e


def _request(address: str, start: int) -> urllib3.BaseHTTPResponse:
    """Send a GET request from byte `start` on, follow redirects, and return the open response."""
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    timeout = urllib3.Timeout(connect=CONNECT_S, read=SILENT_S)
    for _ in range(MAX_REDIRECTS + 1):
        response = _connection_pool(address).request(
            "GET",
            address,
            headers=headers,
            timeout=timeout,
            retries=False,
            redirect=False,
            preload_content=False,
        )
        target = response.get_redirect_location()
        if not target:
            return response
        response.close()
        address = urljoin(address, target)
        if not is_web(address):
            shown = one_line(Exception(address))
            raise PermanentFailure(f"the server redirects to {shown}, which is no web address")
    raise PermanentFailure("the server redirects for ever")


def _connection_pool(address: str) -> urllib3.PoolManager:
    """Return connections to a server: direct, or by the proxy that the environment names for it."""
    server = urlsplit(address)
    proxies = getproxies()
    proxy = proxies.get(server.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(server.netloc.rpartition("@")[2]):
        return urllib3.PoolManager()
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    login = urlsplit(proxy).netloc.rpartition("@")[0]
    proxy_headers = urllib3.make_headers(proxy_basic_auth=unquote(login) or None)
    return urllib3.ProxyManager(proxy, proxy_headers=proxy_headers)


def _status_failure(status: int, reason: str | None) -> Exception:
    """Return the failure for an HTTP status. It is transient for errors that may pass."""
    if status == 404:
        return PermanentFailure("no such file on the server")
    text = f"the server says {status} {one_line(Exception(reason or ''))}".rstrip()
    may_pass = status >= 500 or status in TRANSIENT_STATUSES
    return TransientFailure(text) if may_pass else PermanentFailure(text)


def _root_cause(error: BaseException) -> str:
    """Return the text of the first error in a chain; those of urllib3 name Python objects."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return getattr(error, "strerror", None) or one_line(error)
