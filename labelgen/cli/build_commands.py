"""Commands that make datasets or labels, and the one that lists recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labelgen.cli.completion import names_or_files, recipe_names
from labelgen.cli.help import command
from labelgen.cli.options import (
    PathArg,
    as_numbers,
    bayer_option,
    frames_option,
    json_option,
    overwrite_option,
    part_size_option,
    recipe_option,
    reference_option,
    response_option,
)
from labelgen.cli.show import show
from labelgen.cli.tables import Table
from labelgen.cli.terminal import Bar
from labelgen.cli.text import echo, echo_json, echo_lines
from labelgen.cli.views import show_brackets, show_label, show_labels, show_summary
from labelgen.core.errors import UserError


@command(
    example="""
        labelgen scan photos/
        labelgen scan photos/ --check                # do the pixels bear out the exposures?
        labelgen scan photos/ -o groups.json         # to edit, and give to build --groups
    """
)
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
    from labelgen.core.files import check_parent, write_json
    from labelgen.discovery import groups_file, scan
    from labelgen.pipeline.check_brackets import check_brackets

    with Bar() as bar:
        brackets, findings = scan.scan(raw, progress=bar), list[dict[str, Any]]()
        if check:
            brackets, findings = check_brackets(brackets, bayer, progress=bar)
    listed = groups_file.brackets_as_json(brackets, raw)
    for entry, finding in zip(listed, findings, strict=False):
        entry |= {k: v for k, v in finding.items() if k != "measured_ev"}
        for frame, ev in zip(entry["frames"], finding["measured_ev"], strict=True):
            frame["measured_ev"] = ev
    if output:
        if output.exists() and not overwrite:
            raise UserError(f"{output}: exists; give --overwrite to replace it, or another name")
        check_parent(output)
        write_json(output, listed)
    if as_json:
        echo_json(listed)
    else:
        show_brackets(brackets, findings, frames)


@command(
    example="""
        labelgen build photos/ out.h5
        labelgen build photos/ out.h5 --resume       # after an interruption
        labelgen build photos/ out.h5 --recipe mine.toml --jobs 4 --strict
        labelgen build scenes/ truth.h5 --labels truth
    """,
    groups={
        "Brackets": ("--groups", "--exclude", "--limit", "--frames", "--reference"),
        "Photos": ("--response", "--bayer"),
        "Labels": ("--recipe", "--labels", "--augment", "--seed"),
        "File": ("--compress", "--part-size", "--license", "--citation"),
        "Work": ("--jobs", "--memory", "--backend", "--scheduler"),
    },
)
@click.argument("raw", type=PathArg)
@click.argument("out", type=PathArg)
@recipe_option
@frames_option
@reference_option
@click.option("--jobs", type=int, metavar="N", help="Workers.  [default: all cores]")
@click.option(
    "--backend",
    type=click.Choice(["loky", "threading", "dask", "ray"]),
    default="loky",
    show_default=True,
    help="Processes, threads, or a cluster.",
)
@click.option("--scheduler", default="", metavar="ADDR", help="Of a running Dask or Ray cluster.")
@click.option("--memory", type=float, metavar="GB", help="That all workers here may take.")
@click.option("--groups", type=PathArg, help="Brackets as listed by 'scan -o'.")
@response_option
@bayer_option
@click.option(
    "--labels",
    type=click.Choice(["pseudo", "truth"]),
    default="pseudo",
    show_default=True,
    help="By the recipe, or from the truth beside the frames.",
)
@click.option("--augment", is_flag=True, help="With --labels truth: augment by the recipe.")
@click.option("--exclude", type=PathArg, metavar="LIST", help="File of names or patterns.")
@click.option("--limit", type=int, metavar="N", help="Take the first N brackets.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Of all random draws.")
@click.option(
    "--compress",
    type=click.Choice(["none", "gzip", "bitshuffle"]),
    default="none",
    show_default=True,
    help="Filter of the images; bitshuffle needs labelgen[codecs].",
)
@part_size_option
@click.option("--license", "license_", default="", help="Licence to store in the dataset.")
@click.option("--citation", default="", help="Citation to store in the dataset.")
@click.option("--resume", is_flag=True, help="Go on with a build that was interrupted.")
@overwrite_option
@click.option(
    "--strict",
    is_flag=True,
    help="Exit 1 if any bracket is rejected, as is one without any exposure.",
)
@json_option
def build(
    raw: Path,
    out: Path,
    license_: str,
    strict: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Make a dataset from a folder of brackets: the main job."""
    from labelgen.pipeline.build import build as build_dataset

    with Bar() as bar:
        summary = build_dataset(
            raw,
            out,
            license=license_,
            progress=bar,
            estimate=not strict,
            **options,
        )
    if as_json:
        echo_json(_as_json(summary))
    else:
        show_summary(summary)
    if summary.bugs:
        count = f"{len(summary.bugs)} bracket{'s were' if len(summary.bugs) > 1 else ' was'}"
        where = summary.path.with_name(summary.bug_log)
        echo(
            f"labelgen: {count} rejected by a bug of labelgen, not for the photos; "
            f"please report {where}",
            err=True,
        )
    if strict and summary.rejected:
        click.get_current_context().exit(1)


