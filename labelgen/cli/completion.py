"""Completion in the shell: the script for it, and the values of some options."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import click
from click.shell_completion import CompletionItem, get_completion_class

from labelgen.cli.help import Command

SHELLS = ("bash", "zsh", "fish")

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_or_files(names: Callable[[], Mapping[str, str]]) -> Complete:
    """Complete names, each with its description; if no name matches, complete files."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
        items = [CompletionItem(n, help=s) for n, s in names().items() if n.startswith(incomplete)]
        return items or files(_, __, incomplete)

    return complete


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete a path."""
    return [CompletionItem(incomplete, type="file")]


def recipe_names() -> dict[str, str]:
    """Return the summaries of the shipped recipes by name."""
    from labelgen.core.recipe import RECIPES

    return {recipe.name: recipe.summary for recipe in RECIPES.values()}


def set_names() -> dict[str, str]:
    """Return the datasets and bracket sets that are known by name, without descriptions."""
    from labelgen.share.catalog import entry_names

    return dict.fromkeys(entry_names(), "")


def completion_of(program: str) -> Command:
    """Return the command that prints the script for a shell."""

    def completion(shell: str) -> None:
        completer = get_completion_class(shell)
        assert completer
        root = click.get_current_context().find_root().command
        click.echo(completer(root, {}, program, f"_{program.upper()}_COMPLETE").source())

    return Command(
        "completion",
        callback=completion,
        params=[click.Argument(["shell"], type=click.Choice(SHELLS))],
        help=f"Print what makes a shell complete the commands and options of {program}.",
        example=f"""
            eval "$({program} completion bash)"      # in ~/.bashrc
            eval "$({program} completion zsh)"       # in ~/.zshrc, after compinit
            {program} completion fish | source       # in ~/.config/fish/config.fish
        """,
    )
