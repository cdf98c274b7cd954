"""Commands to publish, fetch, convert and combine datasets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from labelgen.cli.completion import names_or_files, set_names
from labelgen.cli.help import command
from labelgen.cli.options import (
    Amount,
    PathArg,
    as_bytes,
    json_option,
    overwrite_option,
    part_size_option,
)
from labelgen.cli.terminal import Bar
from labelgen.cli.text import echo, echo_json


@command(
    example="""
        labelgen card out.h5 --license CC-BY-4.0 --origin "taken by the authors" --people none
    """,
    groups={
        "Of its maker": ("--license", "--origin", "--people", "--consent", "--creator"),
        "Of the dataset": ("--title", "--citation", "--url", "--version", "--date"),
    },
)
@click.argument("dataset", type=PathArg)
@click.option("--license", default="", help="Under which others may use it: CC-BY-4.0, ...")
@click.option("--origin", default="", help="Where the photos are from, and their terms.")
@click.option(
    "--people",
    type=click.Choice(["none", "unrecognisable", "identifiable"]),
    callback=lambda _, __, value: value or "",
    help="Whether people are in it.",
)
@click.option("--consent", default="", help="Who consented to what.")
@click.option("--title", default="", help="What it is called.  [default: what it holds]")
@click.option("--creator", default="", help="Who made it.")
@click.option("--citation", default="", help="What to cite.")
@click.option("--url", default="", help="Where it is offered.")
@click.option("--version", default="", help="Of the dataset.")
@click.option("--date", default="", metavar="YYYY-MM-DD", help="Since when.")
@overwrite_option
@json_option
def card(dataset: Path, overwrite: bool, as_json: bool, **answers: str) -> None:
    """Write what goes with a dataset: README.md, croissant.json, recipe.toml, SHA256SUMS."""
    from labelgen.dataset.header import read_dataset_header
    from labelgen.share.card import card as write_card
    from labelgen.share.card import check_card
    from labelgen.share.card_metadata import CardMetadata

    known = read_dataset_header(dataset)
    check_card(dataset, overwrite)
    for name, question in (("license", "Licence"), ("origin", "Origin of the photos, their terms")):
        if not (answers[name] or getattr(known, name, "")) and sys.stdin.isatty():
            answers[name] = click.prompt(question, default="", show_default=False, err=True)
    metadata = CardMetadata(**answers)
    written = write_card(dataset, metadata, overwrite=overwrite)
    missing = metadata.completed(known).missing
    if as_json:
        echo_json({"files": [str(path) for path in written], "missing": missing})
    else:
        for path in written:
            echo(str(path))
    if missing:
        options = " and ".join(f"--{name}" for name in missing)
        echo(f"{dataset}: not ready to be shared: give {options}", err=True)


@command(
    example="""
        labelgen pack out.h5 one.h5                  # parts as one file
        labelgen pack one.h5 out.h5 --part-size 4    # one file in parts of 4 GiB
    """,
)
@click.argument("dataset", type=PathArg)
@click.argument("out", type=PathArg)
@click.option(
    "--part-size",
    "part_bytes",
    type=Amount(),
    callback=as_bytes,
    metavar="GIB",
    help="Split above it.  [default: one file]",
)
@overwrite_option
@json_option
def pack(dataset: Path, out: Path, part_bytes: int | None, overwrite: bool, as_json: bool) -> None:
    """Write a dataset in parts as one file, or one file in parts."""
    from labelgen.share.pack import pack as write_packed

    with Bar() as bar:
        write_packed(dataset, out, part_bytes=part_bytes, overwrite=overwrite, progress=bar)
    _show_datasets(as_json, {"": out})


@command(
    example="""
        labelgen merge indoors.h5 outdoors.h5 both.h5
    """,
)
@click.argument("datasets", type=PathArg, nargs=-1, required=True, metavar="DATASET...")
@click.argument("out", type=PathArg)
@part_size_option
@overwrite_option
@json_option
def merge(
    datasets: tuple[Path, ...], out: Path, part_bytes: int, overwrite: bool, as_json: bool
) -> None:
    """Write several datasets as one."""
    from labelgen.share.merge import merge as write_merged

    with Bar() as bar:
        write_merged(datasets, out, part_bytes=part_bytes, overwrite=overwrite, progress=bar)
    _show_datasets(as_json, {"": out})


@command(
    example="""
        labelgen split out.h5 train.h5 val.h5 --share 0.1
        labelgen split out.h5 train.h5 val.h5 --same '^[^_]+'
    """,
)
@click.argument("dataset", type=PathArg)
@click.argument("training", type=PathArg)
@click.argument("validation", type=PathArg)
@click.option("--share", default=0.1, show_default=True, help="Of the samples, for validation.")
@click.option("--seed", default=0, show_default=True, metavar="N", help="Which scenes are drawn.")
@click.option("--same", default="", metavar="REGEX", help="What names of one scene share.")
@part_size_option
@overwrite_option
@json_option
def split(
    dataset: Path,
    training: Path,
    validation: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Split a dataset for training and validation; no scene is on both sides."""
    from labelgen.share.split import split as write_split

    with Bar() as bar:
        sides = write_split(dataset, training, validation, progress=bar, **options)
    _show_datasets(as_json, {"training": training, "validation": validation}, sides)


