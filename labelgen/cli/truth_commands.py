"""Commands around known truth: brackets that have it, and scores of labels beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labelgen.cli.help import command
from labelgen.cli.options import PathArg, as_numbers, as_range, json_option, overwrite_option
from labelgen.cli.terminal import Bar
from labelgen.cli.text import echo, echo_json
from labelgen.cli.views import show_scores


@command(
    example="""
        labelgen simulate - raw/                     # invented scenes
        labelgen simulate panoramas/ raw/ --scenes 20 --ev 0,3,6 --shake 0
        labelgen simulate - raw/ --camera phone --format jpg --full-well 300,1200
    """,
    groups={
        "Brackets": ("--scenes", "--size", "--ev", "--truth", "--format", "--seed"),
        "Scene": ("--shake", "--pieces"),
        "Camera": ("--camera", "--camera-seed", "--full-well"),
    },
)
@click.argument("sources", type=PathArg)
@click.argument("out", type=PathArg)
@click.option("--scenes", default=8, show_default=True, metavar="N", help="How many brackets.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of all random draws.")
@click.option(
    "--size",
    type=(int, int),
    default=(416, 608),
    show_default=True,
    metavar="H W",
    help="Of the frames, pixels.",
)
@click.option(
    "--ev",
    callback=as_numbers,
    default="0,2,4",
    show_default=True,
    metavar="A,B,..",
    help="Exposures, stops.",
)
@click.option("--shake", default=1.5, show_default=True, help="px; 0 is a tripod")
@click.option("--pieces", default=3, show_default=True, help="things that move")
@click.option(
    "--camera",
    type=click.Choice(["ideal", "body", "converter", "phone"]),
    default="ideal",
    show_default=True,
    help="noise, clipping and gamma 2.2 alone, or as devices render",
)
@click.option(
    "--camera-seed",
    default=0,
    show_default=True,
    metavar="N",
    help="another device of the same kind",
)
@click.option(
    "--full-well",
    callback=as_range,
    default="20000",
    show_default=True,
    metavar="N|LOW,HIGH",
    help="electrons at clipping, or a range for scenes",
)
@click.option(
    "--format",
    "suffix",
    type=click.Choice(["tif", "png", "jpg"]),
    default="tif",
    show_default=True,
    help="of 16, 8 and 8 bits",
)
@click.option(
    "--truth/--no-truth", default=True, show_default=True, help="HDRImg.hdr, what moves, noise"
)
@overwrite_option
@json_option
def simulate(sources: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Make brackets with known truth from .hdr images below SOURCES; with - they are invented."""
    from labelgen.simulate import simulate as make_brackets

    with Bar() as bar:
        images = None if str(sources) == "-" else sources
        brackets = make_brackets(images, out, progress=bar, **options)
    if as_json:
        echo_json({"folder": str(out), "brackets": [path.name for path in brackets]})
    else:
        echo(f"{out}: {len(brackets)} brackets")


@command(
    example="""
        labelgen score labels/ scenes/
        labelgen score labels/ scenes/ --fit         # scenes of --camera body, converter, phone
    """
)
@click.argument("labels", type=PathArg)
@click.argument("scenes", type=PathArg)
@click.option("--fit", is_flag=True, help="First bring the camera's colours to the truth's.")
@json_option
def score(labels: Path, scenes: Path, fit: bool, as_json: bool) -> None:
    """Score labels against the truth of their scenes: ghosts, trust, errors by weight."""
    from labelgen.scoring.score import score as score_labels

    with Bar() as bar:
        result = score_labels(labels, scenes, fit=fit, progress=bar)
    if as_json:
        echo_json(result)
    else:
        show_scores(result)
    if result["skipped"]:
        echo(f"labelgen: {len(result['skipped'])} labels could not be scored", err=True)
        click.get_current_context().exit(1)
