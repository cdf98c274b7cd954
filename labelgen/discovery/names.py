"""Names of brackets: printable, on one line, and all different."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence

MAX_NAME = 1024
"""Characters; no path is longer."""


def printable(name: str) -> str:
    """A name that can be shown and stored: other bytes and control characters become "?"."""
    text = name.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)


def rename_request(name: str) -> str:
    """Problem of a file or folder whose name is not printable."""
    return f"'{printable(name)}' is not UTF-8 text on one line; rename it"


def is_bracket_name(value: object) -> bool:
    """Whether a value can be the name of a bracket."""
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME and printable(value) == value


def make_distinct(names: Sequence[str], at_root: Container[int]) -> list[str]:
    """Change names that occur more than once, so that all differ.

    Parameters
    ----------
    names : sequence of str
        Names of brackets.
    at_root : container of int
        Indices of brackets in RAW itself. These may be called after RAW, as a folder in it also
        is; they are then renamed to ".".
    """
    counts, used, distinct = Counter(names), set(names), list[str]()
    for i, name in enumerate(names):
        if counts[name] > 1:
            counts[name] -= 1
            if i in at_root and "/" not in name:
                name = "."
            while name in used:
                name += "~"
            used.add(name)
        distinct.append(name)
    return distinct
