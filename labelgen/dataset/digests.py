"""SHA-256 digests of the columns and attributes of a dataset file."""

from __future__ import annotations

import hashlib
import json
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from labelgen.core.arrays import Array

PIECE = 1 << 20
"""Characters of a text that are turned into JSON at once."""


def column_digest(values: Array) -> str:
    """SHA-256 of the values of a small column."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def attributes_digest(file: h5py.File) -> str:
    """SHA-256 of the root attributes of a file (`digest_of`)."""
    return digest_of(file.attrs)


def digest_of(attributes: Mapping[str, Any]) -> str:
    """SHA-256 of root attributes except `digests`, as JSON with sorted keys; bytes are UTF-8.

    Long texts are digested piece by piece: the records of thousands of brackets take megabytes.
    """
    digest, separator = hashlib.sha256(b"{"), ""
    for name in sorted(attributes.keys() - {"digests"}):
        digest.update(f"{separator}{json.dumps(name)}: ".encode())
        for piece in _as_json(as_python(attributes[name])):
            digest.update(piece.encode())
        separator = ", "
    digest.update(b"}")
    return digest.hexdigest()


def _as_json(value: Any) -> Iterator[str]:
    if not isinstance(value, str | bytes):
        yield json.dumps(value)
        return
    utf8 = getincrementaldecoder("utf-8")()
    yield '"'
    for start in range(0, len(value), PIECE):
        piece = value[start : start + PIECE]
        yield json.dumps(utf8.decode(piece) if isinstance(piece, bytes) else piece)[1:-1]
    yield '"'


def as_python(value: Any) -> Any:
    """Return a NumPy scalar as the Python value that JSON can write."""
    return value.item() if isinstance(value, np.generic) else value
