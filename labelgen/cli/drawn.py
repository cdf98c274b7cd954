"""What rich draws on a terminal: tables, and the bar. Nothing else imports rich."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.table import Table as RichTable
from rich.text import Text

from labelgen.cli.tables import Cell, Line, Table
from labelgen.cli.terminal import printable

NARROWEST = 12
"""Columns that a column of texts keeps, however narrow the terminal."""

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


def draw(blocks: Sequence[Table | Line]) -> bool:
    """Draw on standard output; False, and nothing is drawn, where a table is too wide for it."""
    screen = Screen(sys.stdout)
    drawings = [_table(b) if isinstance(b, Table) else _text(b) for b in blocks]
    tables = [d for d in drawings if isinstance(d, RichTable)]
    if any(Measurement.get(screen, screen.options, t).minimum > screen.width for t in tables):
        return False
    for before, drawing in zip([None, *drawings], drawings, strict=False):
        if before and (before in tables or drawing in tables):
            screen.line()
        screen.print(drawing, soft_wrap=isinstance(drawing, Text))
    return True


def _text(cell: Cell) -> Text:
    """A cell; each of its texts stays on a line."""
    lines = cell if isinstance(cell, tuple) else (cell,)
    parts = [line if isinstance(line, Line) else Line(line) for line in lines]
    texts = [Text(printable(part.text), part.style) for part in parts]
    return Text("\n", overflow="fold").join(texts)


def _table(table: Table) -> RichTable:
    drawing = RichTable(
        box=box.SIMPLE_HEAD if any(table.heads) else None,
        show_header=any(table.heads),
        header_style="bold",
        border_style="dim",
        pad_edge=False,
        show_edge=False,
        padding=(0, 1),
        title=_text(Line(table.title, "bold")) if table.title else None,
        title_justify="left",
        title_style="",
    )
    for i, head in enumerate(table.heads):
        number = i in table.numbers
        longest = max((_text(row[i]).cell_len for row in table.rows), default=0)
        drawing.add_column(
            _text(head),
            justify="right" if number else "left",
            no_wrap=number,
            overflow="fold",
            min_width=None if number else min(longest, NARROWEST),
        )
    for row in table.rows:
        drawing.add_row(*map(_text, row))
    return drawing


class _Count(ProgressColumn):
    """How many of how many, at which rate, and how long that still takes or took."""

    def render(self, task: Task) -> Text:
        """As text."""
        done, elapsed = int(task.completed), task.elapsed or 0.0
        fresh = done - task.fields["first"]
        if not task.total:
            return Text(f"{done or ''}  {_clock(elapsed)}".strip())
        rate = fresh / max(elapsed, 1e-3)
        parts = [f"{done}/{int(task.total)}"]
        if done >= task.total:
            parts.append(_clock(elapsed))
        elif fresh:
            parts.append(f"{_clock((task.total - done) / rate)} left")
        if fresh:
            parts.append(f"{rate:.3g}/s" if rate < 1000 else f"{rate:.0f}/s")
        return Text("  ".join(parts))


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


class LiveBar:
    """A bar on standard error that is drawn until it is closed."""

    def __init__(self, stage: str, total: int, done: int) -> None:
        self._screen = Screen(sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24, style="dim", complete_style="cyan", finished_style="green"),
            _Count(),
            TextColumn("{task.fields[text]}", markup=False, style="dim"),
            console=self._screen,
            refresh_per_second=5,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(
            f"{stage:8s}", total=total or None, completed=done, first=done, text=""
        )
        self._progress.start()

    def reach(self, done: int, text: str) -> None:
        """So many steps are done."""
        self._progress.update(self._task, completed=done, text=text)

    def remark(self, text: str) -> None:
        """A line above the bar."""
        self._progress.print(Text(text), soft_wrap=True)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the bar away while others write to the terminal."""
        live = self._progress.live
        live.transient = True
        self._progress.stop()
        try:
            yield
        finally:
            live.transient = False
            self._progress.start()

    def close(self) -> None:
        """Draw it for the last time; what took no time leaves no trace."""
        elapsed = self._progress.tasks[0].elapsed or 0.0
        self._progress.live.transient = elapsed < WORTH_A_LINE_S
        self._progress.stop()
