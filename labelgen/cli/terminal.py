"""Progress on a terminal, and errors as one line.

rich draws the bar. It is imported for terminals alone; pipes and files get plain lines.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import click

from labelgen.cli.help import Group
from labelgen.cli.text import echo, is_terminal, printable
from labelgen.core.errors import UserError

if TYPE_CHECKING:
    from labelgen.cli.rich_render import LiveBar


class Commands(Group):
    """The commands of `labelgen`. An error that the user can fix is one line, exit status 2."""

    headings: ClassVar = {
        "Brackets": ("scan", "label", "simulate", "score", "demo"),
        "Dataset": ("build", "info", "verify", "report", "recipes"),
        "Sharing": ("card", "pack", "merge", "split", "sample", "get", "export"),
    }
    example: ClassVar = """
        labelgen demo                        # all of it, on brackets that it simulates
        labelgen scan photos/
        labelgen build photos/ out.h5
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors that a user can fix are one line without a traceback."""
        try:
            return super().invoke(ctx)
        except UserError as e:
            echo(f"labelgen: {e}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # the reader of the pipe has closed it
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

    A context manager: it also closes the bar after an error. If standard error is not a terminal,
    only remarks are printed.
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
        """Start the bar of a stage.

        Parameters
        ----------
        stage : str
            Name of the stage.
        total : int
            Number of steps, 0 if unknown.
        done : int
            Steps that an interrupted command had done before.
        rate : bool
            Whether to show steps per second.
        """
        self.close()
        self.samples = self.rejects = 0
        self.done = done
        if is_terminal(sys.stderr):
            from labelgen.cli.rich_render import LiveBar

            self.bar = LiveBar(f"{stage:8s}" if rate else stage, total, done, rate)

    def step(self, samples: int, rejected: bool) -> None:
        """Advance by one bracket, with its number of samples."""
        self.samples, self.rejects = self.samples + samples, self.rejects + rejected
        counts = [f"{self.samples} samples"] if self.samples else []
        if self.samples or self.rejects:
            counts.append(f"{self.rejects} rejected")
        self.reach(self.done + 1, "  ".join(counts))

    def reach(self, done: int, text: str) -> None:
        """Set the number of steps so far, and the text beside the bar."""
        self.done = done
        if self.bar:
            self.bar.reach(done, text)

    def remark(self, text: str) -> None:
        """Print a line to standard error, above the bar."""
        if self.bar:
            self.bar.remark(printable(text))
        else:
            echo(text, err=True)

    def result(self, text: str) -> None:
        """Print a line to standard output, above the bar if both are on the terminal."""
        if self.bar and is_terminal(sys.stdout):
            with self.bar.hidden():
                echo(text)
        else:
            echo(text)

    def close(self) -> None:
        """Close the bar, if there is one."""
        if self.bar:
            self.bar.close()
            self.bar = None
