"""Read text, JSON and TOML from untrusted files, and check the types of their values.

Only regular files of limited size are read: opening a pipe may block, and a device may never end.
The `expect_` functions return a value of the right type unchanged, and raise TypeError otherwise.
The caller turns that into a one-line `UserError` that names the file.
"""

from __future__ import annotations

import json
import reprlib
import sys
from math import isfinite
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_JSON_BYTES = 2**26
"""64 MiB. Parsing as much JSON takes up to 1.5 GB of memory."""
MAX_TEXT_BYTES = 2**20
"""1 MiB: lists of exposures and recipes are far smaller."""
PARSE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError)
"""What parsing JSON can raise, and using its values if they do not have the expected types."""


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a UTF-8 text file.

    Raises
    ------
    UserError
        The file is missing, not a regular file, larger than `max_bytes`, or unreadable.
    UnicodeDecodeError
        The file is not UTF-8. This error is a ValueError.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a file; expected text")
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}; give a file that can be read") from e
    if len(data) > max_bytes:
        raise UserError(f"{path}: larger than {max_bytes >> 20} MiB, which none of its kind is")
    return data.decode("utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises as `read_text`, and one of `PARSE_ERRORS` for invalid JSON.
    """
    return json.loads(read_text(path, MAX_JSON_BYTES))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises as `read_text`, and ValueError or RecursionError for invalid TOML.
    """
    return tomllib.loads(read_text(path))


def expect_text(value: Any) -> str:
    """Return a value if it is a string, otherwise raise TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{short_repr(value)} is no text")
    return value


def expect_integer(value: Any, low: int = 0, high: int = 2**63 - 1) -> int:
    """Return a value if it is an integer from `low` to `high`, otherwise raise TypeError.

    >>> expect_integer(3.0)
    Traceback (most recent call last):
    TypeError: 3.0 is no whole number of 0 to 9223372036854775807
    """
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise TypeError(f"{short_repr(value)} is no whole number of {low} to {high}")
    return value


def expect_number(value: Any) -> float:
    """Return a value as a float if it is a finite number, otherwise raise TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{short_repr(value)} is no number")
    return float(value)


def expect_bool(value: Any) -> bool:
    """Return a value if it is true or false, otherwise raise TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"{short_repr(value)} is neither true nor false")
    return value


def expect_object(value: Any) -> dict[str, Any]:
    """Return a value if it is a JSON object, otherwise raise TypeError."""
    if not isinstance(value, dict):
        raise TypeError(f"{short_repr(value)} is no JSON object")
    return value


def short_repr(value: Any) -> str:
    """Represent a value on one line, for messages; strings in at most 60 characters.

    Of a list or dictionary, only the first few entries are shown.

    >>> short_repr("x" * 1000)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxxxxxxxxxxx'"
    """
    writer = _ShortRepr()
    writer.maxstring = writer.maxother = 60
    return writer.repr(value)


class _ShortRepr(reprlib.Repr):
    """`repr` of limited length. Python refuses to print integers of more than 4,300 digits."""

    def repr_int(self, value: int, level: int) -> str:
        return str(value) if abs(value) < 10**18 else "a number of more than 18 digits"


def one_line(error: BaseException) -> str:
    """Return the message of a library error on one line, at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
