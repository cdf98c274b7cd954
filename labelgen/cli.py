"""The `labelgen` command: thin wrappers over functions of the same names and defaults.

Heavy imports stand inside the commands, so that `labelgen --help` is there at once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import click

import labelgen
from labelgen.errors import UserError

PathArg = click.Path(path_type=Path)


def echo(text: str, err: bool = False) -> None:
    """Print a line; what could steer a terminal, in a name say, is shown as an escape sequence."""
    click.echo("".join(c if c.isprintable() else _escaped(c) for c in text), err=err)


def echo_lines(text: str) -> None:
    """Print a text of several lines."""
    for line in text.removesuffix("\n").split("\n"):
        echo(line)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class Commands(click.Group):
    """Commands in the order of their use; errors of users are one line, exit status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they are defined."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; what a user can mend is said without a traceback."""
        try:
            return super().invoke(ctx)
        except UserError as e:
            echo(f"labelgen: {e}", err=True)
            ctx.exit(2)
        except BrokenPipeError:  # the reader of a pipe has seen enough
            sys.stdout = None
            ctx.exit(0)
        except OSError as e:
            where = f"{e.filename}: " if e.filename else ""
            echo(f"labelgen: {where}{e.strerror or e}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            echo("labelgen: interrupted; 'build --resume' goes on with a build", err=True)
            ctx.exit(130)


class Bar:
    """Progress on a terminal: a bar with brackets/s, samples and rejects; remarks as lines."""

    def __init__(self) -> None:
        self.bar: Any = None

    def start(self, stage: str, total: int) -> None:
        """A stage begins."""
        self.close()
        self.samples = self.rejects = self.done = 0
        self.began = time.monotonic()
        self.bar = click.progressbar(
            length=total,
            label=f"{stage:8s}",
            item_show_func=lambda text: text or "",
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
        )

    def step(self, samples: int, rejected: bool) -> None:
        """One bracket is done."""
        self.samples, self.rejects = self.samples + samples, self.rejects + rejected
        self.done += 1
        rate = self.done / max(time.monotonic() - self.began, 1e-3)
        text = f"{rate:.2f} brackets/s"
        if self.samples or self.rejects:
            text += f"  {self.samples} samples  {self.rejects} rejected"
        self.bar.update(1, text)

    def remark(self, text: str) -> None:
        """A line of its own, above the bar."""
        self._clear()
        echo(text, err=True)

    def result(self, text: str) -> None:
        """A line for standard output, above the bar where both are on the terminal."""
        if sys.stdout.isatty():
            self._clear()
        echo(text)

    def _clear(self) -> None:
        """Make the line of the bar free; it is drawn again with the next step."""
        if self.bar is not None and sys.stderr.isatty():
            click.echo("\r\x1b[K", nl=False, err=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.render_finish()
            self.bar = None


def as_reference(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    """The value of --reference: an index or "auto"."""
    if value is None or value == "auto":
        return value
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"'{value}' is neither an index nor auto") from None


def as_numbers(_: click.Context, __: click.Parameter, value: str | None) -> list[float] | None:
    """The value of --ev: numbers separated by commas."""
    if value is None:
        return None
    try:
        return [float(v) for v in value.split(",")]
    except ValueError:
        raise click.BadParameter(f"'{value}' is not a list of stops such as 0,2,4") from None


recipe_option = click.option("--recipe", default="default", show_default=True, metavar="NAME|FILE")
frames_option = click.option("--frames", default=3, show_default=True, metavar="N")
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


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(labelgen.__version__, prog_name="labelgen")
def main() -> None:
    """HDR training sets from your own exposure brackets, without ground truth."""


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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


@main.command()
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