def _as_json(summary: Any) -> dict[str, Any]:
    table = {"samples": summary.samples, "branches": summary.branches, "used": summary.used}
    table |= {"rejected": summary.rejected, "fingerprint": summary.fingerprint}
    return table | {"bugs": summary.bugs} if summary.bugs else table


@command(
    example="""
        labelgen label photos/one/ -o look/
        labelgen label photos/one/ -o look/ --recipe sshdr --ev 0,2,4
        labelgen label photos/ -o labels/            # all brackets below it, labels/NAME each
    """
)
@click.argument("bracket", type=PathArg)
@click.option(
    "-o",
    "--output",
    "out",
    type=PathArg,
    required=True,
    metavar="DIR",
    help="Folder of the pictures.",
)
@recipe_option
@frames_option
@reference_option
@click.option("--ev", callback=as_numbers, metavar="A,B,..", help="Stops of the files, by name.")
@response_option
@bayer_option
@click.option("--jobs", type=int, metavar="N", help="Workers for several.  [default: all cores]")
@overwrite_option
@json_option
def label(
    bracket: Path,
    out: Path,
    ev: list[float] | None,
    jobs: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Label one bracket, full frame, into pictures to look at; or all brackets below a folder."""
    from labelgen.pipeline.label_bracket import label as label_bracket
    from labelgen.pipeline.label_brackets import holds_folders_alone, label_all

    if ev is None and holds_folders_alone(bracket):
        with Bar() as bar:
            result = label_all(bracket, out, jobs=jobs, progress=bar, **options)
        if as_json:
            echo_json(result)
        else:
            show_labels(out, result)
        return
    record = label_bracket(bracket, out, ev=ev, **options)
    if as_json:
        echo_json(record)
    else:
        show_label(out, record)


@command(
    example="""
        labelgen recipes
        labelgen recipes default > mine.toml
    """
)
@click.argument("name", required=False, shell_complete=names_or_files(recipe_names))
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the recipes, or print one as TOML (to edit and give to --recipe)."""
    from labelgen.core.recipe import RECIPES, load_recipe

    if name:
        recipe = load_recipe(name)
        if as_json:
            echo_json(recipe.as_dict())
        else:
            echo_lines(recipe.as_toml())
        return
    summaries = {r.name: r.summary for r in RECIPES.values()}
    if as_json:
        echo_json(summaries)
        return
    show(Table(("Recipe", ""), list(summaries.items()), line="{:10s} {}".format))


@command(
    example="""
        labelgen demo
        labelgen demo elsewhere/
    """
)
@click.argument("folder", type=PathArg, default=Path("demo"), metavar="[DIR]")
@overwrite_option
@json_option
def demo(folder: Path, overwrite: bool, as_json: bool) -> None:
    """Simulate a few brackets and build a dataset from them: no data, no torch needed."""
    from labelgen.pipeline.demo import demo as run_demo

    with Bar() as bar:
        summary = run_demo(folder, overwrite=overwrite, progress=bar)
    if as_json:
        echo_json({"raw": str(folder / "raw"), "dataset": str(summary.path)} | _as_json(summary))
        return
    first = f"{folder / 'raw'}: {summary.used} brackets in which things and camera move"
    show_summary(summary, first)
    echo_lines(
        "\nTrain on it next (torch is 200 MB for the CPU, 3 GB with CUDA; without the index\n"
        "below pip takes the latter on Linux):\n"
        "    pip install torch --index-url https://download.pytorch.org/whl/cpu\n"
        f"    trainer fit {folder / 'out.h5'} --run {folder / 'run'}"
    )
