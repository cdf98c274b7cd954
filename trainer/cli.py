"""The ``trainer`` program: each command is a thin wrapper of one function.

Torch takes seconds to import and may be missing, so it is imported inside of the commands.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

import trainer
from labelgen.cli.options import response_option
from labelgen.cli.terminal import Bar, echo, echo_lines
from labelgen.errors import UserError
from trainer.stop import Stopped

INSTALL = (
    "trainer needs torch: pip install 'labelgen[trainer]' "
    "(200 MB for the CPU alone: add --extra-index-url https://download.pytorch.org/whl/cpu)"
)
CLASH = (
    "{place}: not the 'trainer' of labelgen, but another package of that name (Coqui's, on PyPI); "
    "pip uninstall trainer, then install labelgen again"
)

path = click.Path(path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, not a table.")
device = click.option("--device", help="cpu, cuda, cuda:1 or mps.  [default: the fastest there is]")
tile = click.option(
    "--tile", default=1536, show_default=True, help="Side of the tiles of large frames, pixels."
)
own = click.option(
    "--model",
    multiple=True,
    help="A network of your own, package.module:Class, that a run was trained with.",
)


class Program(click.Group):
    """Commands whose errors are one line."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(context)
        except UserError as e:
            message, code = str(e), 2
        except Stopped as e:
            message, code = str(e), e.code
        except ModuleNotFoundError as e:
            if (e.name or "").split(".")[0] != "torch":
                raise
            message, code = INSTALL, 2
        except BrokenPipeError:
            raise
        except OSError as e:
            message, code = f"{e.filename}: {e.strerror}" if e.filename else str(e), 2
        rank = os.environ.get("RANK")
        echo(f"process {rank}: {message}" if rank else message, err=True)
        return context.exit(code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="labelgen")
def cli() -> None:
    """Train deghosting networks on labelgen's datasets, and use them."""


@cli.command()
@click.argument("data", nargs=-1, required=True)
@click.option("--run", type=path, required=True, help="Folder of the run.")
@click.option("--val", type=path, help="Scenes with truth to report figures on.")
@click.option(
    "--model",
    default="lean",
    show_default=True,
    help="lean, ahdrnet, hdr-transformer, or package.module:Class of your own.",
)
@click.option("--loss", default="mu-l1", show_default=True, help="mu-l1 or l1.")
@click.option("--steps", default=10_000, show_default=True)
@click.option("--batch", default=8, show_default=True, help="Samples per step, over all processes.")
@click.option("--lr", default=1e-3, show_default=True, help="Highest learning rate.")
@click.option("--warmup", default=100, show_default=True, help="Steps to reach it.")
@click.option("--weight-decay", default=1e-4, show_default=True)
@click.option("--ema", default=0.999, show_default=True, help="Decay of the averaged weights.")
@click.option(
    "--align", default=0.3, show_default=True, help="Weight of each aligned frame by itself."
)
@click.option("--gradient", default=0.0, show_default=True, help="Weight of steps between pixels.")
@click.option(
    "--teacher",
    default=0.0,
    show_default=True,
    help="Weight of what the averaged network says where labels aren't trusted.",
)
@click.option(
    "--hold-out",
    default=0.05,
    show_default=True,
    help="Share of the brackets that is kept for validation against their own labels.",
)
@click.option("--seed", default=1, show_default=True)
@device
@click.option("--compile", is_flag=True, help="Let torch.compile make the network faster.")
@click.option("--resume", is_flag=True, help="Go on where the run was left, if it was begun.")
@click.option("--save-every", default=500, show_default=True, help="Steps between checkpoints.")
@click.option(
    "--keep", default=1, show_default=True, help="Above 1: so many as step_NNNNNNNN.pt as well."
)
@click.option("--log-every", default=50, show_default=True, help="Steps between log lines.")
@click.option("--val-every", default=2_000, show_default=True, help="Steps between validations.")
def fit(data: tuple[str, ...], run: Path, **options: Any) -> None:
    """Train a network on DATA, what labelgen build made.

    Of several datasets each is trained on whole, or is a share of the samples: a.h5 b.h5:0.3.
    With several GPUs: torchrun --nproc-per-node 2 -m -- trainer fit out.h5 --run run
    """
    from trainer.fit import fit as job
    from trainer.mixture import parse

    job([parse(name) for name in data], run, **options)


