"""Draw tables and the bar on a terminal. This is the only module that imports rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from rich import box
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from labelgen.cli.tables import Block, Cell, Line, Table
from labelgen.cli.text import printable

MIN_WIDTH = 12
"""Least width of a column of texts, in characters."""
GAP = 3
"""Characters between two columns."""
MAX_S = 365 * 86400
"""Longer times are shown as "years"."""
MIN_SHOWN_S = 1.0
"""The bar of a shorter stage disappears at its end."""


class Screen(Console):
    """A terminal without markup in texts.

    The cursor stays visible, since a process that is killed could not show it again.
    """

    def __init__(self, file: TextIO) -> None:
        plain = bool(os.environ.get("NO_COLOR"))
        super().__init__(
            file=file,
            color_system=None if plain else "auto",
            markup=False,
            highlight=False,
            emoji=False,
        )

    def show_cursor(self, show: bool = True) -> bool:
        """Do nothing."""
        return False


def draw(blocks: Sequence[Block]) -> bool:
    """Draw on standard output; return False, and draw nothing, if a table is too wide."""
    screen = Screen(sys.stdout)
    if any(_min_width(b) > screen.width for b in blocks if isinstance(b, Table)):
        return False
    drawings = [_table(b) if isinstance(b, Table) else _text(b) for b in blocks]
    for before, drawing in zip([None, *drawings], drawings, strict=False):
        if before and not (isinstance(before, Text) and isinstance(drawing, Text)):
            screen.line()
        screen.print(drawing, soft_wrap=isinstance(drawing, Text))
    return True


def _text(cell: Cell) -> Text:
    """Return a cell as text for rich, one line for each of its texts."""
    lines = cell if isinstance(cell, tuple) else (cell,)
    parts = [line if isinstance(line, Line) else Line(line) for line in lines]
    texts = [Text(printable(part.text), part.style) for part in parts]
    return Text("\n", overflow="fold").join(texts)


def _min_widths(table: Table) -> list[int]:
    """Return the least width of each column; a column that never wraps has one width."""
    longest = [max(_text(cell).cell_len for cell in column) for column in _columns(table)]
    return [n if i in table.no_wrap else min(n, MIN_WIDTH) for i, n in enumerate(longest)]


def _columns(table: Table) -> list[tuple[Cell, ...]]:
    return list(zip(table.heads, *table.rows, strict=True))


def _min_width(table: Table) -> int:
    """Return the least width of a table in characters."""
    return sum(_min_widths(table)) + GAP * (len(table.heads) - 1)


def _table(table: Table) -> RichTable:
    headed = any(table.heads)
    drawing = RichTable(
        box=box.SIMPLE_HEAD if headed else None,
        show_header=headed,
        header_style="bold",
        border_style="dim",
        pad_edge=False,
        show_edge=False,
    )
    for i, (head, width) in enumerate(zip(table.heads, _min_widths(table), strict=True)):
        drawing.add_column(
            _text(head),
            justify="right" if i in table.right_aligned else "left",
            no_wrap=i in table.no_wrap,
            overflow="fold",
            min_width=width,
        )
    for row in table.rows:
        drawing.add_row(*map(_text, row))
    return drawing


class _Status(ProgressColumn):
    """Steps done of all, time left or elapsed, rate, and a text."""

    def render(self, task: Task) -> Text:
        """Return the status as one line."""
        done, total, elapsed = int(task.completed), task.total, task.elapsed or 0.0
        new = done - task.fields["first"]
        rate = new / max(elapsed, 1e-3)
        parts = [f"{done}/{int(total)}" if total else str(done or "")]
        if total and new and done < total:
            parts.append(f"{_clock((total - done) / rate)} left")
        else:
            parts.append(_clock(elapsed))
        if total and new and task.fields["rate"]:
            parts.append(f"{rate:.3g}/s" if rate < 1000 else f"{rate:.0f}/s")
        text = Text(task.fields["text"], "dim")
        return Text("  ").join([*(Text(part) for part in parts if part), text])


def _clock(seconds: float) -> str:
    """Format as hours, minutes and seconds; a dataset may claim any number of samples."""
    return str(timedelta(seconds=round(seconds))) if seconds < MAX_S else "years"


class LiveBar:
    """A bar on standard error that is drawn until it is closed; parameters as for `Bar.start`."""

    def __init__(self, stage: str, total: int, done: int, rate: bool) -> None:
        self._progress = Progress(
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(no_wrap=True, min_width=len(stage)),
            ),
            BarColumn(
                bar_width=None,
                style="dim",
                complete_style="cyan",
                finished_style="green",
                pulse_style="cyan",
                table_column=Column(max_width=24),
            ),
            _Status(table_column=Column(no_wrap=True)),
        )
        self._task = self._progress.add_task(
            stage, total=total or None, completed=done, first=done, rate=rate, text=""
        )
        self._live = Live(
            self,
            console=Screen(sys.stderr),
            refresh_per_second=5,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the bar, with room for the ^C that a terminal prints on the same line."""
        narrower = options.update(width=max(console.width - 2, 1))
        yield from console.render_lines(self._progress, narrower, pad=False)[0]

    def reach(self, done: int, text: str) -> None:
        """Set the number of steps so far, and the text beside the bar."""
        self._progress.update(self._task, completed=done, text=text)

    def remark(self, text: str) -> None:
        """Print a line above the bar."""
        self._live.console.print(Text(text), soft_wrap=True)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Remove the bar while the context is open, so that others can write to the terminal."""
        self._live.transient = True
        self._live.stop()
        try:
            yield
        finally:
            self._live.transient = False
            self._live.start(refresh=True)

    def close(self) -> None:
        """Draw the bar for the last time, or remove it if it was short and has no text."""
        (task,) = self._progress.tasks
        short = (task.elapsed or 0.0) < MIN_SHOWN_S
        ended = task.finished or task.total is None
        self._live.transient = short and ended and not task.fields["text"]
        self._live.stop()
