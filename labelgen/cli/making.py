"""Commands that make something from brackets, or brackets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from labelgen.cli.options import (
    PathArg,
    as_numbers,
    bayer_option,
    frames_option,
    json_option,
    overwrite_option,
    recipe_option,
    reference_option,
    response_option,
)
from labelgen.cli.terminal import Bar, echo, echo_lines
from labelgen.errors import UserError


@click.command()
@click.argument("raw", type=PathArg)
@click.option("-o", "--output", type=PathArg, help="Write the brackets to this JSON file.")
@click.option("--check", is_flag=True, help="Also look at the pixels.")
@bayer_option
@frames_option
@overwrite_option
@json_option
def scan(
    raw: Path,
    output: Path | None,
    check: bool,
    bayer: str,
    frames: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Find the brackets below a folder: frames, exposures and where they came from."""
    from labelgen import discover
    from labelgen.files import write_json
    from labelgen.measure import checked

    brackets, findings = discover.scan(raw), list[dict[str, Any]]()
    if check:
        brackets, findings = checked(brackets, bayer)
    listed = discover.as_json(brackets, raw)
    for entry, finding in zip(listed, findings, strict=False):
        entry |= {k: v for k, v in finding.items() if k != "measured_ev"}
        for frame, ev in zip(entry["frames"], finding["measured_ev"], strict=True):
            frame["measured_ev"] = ev
    if output:
        if output.exists() and not overwrite:
            raise UserError(f"{output}: exists; give --overwrite to replace it, or another name")
        if not output.parent.is_dir():
            raise UserError(f"{output.parent}: no such folder; make it first")
        write_json(output, listed)
    if as_json:
        echo_lines(json.dumps(listed, indent=1))
        return
    measured = {b.name: _measured(f) for b, f in zip(brackets, findings, strict=False)}
    for b in brackets:
        if len(b.frames) < 2:
            echo(f"{b.name}: ! {'; '.join(b.problems)}")
            continue
        size = f"{b.size[1]}x{b.size[0]}" if b.size else "-"
        evs = " ".join(f"{ev:+.2f}" for ev in b.evs) or "unknown"
        origins = ", ".join(dict.fromkeys(f.origin for f in b.frames if f.origin))
        camera = f", {b.camera}" if b.camera else ""
        echo(f"{b.name}: {len(b.frames)} x {size}{camera}")
        echo(f"    EV {evs} ({origins or '-'})")
        for line in measured.get(b.name, ()):
            echo(f"    {line}")
        for problem in b.problems:
            echo(f"    ! {problem}")
    usable = sum(len(b.evs) >= frames for b in brackets)
    whole = sum(len(b.frames) > 1 for b in brackets)
    left = f", {len(brackets) - whole} single or unusable" if whole < len(brackets) else ""
    echo(f"{whole} brackets, {usable} with exposures for {frames} frames or more{left}")


def _measured(finding: dict[str, Any]) -> list[str]:
    """What the pixels said of a bracket, for people."""
    if not finding["response"]:
        return []
    known = [ev for ev in finding["measured_ev"] if ev is not None]
    evs = " ".join("?" if ev is None else f"{ev - known[0]:+.2f}" for ev in finding["measured_ev"])
    fit = "" if finding["misfit"] is None else f", codes off it by {finding['misfit']:.1f} of 255"
    return [f"EV {evs} (pixels; response {finding['response']}{fit})"]


