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
    from labelgen.dataset.info import info as dataset_info

    table = dataset_info(dataset)
    if as_json:
        echo_json(table)
        return
    responses = table.pop("responses")
    plots = {camera: response_lines(response) for camera, response in responses.items()}
    show_info(dataset, table, plots)


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
    from labelgen.dataset.info import info as dataset_info
    from labelgen.dataset.verify import verify as verify_dataset

    repaired: list[str] = []
    with Bar() as bar:
        if repair:
            from labelgen.pipeline.repair import repair as repair_dataset

            repaired = repair_dataset(dataset, repair, progress=bar, **options)
        problems = verify_dataset(dataset, progress=bar)
    table = {} if problems else dataset_info(dataset)
    if as_json:
        result = {"wrong": problems, "samples": table.get("samples")}
        result |= {"fingerprint": table.get("fingerprint")}
        echo_json(result | ({"repaired": repaired} if repair else {}))
    else:
        for name in repaired:
            echo(f"{name}: made anew, as it was")
        for problem in problems:
            show(Line(problem, "red"))
        if not problems:
            facts = f"sound, {table['samples']} samples, fingerprint {table['fingerprint']}"
            show(Line(f"{dataset}: {facts}", "green"))
    if problems:
        echo(f"{dataset}: {len(problems)} things are wrong; copy or build it again", err=True)
        click.get_current_context().exit(1)


@command(example="labelgen report out.h5 -o report.html")
@click.argument("dataset", type=PathArg)
@click.option(
    "-o", "--output", "out", type=PathArg, required=True, metavar="PAGE", help="The HTML file."
)
@overwrite_option
@json_option
def report(dataset: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """One page to look at a dataset: labels, trust, figures, rejects and why."""
    from labelgen.report import report as write_report

    with Bar() as bar:
        page = write_report(dataset, out, overwrite=overwrite, progress=bar)
    if as_json:
        echo_json({"page": str(out), "shown": page.shown, "used": page.used, "bytes": page.bytes})
        return
    selection = "" if page.shown == page.used else ", an even choice"
    size = f"{page.bytes / 1e6:.1f} MB"
    echo(f"{out}: {page.shown} of {page.used} brackets{selection}, {size}; open it in a browser")
