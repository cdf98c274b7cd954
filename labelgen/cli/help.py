"""Help texts: commands under headings, options in groups, and examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from textwrap import dedent
from typing import Any, ClassVar

import click


class Command(click.Command):
    """A command whose help has options in groups and ends with examples.

    Parameters
    ----------
    example : str
        Lines as a user types them, optionally with a ``# remark``.
    groups : mapping of str to sequence of str
        Options by heading; all others are listed under "Options".
    """

    def __init__(
        self,
        *args: Any,
        example: str = "",
        groups: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.example, self.groups = example, groups or {}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, group by group."""
        options = [p for p in self.get_params(ctx) if not isinstance(p, click.Argument)]
        records = {option: option.get_help_record(ctx) for option in options}
        remaining = {option: record for option, record in records.items() if record}
        for heading, flags in self.groups.items():
            members = [o for o in remaining if any(flag in flags for flag in o.opts)]
            with formatter.section(heading):
                formatter.write_dl([remaining.pop(o) for o in members])
        with formatter.section("Options"):
            formatter.write_dl(list(remaining.values()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        write_example(self.example, formatter)


def command(
    example: str, groups: Mapping[str, Sequence[str]] | None = None, **settings: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Return a decorator like ``click.command`` that makes a `Command`."""
    return click.command(cls=Command, example=example, groups=groups, **settings)


class Group(click.Group):
    """Commands under headings, in the order of their use.

    Commands without a heading come last; headings without commands are left out.
    """

    headings: ClassVar[Mapping[str, Sequence[str]]] = {}
    example: ClassVar[str] = ""
    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return [name for names in self._grouped().values() for name in names]

    def _grouped(self) -> dict[str, list[str]]:
        known = {name for names in self.headings.values() for name in names}
        grouped = {
            heading: [name for name in names if name in self.commands]
            for heading, names in self.headings.items()
        }
        grouped["More"] = [name for name in self.commands if name not in known]
        return {heading: names for heading, names in grouped.items() if names}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by heading, each with its whole first sentence."""
        width = max(map(len, self.commands), default=0)
        for heading, names in self._grouped().items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(limit=200))
                for name in names
                if not self.commands[name].hidden
            ]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        write_example(self.example, formatter)


def write_example(example: str, formatter: click.HelpFormatter) -> None:
    """Write lines of examples as they are."""
    lines = dedent(example).strip().splitlines()
    if lines:
        with formatter.section("Examples" if len(lines) > 1 else "Example"):
            for line in lines:
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
