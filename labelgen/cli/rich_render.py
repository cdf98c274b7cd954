"""What rich draws on a terminal: tables, and the bar. Nothing else imports rich."""

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

NARROWEST = 12
"""Columns that a column of texts keeps, however narrow the terminal."""

GAP = 3
"""Columns between two columns."""
MAX_S = 365 * 86400
"""Seconds beyond which nobody waits."""
WORTH_A_LINE_S = 1.0
"""Seconds that a stage takes, whose bar then stays on the terminal."""


class Screen(Console):
    """A terminal; texts are taken as they are, and the cursor is left visible.

    A process that is killed can't show a hidden one again.
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
        """Leave it as it is."""
        return False


def draw(blocks: Sequence[Block]) -> bool:
    """Draw on standard output; False, and nothing is drawn, where a table is too wide for it."""
    screen = Screen(sys.stdout)
    if any(_least(b) > screen.width for b in blocks if isinstance(b, Table)):
        return False
    drawings = [_table(b) if isinstance(b, Table) else _text(b) for b in blocks]
    for before, drawing in zip([None, *drawings], drawings, strict=False):
        if before and not (isinstance(before, Text) and isinstance(drawing, Text)):
            screen.line()
        screen.print(drawing, soft_wrap=isinstance(drawing, Text))
    return True


def _text(cell: Cell) -> Text:
    """A cell; each of its texts stays on a line."""
    lines = cell if isinstance(cell, tuple) else (cell,)
    parts = [line if isinstance(line, Line) else Line(line) for line in lines]
    texts = [Text(printable(part.text), part.style) for part in parts]
    return Text("\n", overflow="fold").join(texts)


def _widths(table: Table) -> list[int]:
    """How narrow each column may become: what is whole as wide as its longest text."""
    longest = [max(_text(cell).cell_len for cell in column) for column in _columns(table)]
    return [n if i in table.no_wrap else min(n, NARROWEST) for i, n in enumerate(longest)]


def _columns(table: Table) -> list[tuple[Cell, ...]]:
    return list(zip(table.heads, *table.rows, strict=True))


def _least(table: Table) -> int:
    """Columns of the terminal that a table needs."""
    return sum(_widths(table)) + GAP * (len(table.heads) - 1)


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
    for i, (head, least) in enumerate(zip(table.heads, _widths(table), strict=True)):
        drawing.add_column(
            _text(head),
            justify="right" if i in table.right_aligned else "left",
            no_wrap=i in table.no_wrap,
            overflow="fold",
            min_width=least,
        )
    for row in table.rows:
        drawing.add_row(*map(_text, row))
    return drawing


class _Words(ProgressColumn):
    """How many of how many, how long that still takes or took, at which rate, and a text."""

    def render(self, task: Task) -> Text:
        """On one line, whatever the width."""
        done, total, elapsed = int(task.completed), task.total, task.elapsed or 0.0
        fresh = done - task.fields["first"]
        rate = fresh / max(elapsed, 1e-3)
        parts = [f"{done}/{int(total)}" if total else str(done or "")]
        if total and fresh and done < total:
            parts.append(f"{_clock((total - done) / rate)} left")
        else:
            parts.append(_clock(elapsed))
        if total and fresh and task.fields["rate"]:
            parts.append(f"{rate:.3g}/s" if rate < 1000 else f"{rate:.0f}/s")
        said = Text(task.fields["text"], "dim")
        return Text("  ").join([*(Text(part) for part in parts if part), said])


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds; a dataset may claim more samples than can ever be read."""
    return str(timedelta(seconds=round(seconds))) if seconds < MAX_S else "years"


class LiveBar:
    """A bar on standard error that is drawn until it is closed.

    `total` is 0 where nobody knows it; `done` steps were done before; `rate` is whether to say it.
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
            _Words(table_column=Column(no_wrap=True)),
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
        """Draw it, with room for the ^C of a terminal, which would else begin another line."""
        narrower = options.update(width=max(console.width - 2, 1))
        yield from console.render_lines(self._progress, narrower, pad=False)[0]

    def reach(self, done: int, text: str) -> None:
        """So many steps are done."""
        self._progress.update(self._task, completed=done, text=text)

    def remark(self, text: str) -> None:
        """A line above the bar."""
        self._live.console.print(Text(text), soft_wrap=True)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the bar away while others write to the terminal."""
        self._live.transient = True
        self._live.stop()
        try:
            yield
        finally:
            self._live.transient = False
            self._live.start(refresh=True)

    def close(self) -> None:
        """Draw it for the last time; what took no time and says nothing leaves no trace."""
        (task,) = self._progress.tasks
        short = (task.elapsed or 0.0) < WORTH_A_LINE_S
        ended = task.finished or task.total is None
        self._live.transient = short and ended and not task.fields["text"]
        self._live.stop()
