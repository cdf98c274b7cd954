"""What commands show people: tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from labelgen.cli.terminal import echo, is_terminal

MOST_ROWS = 1000
"""Longer tables are printed as lines, which come at once."""


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


def show(lines: Iterable[str], *blocks: Table | Line | None) -> None:
    """Print the lines; or what says the same on a terminal that is wide enough for it."""
    longest = max((len(b.rows) for b in blocks if isinstance(b, Table)), default=0)
    if longest <= MOST_ROWS and is_terminal(sys.stdout):
        from labelgen.cli.drawn import draw

        if draw([block for block in blocks if block]):
            return
    for line in lines:
        echo(line)
