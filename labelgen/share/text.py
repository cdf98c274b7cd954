"""Texts of strangers on one line, without characters that steer a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return a text with a space in place of each character that is not printable."""
    return "".join(c if c.isprintable() else " " for c in text)


def single_line(value: object) -> str:
    """Return the text of a value on one line, with single spaces between its words."""
    return " ".join(printable(str(value)).split())
