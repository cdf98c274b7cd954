"""Draw tables and the progress bar on a terminal. This is the only module that imports rich."""

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
"""Characters. A column that may wrap is not made narrower than this."""
GAP = 3
"""Characters between two columns."""
MAX_S = 365 * 86400
"""Seconds. Longer times are shown as "years"."""
MIN_SHOWN_S = 1.0
"""Seconds. The bar of a shorter stage disappears at its end."""


class Screen(Console):
    """A terminal on which texts are printed as they are: names may look like rich's markup.

    NO_COLOR in the environment switches colours off.
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
        """Leave the cursor visible: a process that is killed could not show it again."""
        return False


def draw(blocks: Sequence[Block]) -> bool:
    """Draw blocks on standard output, with an empty line before and after each table.

    Returns
    -------
    bool
        False if a table is too wide for the terminal; then nothing is drawn.
    """
    screen = Screen(sys.stdout)
    if any(_min_table_width(b) > screen.width for b in blocks if isinstance(b, Table)):
        return False
    drawings = [_rich_table(b) if isinstance(b, Table) else _rich_text(b) for b in blocks]
    for previous, drawing in zip([None, *drawings], drawings, strict=False):
        if previous and not (isinstance(previous, Text) and isinstance(drawing, Text)):
            screen.line()
        screen.print(drawing, soft_wrap=isinstance(drawing, Text))
    return True


def _rich_text(cell: Cell) -> Text:
    """Convert a cell to rich's type, one line for each of its texts."""
    lines = cell if isinstance(cell, tuple) else (cell,)
    parts = [line if isinstance(line, Line) else Line(line) for line in lines]
    texts = [Text(printable(part.text), part.style) for part in parts]
    return Text("\n", overflow="fold").join(texts)


def _min_column_widths(table: Table) -> list[int]:
    """Return the least width of each column in characters."""
    columns = zip(table.heads, *table.rows, strict=True)
    longest = [max(_rich_text(cell).cell_len for cell in column) for column in columns]
    return [n if i in table.no_wrap else min(n, MIN_WIDTH) for i, n in enumerate(longest)]


def _min_table_width(table: Table) -> int:
    """Return the least width of a table in characters."""
    return sum(_min_column_widths(table)) + GAP * (len(table.heads) - 1)


def _rich_table(table: Table) -> RichTable:
    """Convert a table to rich's type. A rule is drawn below the heads, if there are any."""
    headed = any(table.heads)
    drawing = RichTable(
        box=box.SIMPLE_HEAD if headed else None,
        show_header=headed,
        header_style="bold",
        border_style="dim",
        pad_edge=False,
        show_edge=False,
    )
    for i, (head, width) in enumerate(zip(table.heads, _min_column_widths(table), strict=True)):
        drawing.add_column(
            _rich_text(head),
            justify="right" if i in table.right_aligned else "left",
            no_wrap=i in table.no_wrap,
            overflow="fold",
            min_width=width,
        )
    for row in table.rows:
        drawing.add_row(*map(_rich_text, row))
    return drawing


class _Status(ProgressColumn):
    """Column beside the bar, such as "12/40  0:01:10 left  0.4/s  96 samples"."""

    def render(self, task: Task) -> Text:
        """Return steps done and in all, time left (at the end, time elapsed), rate, and a text."""
        done, total, elapsed = int(task.completed), task.total, task.elapsed or 0.0
        new = done - task.fields["done_before"]
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
    """Format a time as hours, minutes and seconds.

    A damaged dataset may claim any number of samples, and `timedelta` is limited.
    """
    return str(timedelta(seconds=round(seconds))) if seconds < MAX_S else "years"


class LiveBar:
    """A bar on standard error that is redrawn until it is closed.

    Its parameters are those of `labelgen.cli.terminal.Bar.start`.
    """

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
            stage, total=total or None, completed=done, done_before=done, rate=rate, text=""
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
        """Draw the bar. Two columns stay free for the ^C that a terminal prints on its line."""
        narrower = options.update(width=max(console.width - 2, 1))
        yield from console.render_lines(self._progress, narrower, pad=False)[0]

    def reach(self, done: int, text: str) -> None:
        """Set the number of steps so far, and the text beside the bar."""
        self._progress.update(self._task, completed=done, text=text)

    def remark(self, text: str) -> None:
        """Print a line above the bar."""
        self._live.console.print(Text(text), soft_wrap=True)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Remove the bar while the context is open, so that other output does not mix with it."""
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
