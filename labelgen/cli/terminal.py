"""What a terminal shows: lines, JSON, progress, and errors of one line.

A terminal gets tables and a bar, drawn by rich, which is imported only then; a pipe or a file
gets plain lines.
"""

from __future__ import annotations

import json
import math
import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TextIO

import click

from labelgen.cli.help import Group
from labelgen.errors import UserError

if TYPE_CHECKING:
    from labelgen.cli.drawn import LiveBar


def printable(text: str) -> str:
    """A text on one line; what could steer a terminal, in a name say, is an escape sequence."""
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def echo(text: str, err: bool = False) -> None:
    """Print a line; what could steer a terminal, in a name say, is shown as an escape sequence."""
    line, encoding = printable(text), getattr(sys.stderr if err else sys.stdout, "encoding", None)
    if encoding:  # of a locale that cannot write all names
        line = line.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(line, err=err)


def echo_lines(text: str) -> None:
    """Print a text of several lines."""
    for line in text.removesuffix("\n").split("\n"):
        echo(line)


def echo_json(value: Any) -> None:
    """Print a value as JSON that every reader takes: what is not finite is null."""
    echo_lines(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether tables and bars can be drawn on a stream: a terminal that knows their signs."""
    if stream is None or os.environ.get("TERM", "") in ("dumb", "unknown"):
        return False
    return stream.isatty() and (stream.encoding or "").lower().startswith("utf")


class Commands(Group):
    """The commands of `labelgen`; errors of users are one line, exit status 2."""

    headings: ClassVar = {
        "Brackets": ("scan", "label", "simulate", "demo"),
        "Dataset": ("build", "info", "verify", "report", "recipes"),
        "Sharing": ("card", "pack", "merge", "split", "sample", "get", "export"),
    }
    example: ClassVar = """
        labelgen demo                        # all of it, on brackets that it simulates
        labelgen scan photos/
        labelgen build photos/ out.h5
    """

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
            resumes = "; 'build --resume' goes on" if ctx.invoked_subcommand == "build" else ""
            echo(f"labelgen: interrupted{resumes}", err=True)
            ctx.exit(130)


class Bar:
    """Progress on a terminal: a bar with rate, time left, samples and rejects; remarks as lines.

    Used in a `with`, it leaves the terminal as it was, whatever happens.
    """

    def __init__(self) -> None:
        self.bar: LiveBar | None = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self, stage: str, total: int, done: int = 0, rate: bool = True) -> None:
        """A stage begins; of 0 steps where nobody knows how many. `done` are done already.

        Its rate is not shown where the text of `reach` says it.
        """
        self.close()
        self.samples = self.rejects = 0
        self.done = done
        if is_terminal(sys.stderr):
            from labelgen.cli.drawn import LiveBar

            self.bar = LiveBar(f"{stage:8s}" if rate else stage, total, done, rate)

    def step(self, samples: int, rejected: bool) -> None:
        """One bracket is done."""
        self.samples, self.rejects = self.samples + samples, self.rejects + rejected
        said = [f"{self.samples} samples"] if self.samples else []
        if self.samples or self.rejects:
            said.append(f"{self.rejects} rejected")
        self.reach(self.done + 1, "  ".join(said))

    def reach(self, done: int, text: str) -> None:
        """So many steps are done; `text` stands beside the bar."""
        self.done = done
        if self.bar:
            self.bar.reach(done, text)

    def remark(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.bar:
            self.bar.remark(printable(text))
        else:
            echo(text, err=True)

    def result(self, text: str) -> None:
        """A line for standard output, above the bar where both are on the terminal."""
        if self.bar and is_terminal(sys.stdout):
            with self.bar.away():
                echo(text)
        else:
            echo(text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar:
            self.bar.close()
            self.bar = None