@cli.command()
@click.argument("runs", type=path, nargs=-1, required=True)
@click.argument("scenes", type=path)
@device
@response_option
@tile
@click.option(
    "--peak-nits", default=1000.0, show_default=True, help="cd/m2 that 1.0 is shown at, for PU21."
)
@click.option("--crop", default=0, show_default=True, help="Border left out on all sides, pixels.")
@click.option("--cvvdp", is_flag=True, help="ColorVideoVDP too, in JOD; needs pip install cvvdp.")
@click.option("--page", type=path, help="HTML page of the worst places, side by side.")
@own
@as_json
def evaluate(runs: tuple[Path, ...], scenes: Path, as_json: bool, **options: Any) -> None:
    """Score RUNS on the brackets below SCENES that have their truth beside them.

    One run is shown scene by scene; of several, the means and what each gains over the first.
    """
    from trainer.evaluate import as_comparison, as_table, compare

    bar = Bar()
    try:
        results = compare(runs, scenes, progress=bar, **options)
    finally:
        bar.close()
    for run, result in results.items():
        for name, why in result["skipped"].items():
            echo(f"{run}: {name} skipped, {why}", err=True)
    one, *more = results.values()
    if as_json:
        echo_lines(json.dumps({"runs": results} if more else one, indent=1))
    else:
        echo_lines(as_comparison(results) if more else as_table(one))


@cli.command()
@click.argument("run", type=path)
@click.argument("brackets", type=path, nargs=-1, required=True)
@click.option("-o", "--out", type=path, required=True, help="Folder of the results.")
@device
@response_option
@tile
@click.option("--align", is_flag=True, help="Align frames by a homography first.")
@click.option("--exr", is_flag=True, help="Write pred.exr too; needs OpenEXR.")
@own
def predict(run: Path, brackets: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Turn BRACKETS, folders of photos, into OUT/<name>/pred.hdr and pred.png."""
    from trainer.predict import predict as job

    bar = Bar()
    try:
        failed = job(run, brackets, out, note=bar.result, progress=bar, **options)
    finally:
        bar.close()
    for name, why in failed.items():
        echo(f"{name}: {why}", err=True)
    sys.exit(1 if failed else 0)


@cli.command()
@click.argument("run", type=path)
@click.argument("out", type=path)
@own
def export(run: Path, out: Path, **options: Any) -> None:
    """Write RUN as an ONNX file OUT, for frames of any size in steps of 8 px (lean)."""
    from trainer.export import export as job

    apart = job(run, out, **options)
    echo(f"{out}  (onnxruntime and torch differ by at most {apart:.1e})")


@cli.command()
@click.argument("data", type=path)
@click.option("--model", default="lean", show_default=True, help="As in fit.")
@click.option("--batch", default=8, show_default=True, help="Samples per step.")
@click.option("--seconds", default=5.0, show_default=True, help="How long to measure each.")
@device
@as_json
def bench(data: Path, as_json: bool, **options: Any) -> None:
    """Say how fast samples of DATA are read and trained on, and which of them bounds."""
    from trainer.bench import bench as job

    found = job(data, **options)
    if as_json:
        echo_lines(json.dumps(found, indent=1))
        return
    echo(f"loader {found['loader']:.1f} samples/s")
    echo(f"model  {found['model']:.1f} samples/s, forward and backward on {found['device']}")
    echo(f"The {found['bound']} bounds.")


def main() -> None:
    """Entry point of the ``trainer`` program."""
    if getattr(trainer, "DISTRIBUTION", None) != "labelgen":
        echo(CLASH.format(place=next(iter(trainer.__path__), "trainer")), err=True)
        sys.exit(2)
    cli()
