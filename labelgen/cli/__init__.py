"""The `labelgen` program: each command is a thin wrapper around a function of the same name.

Commands import heavy modules themselves, so `labelgen --help` appears at once.
"""

from __future__ import annotations

import click

import labelgen
from labelgen.cli.build_commands import build, demo, label, recipes, scan
from labelgen.cli.completion import completion_of
from labelgen.cli.dataset_commands import info, report, verify
from labelgen.cli.sharing_commands import card, export, get, merge, pack, sample, split
from labelgen.cli.terminal import Commands
from labelgen.cli.truth_commands import score, simulate

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(labelgen.__version__, prog_name="labelgen")
def main() -> None:
    """HDR training sets from your own exposure brackets, without ground truth."""


BUILD_COMMANDS = scan, build, label, demo, recipes
TRUTH_COMMANDS = simulate, score
DATASET_COMMANDS = info, verify, report
SHARING_COMMANDS = card, pack, merge, split, sample, get, export
for command in (*BUILD_COMMANDS, *TRUTH_COMMANDS, *DATASET_COMMANDS, *SHARING_COMMANDS):
    main.add_command(command)
main.add_command(completion_of("labelgen"))
