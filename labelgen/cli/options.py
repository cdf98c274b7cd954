"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from labelgen.cli.completion import names_or_files, recipe_names

PathArg = click.Path(path_type=Path)


class Amount(click.FloatRange):
    """A number above 0. click's range lets NaN through, so it is refused here."""

    def __init__(self) -> None:
        super().__init__(0, 1e6, min_open=True)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if number != number:
            self.fail(f"{value} is no number above 0", param, ctx)
        return number


def as_bytes(_: click.Context, option: click.Parameter, value: float | None) -> int | None:
    """Convert an `Amount` to bytes, by the unit in the help of its option."""
    return None if value is None else int(value * {"MIB": 2**20, "GIB": 2**30}[str(option.metavar)])


def as_reference(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """Parse the value of --reference: an index or "auto"."""
    if value is None or value == "auto":
        return value
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"'{value}' is neither an index nor auto") from None


def as_numbers(_: click.Context, __: click.Parameter, value: str | None) -> list[float] | None:
    """Parse the value of --ev: numbers separated by commas."""
    if value is None:
        return None
    try:
        return [float(v) for v in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{value}' is not a list of stops such as 0,2,4") from None


def as_range(_: click.Context, option: click.Parameter, value: str) -> tuple[float, float]:
    """Parse a number or LOW,HIGH; a number is a range of itself."""
    try:
        low, *high = (float(v) for v in value.split(","))
    except ValueError:
        raise click.BadParameter(f"'{value}' is neither a number nor LOW,HIGH") from None
    if len(high) > 1:
        raise click.BadParameter(f"'{value}' has more than LOW,HIGH")
    return low, high[0] if high else low


RESPONSES = dict.fromkeys(("auto", "gamma2.2", "srgb", "linear"), "")

recipe_option = click.option(
    "--recipe",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=names_or_files(recipe_names),
    help="How labels are made: one of 'labelgen recipes', or a TOML file.",
)
frames_option = click.option(
    "--frames", default=3, show_default=True, metavar="N", help="Frames of a bracket to use."
)
reference_option = click.option(
    "--reference",
    callback=as_reference,
    metavar="I|auto",
    help="Index of the reference among the frames used, shortest first.  [default: N // 2]",
)
response_option = click.option(
    "--response",
    default="auto",
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=names_or_files(lambda: RESPONSES),
    help="gamma2.2, srgb, linear, or those of a dataset or .json file.",
)
bayer_option = click.option(
    "--bayer",
    type=click.Choice(["RGGB", "BGGR", "GRBG", "GBRG"]),
    callback=lambda _, __, value: value or "",
    help="Demosaic images with a single channel.",
)
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what is there.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
part_size_option = click.option(
    "--part-size",
    "part_bytes",
    type=Amount(),
    callback=as_bytes,
    default=8.0,
    show_default=True,
    metavar="GIB",
    help="Split above it.",
)
