"""What commands show people: tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Line:
    """A text and how it is drawn, such as "green" or "bold red"."""

    text: str
    style: str = ""


Cell = str | Line | tuple[str | Line, ...]
"""A text, or several, one below the other."""


@dataclass(frozen=True)
class Table:
    """Rows under the heads of their columns.

    Columns that are `whole` are never wrapped, and those on the `right` are numbers.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    whole: Collection[int] = ()
    right: Collection[int] = ()
