"""What a terminal shows: lines, progress, and errors of one line."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from labelgen.errors import UserError


def echo(text: str, err: bool = False) -> None:
    """Print a line; what could steer a terminal, in a name say, is shown as an escape sequence."""
    click.echo("".join(c if c.isprintable() else _escaped(c) for c in text), err=err)


def echo_lines(text: str) -> None:
    """Print a text of several lines."""
    for line in text.removesuffix("\n").split("\n"):
        echo(line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Commands(click.Group):
    """Commands in the order of their use; errors of users are one line, exit status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they are defined."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what a user can mend is said without a traceback."""
        try:
            return super().invoke(ctx)
        except UserError as e:
            echo(f"labelgen: {e}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # the reader of a pipe has seen enough
            sys.stdout = None
            ctx.exit(0)
        except OSError as e:
            where = f"{e.filename}: " if e.filename else ""
            echo(f"labelgen: {where}{e.strerror or e}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            echo("labelgen: interrupted; 'build --resume' goes on with a build", err=True)
            ctx.exit(130)


class Bar:
    """Progress on a terminal: a bar with brackets/s, samples and rejects; remarks as lines."""

    def __init__(self) -> None:
        self.bar: Any = None

    def start(self, stage: str, total: int) -> None:
        """A stage begins."""
        self.close()
        self.samples = self.rejects = self.done = 0
        self.began = time.monotonic()
        self.bar = click.progressbar(
            length=total,
            label=f"{stage:8s}",
            item_show_func=lambda text: text or "",
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
        )

    def step(self, samples: int, rejected: bool) -> None:
        """One bracket is done."""
        self.samples, self.rejects = self.samples + samples, self.rejects + rejected
        self.done += 1
        rate = self.done / max(time.monotonic() - self.began, 1e-3)
        text = f"{rate:.2f} brackets/s"
        if self.samples or self.rejects:
            text += f"  {self.samples} samples  {self.rejects} rejected"
        self.bar.update(1, text)

    def remark(self, text: str) -> None:
        """A line of its own, above the bar."""
        self._clear()
        echo(text, err=True)

    def result(self, text: str) -> None:
        """A line for standard output, above the bar where both are on the terminal."""
        if sys.stdout.isatty():
            self._clear()
        echo(text)

    def _clear(self) -> None:
        """Make the line of the bar free; it is drawn again with the next step."""
        if self.bar is not None and sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.render_finish()
            self.bar = None
