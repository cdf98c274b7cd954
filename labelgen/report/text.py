"""Shorten lists and texts of strangers for a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
MAX_CHARACTERS = 160
"""Longest name or reason that is shown."""


def ellipsize(value: Any, max_characters: int = MAX_CHARACTERS) -> str:
    """Return the text of a value, cut with an ellipsis if it is long.

    Characters that are not printable, such as line breaks and changes of writing direction, are
    shown as escape sequences.
    """
    text = str(value)
    start = text[:max_characters]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in start)
    return safe + ("…" if len(text) > max_characters else "")


def evenly_spaced(items: Sequence[Item], max_items: int) -> list[Item]:
    """Return evenly spaced items: the middles of equal sections of the sequence.

    Examples
    --------
    >>> evenly_spaced(range(100), 4)
    [12, 37, 62, 87]
    """
    n = min(len(items), max_items)
    return [items[int((k + 0.5) * len(items) / n)] for k in range(n)]
