"""Print text and JSON so that untrusted text, such as a file name, cannot control a terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any, TextIO

import click


def printable(text: str) -> str:
    r"""Return a text as one line, with characters that could control a terminal escaped.

    >>> printable("a\x1b[2J\n")
    'a\\x1b[2J\\n'
    """
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def echo(text: str, err: bool = False) -> None:
    """Print a text as one line, made safe by `printable`."""
    line, encoding = printable(text), getattr(sys.stderr if err else sys.stdout, "encoding", None)
    if encoding:  # the locale may lack characters of a name
        line = line.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(line, err=err)


def echo_lines(text: str) -> None:
    """Print a text of several lines."""
    for line in text.removesuffix("\n").split("\n"):
        echo(line)


def echo_json(value: Any) -> None:
    """Print a value as standard JSON, with null in place of NaN and infinity."""
    echo_lines(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether tables and bars can be drawn on a stream: a terminal with their characters."""
    if stream is None or os.environ.get("TERM", "") in ("dumb", "unknown"):
        return False
    return stream.isatty() and (stream.encoding or "").lower().startswith("utf")
