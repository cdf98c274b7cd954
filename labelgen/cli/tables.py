"""Results of commands, described once for terminals (tables) and for pipes (plain lines)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Line:
    """A text and its style on a terminal, such as "green" or "bold red".

    Plain lines have `plain` in its place, if given.
    """

    text: str
    style: str = ""
    plain: str | None = None


Cell = str | Line | tuple[str | Line, ...]
"""A text, or several, one below the other."""


@dataclass(frozen=True)
class Table:
    """Rows under the heads of their columns.

    Columns of `no_wrap` keep their texts on one line; those of `right_aligned` hold numbers.
    `line` makes a plain line from the texts of a row. A cell of several texts makes several lines.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    no_wrap: Collection[int] = ()
    right_aligned: Collection[int] = ()
    line: Callable[..., str] = "{}: {}".format


Block = str | Line | Table
"""A part of a result."""


def plain_lines(block: Block) -> Iterator[str]:
    """Plain lines of a block; a table has one for each row, without its heads.

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
