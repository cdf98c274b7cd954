"""Texts of strangers in a page: short, on one line, without what steers or disguises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

Item = TypeVar("Item")
MAX_CHARACTERS = 160
"""Characters of a name or reason that are shown."""


def ellipsize(value: Any, most: int = MAX_CHARACTERS) -> str:
    """A text to show: what is not printable, such as a change of direction, as an escape."""
    text = str(value)
    cut = text[:most]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return safe + ("…" if len(text) > most else "")


def evenly_spaced(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of a sequence, evenly chosen, in its order."""
    n = min(len(items), most)
    return [items[int((k + 0.5) * len(items) / n)] for k in range(n)]
