"""Commands that read a dataset: info, verify, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labelgen.cli.help import command
from labelgen.cli.options import (
    PathArg,
    bayer_option,
    json_option,
    overwrite_option,
    response_option,
)
from labelgen.cli.show import show
from labelgen.cli.tables import Line
from labelgen.cli.terminal import Bar
from labelgen.cli.text import echo, echo_json
from labelgen.cli.views import show_info


@command(
    example="""
        labelgen info out.h5
        labelgen info out.h5 --json
    """
)
@click.argument("dataset", type=PathArg)
@json_option
def info(dataset: Path, as_json: bool) -> None:
    """What is inside a dataset."""
    from labelgen.cli.response_plot import response_lines
    from labelgen.dataset.info import info as inside

    table = inside(dataset)
    if as_json:
        echo_json(table)
        return
    responses = table.pop("responses")
    show_info(dataset, table, {c: response_lines(entry) for c, entry in responses.items()})


@command(
    example="""
        labelgen verify out.h5
        labelgen verify out.h5 --repair photos/
    """,
    groups={"Repair": ("--repair", "--groups", "--response", "--bayer", "--jobs")},
)
@click.argument("dataset", type=PathArg)
@click.option("--repair", type=PathArg, metavar="RAW", help="Make damaged parts anew from RAW.")
@click.option("--groups", type=PathArg, help="With --repair: as given to build.")
@response_option
@bayer_option
@click.option("--jobs", type=int, metavar="N", help="With --repair: workers.")
@json_option
def verify(dataset: Path, repair: Path | None, as_json: bool, **options: Any) -> None:
    """Check every byte of a dataset; perhaps make anew what is damaged."""
    from labelgen.dataset.info import info as inside
    from labelgen.dataset.verify import verify as check

    repaired: list[str] = []
    with Bar() as bar:
        if repair:
            from labelgen.pipeline.repair import repair as make_anew

            repaired = make_anew(dataset, repair, progress=bar, **options)
        damages = check(dataset, progress=bar)
    table = {} if damages else inside(dataset)
    if as_json:
        result = {"wrong": damages, "samples": table.get("samples")}
        result |= {"fingerprint": table.get("fingerprint")}
        echo_json(result | ({"repaired": repaired} if repair else {}))
    for name in [] if as_json else repaired:
        echo(f"{name}: made anew, as it was")
    for damage in [] if as_json else damages:
        show(Line(damage, "red"))
    if damages:
        echo(f"{dataset}: {len(damages)} things are wrong; copy or build it again", err=True)
        click.get_current_context().exit(1)
    if not as_json:
        sound = f"sound, {table['samples']} samples, fingerprint {table['fingerprint']}"
        show(Line(f"{dataset}: {sound}", "green"))


@command(example="labelgen report out.h5 -o report.html")
@click.argument("dataset", type=PathArg)
@click.option(
    "-o", "--output", "out", type=PathArg, required=True, metavar="PAGE", help="The HTML file."
)
@overwrite_option
@json_option
def report(dataset: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """One page to look at a dataset: labels, trust, figures, rejects and why."""
    from labelgen.report import report as make_page

    with Bar() as bar:
        page = make_page(dataset, out, overwrite=overwrite, progress=bar)
    if as_json:
        echo_json({"page": str(out), "shown": page.shown, "used": page.used, "bytes": page.bytes})
        return
    choice = "" if page.shown == page.used else ", an even choice"
    size = f"{page.bytes / 1e6:.1f} MB"
    echo(f"{out}: {page.shown} of {page.used} brackets{choice}, {size}; open it in a browser")
