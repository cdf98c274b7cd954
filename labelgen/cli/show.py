"""Print results: as tables on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from labelgen.cli.tables import Block, Table, plain_lines
from labelgen.cli.text import echo, is_terminal

MAX_ROWS = 1000
"""Longer tables are printed as plain lines, which need no column widths and appear at once."""


def show(*blocks: Block | None, lines: Iterable[Block | None] | None = None) -> None:
    """Print a result: drawn on a terminal that is wide enough, otherwise as plain lines.

    Parameters
    ----------
    blocks : Block or None
        Parts of the result; None is skipped.
    lines : iterable of Block or None, optional
        Parts to print in place of `blocks` if they are not drawn.
    """
    longest = max((len(b.rows) for b in blocks if isinstance(b, Table)), default=0)
    if longest <= MAX_ROWS and is_terminal(sys.stdout):
        from labelgen.cli.rich_render import draw

        if draw([block for block in blocks if block is not None]):
            return
    for block in blocks if lines is None else lines:
        for line in () if block is None else plain_lines(block):
            echo(line)