@click.command()
@click.argument("raw", type=PathArg)
@click.argument("out", type=PathArg)
@recipe_option
@frames_option
@reference_option
@click.option("--jobs", type=int, metavar="N", help="Workers.  [default: all cores]")
@click.option("--backend", type=click.Choice(["loky", "threading", "dask", "ray"]), default="loky")
@click.option("--scheduler", default="", metavar="ADDR", help="Of a running Dask or Ray cluster.")
@click.option("--memory", type=float, metavar="GB", help="That all workers here may take.")
@click.option("--groups", type=PathArg, help="Brackets as listed by 'scan -o'.")
@response_option
@bayer_option
@click.option(
    "--labels", type=click.Choice(["pseudo", "truth"]), default="pseudo", show_default=True
)
@click.option("--augment", is_flag=True, help="With --labels truth: augment by the recipe.")
@click.option("--exclude", type=PathArg, metavar="LIST", help="File of names or patterns.")
@click.option("--limit", type=int, metavar="N", help="Take the first N brackets.")
@click.option("--seed", default=0, show_default=True, metavar="N")
@click.option(
    "--compress",
    type=click.Choice(["none", "gzip", "bitshuffle"]),
    default="none",
    show_default=True,
)
@click.option(
    "--part-size",
    type=click.FloatRange(0, 1e6, min_open=True),
    default=8.0,
    show_default=True,
    metavar="GIB",
    help="Split above it.",
)
@click.option("--license", "license_", default="", help="Licence to store in the dataset.")
@click.option("--citation", default="", help="Citation to store in the dataset.")
@click.option("--resume", is_flag=True, help="Go on with a build that was interrupted.")
@overwrite_option
@click.option("--strict", is_flag=True, help="Exit 1 if any bracket is rejected.")
@json_option
def build(
    raw: Path,
    out: Path,
    license_: str,
    part_size: float,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a dataset from a folder of brackets: the main job."""
    from labelgen.build import build as build_dataset

    bar = Bar()
    summary = build_dataset(
        raw,
        out,
        license=license_,
        part_bytes=int(part_size * 2**30),
        progress=bar,
        **options,
    )
    bar.close()
    if as_json:
        table = {"samples": summary.samples, "branches": summary.branches, "used": summary.used}
        table |= {"rejected": summary.rejected, "fingerprint": summary.fingerprint}
        echo_lines(json.dumps(table, indent=1))
    else:
        _print_summary(summary)
    if strict and summary.rejected:
        click.get_current_context().exit(1)


def _print_summary(summary: Any) -> None:
    parts = f" in {summary.parts} parts" if summary.parts > 1 else ""
    echo(f"{summary.path}: {summary.samples} samples, {summary.bytes / 1e6:.1f} MB{parts}")
    for branch, count in summary.branches.items():
        echo(f"    {branch:13s} {count:7d}")
    echo(f"    {summary.used} brackets used, {len(summary.rejected)} rejected")
    for name, reason in summary.rejected.items():
        echo(f"    ! {name}: {reason}")
    for name, problems in summary.problems.items():
        for problem in problems:
            echo(f"    ? {name}: {problem} (used)")


@click.command()
@click.argument("bracket", type=PathArg)
@click.option("-o", "--output", "out", type=PathArg, required=True, metavar="DIR")
@recipe_option
@frames_option
@reference_option
@click.option("--ev", callback=as_numbers, metavar="A,B,..", help="Stops of the files, by name.")
@response_option
@bayer_option
@overwrite_option
@json_option
def label(bracket: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Label one bracket, full frame, into pictures to look at."""
    from labelgen.export import label as label_bracket

    record = label_bracket(bracket, out, **options)
    if as_json:
        echo_lines(json.dumps(record, indent=1))
        return
    echo(f"{out}: label.hdr, label.png, weight.png, cues.png, label.json")
    shown = "frames ev response trusted static reference moving clipped dark"
    for key in shown.split():
        echo(f"    {key:10s} {record[key]}")
    for problem in record["problems"]:
        echo(f"    ! {problem}")


@click.command()
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or print one as TOML (to edit and give to --recipe)."""
    from labelgen.recipe import RECIPES, load_recipe

    if name:
        recipe = load_recipe(name)
        text = json.dumps(recipe.as_dict(), indent=1) if as_json else recipe.as_toml()
        echo_lines(text)
    elif as_json:
        echo_lines(json.dumps({r.name: r.summary for r in RECIPES.values()}, indent=1))
    else:
        for recipe in RECIPES.values():
            echo(f"{recipe.name:10s} {recipe.summary}")


@click.command()
@click.argument("sources", type=PathArg)
@click.argument("out", type=PathArg)
@click.option("--scenes", default=8, show_default=True, metavar="N")
@click.option("--seed", default=0, show_default=True, metavar="N")
@click.option("--size", type=(int, int), default=(416, 608), show_default=True, metavar="H W")
@click.option("--ev", callback=as_numbers, default="0,2,4", show_default=True, metavar="A,B,..")
@click.option("--shake", default=1.5, show_default=True, help="px; 0 is a tripod")
@click.option("--pieces", default=3, show_default=True, help="things that move")
@click.option("--full-well", default=20_000.0, show_default=True, help="electrons at clipping")
@click.option("--truth/--no-truth", default=True, show_default=True, help="HDRImg.hdr")
@overwrite_option
def simulate(sources: Path, out: Path, **options: Any) -> None:
    """Make brackets with known truth from .hdr images below SOURCES; with - they are invented."""
    from labelgen.simulate import simulate as make_brackets

    bar = Bar()
    made = make_brackets(None if str(sources) == "-" else sources, out, progress=bar, **options)
    bar.close()
    echo(f"{out}: {len(made)} brackets")


@click.command()
@click.argument("folder", type=PathArg, default=Path("demo"), metavar="[DIR]")
@overwrite_option
def demo(folder: Path, overwrite: bool) -> None:
    """Simulate a few brackets and build a dataset from them: no data, no torch needed."""
    from labelgen.demo import demo as run_demo

    bar = Bar()
    summary = run_demo(folder, overwrite=overwrite, progress=bar)
    bar.close()
    echo(f"{folder / 'raw'}: {summary.used} brackets in which things and camera move")
    _print_summary(summary)
    echo_lines(
        "\nTrain on it next (torch is 200 MB for the CPU, 3 GB with CUDA; without the index\n"
        "below pip takes the latter on Linux):\n"
        "    pip install torch --index-url https://download.pytorch.org/whl/cpu\n"
        f"    trainer fit {folder / 'out.h5'} --run {folder / 'run'}"
    )
