"""Text and JSON that a stranger may have written: how much is read, and of what form it has to be.

A file is read only if it is one (opening a pipe waits for ever, a device may never end) and no
larger than anything of its kind. Values that are not of their form raise TypeError or ValueError,
which readers turn into one line that names the file.
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
"""Bytes of JSON; 64 MiB take up to 1.5 GB when parsed."""
MAX_TEXT_BYTES = 2**20
"""Bytes of a list of exposures, or of a recipe."""
PARSE_ERRORS = (ValueError, TypeError, KeyError, AttributeError, RecursionError, ArithmeticError)
"""What parsing JSON, and looking into it, raises where it is not of the form that was expected."""


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    """Read a text file of UTF-8.

    Raises
    ------
    UserError
        Missing, no file, larger than `most` bytes, or can't be read.
    UnicodeDecodeError
        Other bytes; a ValueError.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: not a file; expected text")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}; give a file that can be read") from e
    if len(data) > most:
        raise UserError(f"{path}: larger than {most >> 20} MiB, which none of its kind is")
    return data.decode("utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file; as `read_text`, and raises one of `PARSE_ERRORS` for what is none."""
    return json.loads(read_text(path, MAX_JSON_BYTES))


def read_toml(path: Path) -> dict[str, Any]:
    """Read TOML; as `read_text`, and raises ValueError or RecursionError for what is none."""
    return tomllib.loads(read_text(path))


def expect_text(value: Any) -> str:
    """A value that has to be a string."""
    if not isinstance(value, str):
        raise TypeError(f"{short_repr(value)} is no text")
    return value


def expect_integer(value: Any, least: int = 0, most: int = 2**63 - 1) -> int:
    """A value that has to be a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise TypeError(f"{short_repr(value)} is no whole number of {least} to {most}")
    return value


def expect_number(value: Any) -> float:
    """A value that has to be a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TypeError(f"{short_repr(value)} is no number")
    return float(value)


def expect_bool(value: Any) -> bool:
    """A value that has to be true or false."""
    if not isinstance(value, bool):
        raise TypeError(f"{short_repr(value)} is neither true nor false")
    return value


def expect_object(value: Any) -> dict[str, Any]:
    """A value that has to be a JSON object."""
    if not isinstance(value, dict):
        raise TypeError(f"{short_repr(value)} is no JSON object")
    return value


class _Brief(reprlib.Repr):
    """`repr` of a few characters, also of numbers that Python refuses to write out."""

    def repr_int(self, value: int, level: int) -> str:
        """Digits, if they are few."""
        return str(value) if abs(value) < 10**18 else "a number of more than 18 digits"


def short_repr(value: Any) -> str:
    """A value in a message: a few characters on one line."""
    writer = _Brief()
    writer.maxstring = writer.maxother = 60
    return writer.repr(value)


def one_line(error: BaseException) -> str:
    """What an error of a library says, on one line that is not too long."""
    return " ".join(str(error).split())[:200] or type(error).__name__