@command(
    example="""
        labelgen sample out.h5 look.h5 --megabytes 1
    """,
)
@click.argument("dataset", type=PathArg)
@click.argument("out", type=PathArg)
@click.option(
    "--megabytes", type=Amount(), default=1.0, show_default=True, metavar="MB", help="At most."
)
@overwrite_option
@json_option
def sample(dataset: Path, out: Path, megabytes: float, overwrite: bool, as_json: bool) -> None:
    """Write a small piece of a dataset that shows what is in all of it."""
    from labelgen.share.sample import sample as write_sample

    write_sample(dataset, out, megabytes=megabytes, overwrite=overwrite)
    _show_datasets(as_json, {"": out})


@command(
    example="""
        labelgen get https://host/folder/ -o theirs
        labelgen get simulated
    """,
)
@click.argument("source", metavar="URL|FOLDER|NAME", shell_complete=names_or_files(set_names))
@click.option(
    "-o", "--output", "out", type=PathArg, metavar="DIR", help="Folder.  [default: its name]"
)
@click.option("--sha256", "sums_sha256", default="", help="That its SHA256SUMS has to have.")
@click.option("--dry-run", is_flag=True, help="Only say what would be fetched.")
@overwrite_option
@json_option
def get(
    source: str,
    out: Path | None,
    sums_sha256: str,
    dry_run: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Fetch a published dataset; every byte is checked, and what was interrupted goes on."""
    from labelgen.share.get import get as fetch
    from labelgen.share.remote import file_address
    from labelgen.share.remote_manifest import default_folder, read_remote_manifest

    offer = read_remote_manifest(source, sums_sha256)
    folder = out if out is not None else default_folder(offer)
    echo(f"{offer.location}: {len(offer.files)} files, {offer.total_bytes / 1e6:.1f} MB", err=True)
    for file in offer.files:
        echo(f"    {file.name}  {file.bytes:,} bytes", err=True)
    echo(f"    licence: {offer.license[:200] or 'not stated'}; to {folder}/", err=True)
    if not dry_run:
        with Bar() as bar:
            dataset = fetch(offer, folder, overwrite=overwrite, progress=bar)
        if not as_json:
            sums = file_address(offer.location, "SHA256SUMS")
            echo(f"{dataset}: fetched, every file as {sums} says")
    if as_json:
        sizes = {file.name: file.bytes for file in offer.files}
        table = {"from": offer.location, "to": str(folder), "files": sizes}
        table |= {"license": offer.license}
        echo_json(table | ({} if dry_run else {"dataset": str(dataset)}))


@command(
    example="""
        labelgen export out.h5 tars --layout webdataset
        labelgen export out.h5 crops --layout sig17
    """,
)
@click.argument("dataset", type=PathArg)
@click.argument("out", type=PathArg)
@click.option(
    "--layout",
    type=click.Choice(["webdataset", "sig17"]),
    default="webdataset",
    show_default=True,
    help="Tar files, or a folder a sample.",
)
@click.option(
    "--shard-size",
    "shard_bytes",
    type=Amount(),
    callback=as_bytes,
    default=256.0,
    show_default=True,
    metavar="MIB",
    help="Of the tar files.",
)
@overwrite_option
@json_option
def export(
    dataset: Path, out: Path, layout: str, shard_bytes: int, overwrite: bool, as_json: bool
) -> None:
    """Write a dataset as tar files (webdataset), or as folders of crops (sig17)."""
    from labelgen.share.layouts import export as write_layout

    with Bar() as bar:
        count = write_layout(
            dataset, out, layout, shard_bytes=shard_bytes, overwrite=overwrite, progress=bar
        )
    if as_json:
        echo_json({"folder": str(out), "samples": count, "layout": layout})
    else:
        echo(f"{out}: {count} samples as {layout}")


def _show_datasets(
    as_json: bool, paths: dict[str, Path], scenes: dict[str, list[list[str]]] | None = None
) -> None:
    """Show the datasets that a command wrote.

    Parameters
    ----------
    as_json : bool
        Whether to print JSON.
    paths : dict of str to Path
        Datasets by purpose; a single dataset has the purpose "".
    scenes : dict of str to list of list of str, optional
        Names of the brackets of each scene, by purpose.
    """
    from labelgen.dataset.info import info

    tables = {purpose: info(path) for purpose, path in paths.items()}
    if as_json:
        names = "samples", "bytes", "parts", "fingerprint"
        listed = {
            purpose: {"path": str(paths[purpose])}
            | {name: table[name] for name in names}
            | ({"scenes": scenes[purpose]} if scenes else {})
            for purpose, table in tables.items()
        }
        echo_json(listed.get("", listed))
        return
    for purpose, table in tables.items():
        parts = f" in {table['parts']} parts" if table["parts"] else ""
        size = f"{table['samples']} samples, {table['bytes'] / 1e6:.1f} MB{parts}"
        split = ""
        if scenes:
            brackets = _plural(sum(map(len, scenes[purpose])), "bracket")
            split = f", {brackets} of {_plural(len(scenes[purpose]), 'scene')}"
        echo(f"{paths[purpose]}: {size}{split}")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
