"""Results of commands, described once for terminals (tables) and for pipes (plain lines)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Line:
    """A text with a style."""

    text: str
    style: str = ""
    """Style on a terminal, such as "green" or "bold red"."""
    plain: str | None = None
    """Text for plain lines; None if it is the same."""


Cell = str | Line | tuple[str | Line, ...]
"""A text, or several, one below the other."""


@dataclass(frozen=True)
class Table:
    """Rows under the heads of their columns."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    no_wrap: Collection[int] = ()
    """Indices of the columns whose texts may not be wrapped."""
    right_aligned: Collection[int] = ()
    """Indices of the columns to align on the right, such as those of numbers."""
    line: Callable[..., str] = "{}: {}".format
    """Formats the texts of a row as a plain line. A cell of several texts makes several lines."""


Block = str | Line | Table
"""One part of a result."""


def plain_lines(block: Block) -> Iterator[str]:
    """Yield the plain lines of a block. A table has one for each row, and none for its heads.

    >>> list(plain_lines(Table(("Name", "Problems"), [["a", ("dark", "blurred")]])))
    ['a: dark', 'a: blurred']
    """
    if isinstance(block, Table):
        for row in block.rows:
            yield from (block.line(*texts) for texts in product(*map(_plain_texts, row)))
    else:
        yield from _plain_texts(block)


def _plain_texts(cell: Cell) -> list[str]:
    parts = cell if isinstance(cell, tuple) else (cell,)
    return [_plain_text(part) for part in parts]


def _plain_text(part: str | Line) -> str:
    if isinstance(part, str):
        return part
    return part.text if part.plain is None else part.plain
