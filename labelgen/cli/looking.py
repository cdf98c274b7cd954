"""Commands that look into a dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from labelgen.cli.options import (
    PathArg,
    bayer_option,
    json_option,
    overwrite_option,
    response_option,
)
from labelgen.cli.terminal import Bar, echo, echo_lines


@click.command()
@click.argument("dataset", type=PathArg)
@json_option
def info(dataset: Path, as_json: bool) -> None:
    """What is inside a dataset."""
    from labelgen.format import info as inside
    from labelgen.plot import response_lines

    table = inside(dataset)
    if as_json:
        echo_lines(json.dumps(table, indent=1))
        return
    for camera, entry in table.pop("responses").items():
        for line in (f"response of {camera}:", *response_lines(entry)):
            echo(line)
    for key, value in table.items():
        if isinstance(value, dict):
            echo(f"{key}:")
            for name, entry in value.items():
                echo(f"    {name}: {entry}")
        else:
            echo(f"{key}: {value}")


@click.command()
@click.argument("dataset", type=PathArg)
@click.option("--repair", type=PathArg, metavar="RAW", help="Make damaged parts anew from RAW.")
@click.option("--groups", type=PathArg, help="With --repair: as given to build.")
@response_option
@bayer_option
@click.option("--jobs", type=int, metavar="N", help="With --repair: workers.")
def verify(dataset: Path, repair: Path | None, **options: Any) -> None:
    """Check every byte of a dataset; perhaps make anew what is damaged."""
    from labelgen.format import info as inside
    from labelgen.verify import verify as check

    if repair:
        from labelgen.repair import repair as make_anew  # all of a build

        bar = Bar()
        for name in make_anew(dataset, repair, progress=bar, **options):
            echo(f"{name}: made anew, as it was")
        bar.close()
    wrong = check(dataset)
    for line in wrong:
        echo(line)
    if wrong:
        echo(f"{dataset}: {len(wrong)} things are wrong; copy or build it again", err=True)
        click.get_current_context().exit(1)
    table = inside(dataset)
    echo(f"{dataset}: sound, {table['samples']} samples, fingerprint {table['fingerprint']}")


@click.command()
@click.argument("dataset", type=PathArg)
@click.option("-o", "--output", "out", type=PathArg, required=True, metavar="PAGE")
@overwrite_option
def report(dataset: Path, out: Path, overwrite: bool) -> None:
    """One page to look at a dataset: labels, trust, figures, rejects and why."""
    from labelgen.report import report as make_page

    bar = Bar()
    made = make_page(dataset, out, overwrite=overwrite, progress=bar)
    bar.close()
    chosen = "" if made.shown == made.used else ", an even choice"
    size = f"{made.bytes / 1e6:.1f} MB"
    echo(f"{out}: {made.shown} of {made.used} brackets{chosen}, {size}; open it in a browser")
