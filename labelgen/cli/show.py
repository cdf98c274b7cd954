"""Print results: as tables on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from labelgen.cli.tables import Line, Table
from labelgen.cli.text import echo, is_terminal

MAX_ROWS = 1000
"""Longer tables are printed as lines, which come at once."""


def show(lines: Iterable[str], *blocks: Table | Line | None) -> None:
    """Print the lines; or what says the same on a terminal that is wide enough for it."""
    longest = max((len(b.rows) for b in blocks if isinstance(b, Table)), default=0)
    if longest <= MAX_ROWS and is_terminal(sys.stdout):
        from labelgen.cli.rich_render import draw

        if draw([block for block in blocks if block]):
            return
    for line in lines:
        echo(line)
