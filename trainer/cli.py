"""The ``trainer`` program: each command is a thin wrapper around one function.

Torch takes seconds to import and may be missing, so commands import it themselves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import click

import trainer
from labelgen.cli.completion import completion_of, files, names_or_files
from labelgen.cli.help import Group
from labelgen.cli.options import PathArg, json_option, response_option
from labelgen.cli.terminal import Bar
from labelgen.cli.text import echo, echo_json
from labelgen.core.errors import UserError
from trainer.interrupt import Stopped

INSTALL = (
    "trainer needs torch: pip install 'labelgen[trainer]' "
    "(200 MB for the CPU alone: add --extra-index-url https://download.pytorch.org/whl/cpu)"
)
CLASH = (
    "{place}: not the 'trainer' of labelgen, but another package of that name (Coqui's, on PyPI); "
    "pip uninstall trainer, then install labelgen again"
)

MODELS = {
    "lean": "flow from coarse to fine, then a U-Net",
    "ahdrnet": "Yan et al. 2019",
    "hdr-transformer": "Liu et al. 2022",
}
DEVICES = dict.fromkeys(("cpu", "cuda", "mps"), "")

device_option = click.option(
    "--device",
    shell_complete=names_or_files(lambda: DEVICES),
    help="cpu, cuda, cuda:1 or mps.  [default: the fastest there is]",
)
tile_option = click.option(
    "--tile", default=1536, show_default=True, help="Side of the tiles of large frames, pixels."
)
own_models_option = click.option(
    "--model",
    multiple=True,
    help="A network of your own, package.module:Class, that a run was trained with.",
)


class Program(Group):
    """Commands whose errors are one line."""

    headings: ClassVar = {
        "Training": ("fit", "bench"),
        "Using what was trained": ("predict", "evaluate", "export"),
    }
    example: ClassVar = """
        trainer fit out.h5 --run run/
        trainer predict run/ photos/ -o pictures/
        trainer evaluate run/ scenes/
    """

    def invoke(self, context: click.Context) -> Any:
        """Run a command; expected errors are one line without a traceback."""
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
        except KeyboardInterrupt:
            message, code = "interrupted", 130
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


@cli.command(
    example="""
        trainer fit out.h5 --run run/
        trainer fit out.h5 --run run/ --resume       # after an interruption
        trainer fit a.h5 b.h5:0.3 --run run/ --val scenes/ --model ahdrnet
    """,
    groups={
        "Network and objective": ("--model", "--loss", "--align", "--gradient", "--teacher"),
        "Steps": ("--steps", "--batch", "--lr", "--warmup", "--weight-decay", "--ema", "--seed"),
        "Validation": ("--val", "--hold-out", "--val-every"),
        "Run": ("--run", "--resume", "--save-every", "--keep", "--log-every", "--json"),
        "Device": ("--device", "--compile"),
    },
)
@click.argument("data", nargs=-1, required=True, shell_complete=files)
@click.option("--run", type=PathArg, required=True, help="Folder of the run.")
@click.option("--val", type=PathArg, help="Scenes with truth to report figures on.")
@click.option(
    "--model",
    default="lean",
    show_default=True,
    shell_complete=names_or_files(lambda: MODELS),
    help="lean, ahdrnet, hdr-transformer, or package.module:Class of your own.",
)
@click.option(
    "--loss",
    default="mu-l1",
    show_default=True,
    shell_complete=names_or_files(lambda: dict.fromkeys(("mu-l1", "l1"), "")),
    help="mu-l1 or l1.",
)
@click.option("--steps", default=10_000, show_default=True, help="How long to train.")
@click.option("--batch", default=8, show_default=True, help="Samples per step, over all processes.")
@click.option("--lr", default=1e-3, show_default=True, help="Highest learning rate.")
@click.option("--warmup", default=100, show_default=True, help="Steps to reach it.")
@click.option("--weight-decay", default=1e-4, show_default=True, help="Of AdamW.")
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
@click.option(
    "--seed", default=1, show_default=True, help="Of first weights, order and augmentation."
)
@device_option
@click.option("--compile", is_flag=True, help="Let torch.compile make the network faster.")
@click.option("--resume", is_flag=True, help="Go on where the run was left, if it was begun.")
@click.option("--save-every", default=500, show_default=True, help="Steps between checkpoints.")
@click.option(
    "--keep", default=1, show_default=True, help="Above 1: so many as step_NNNNNNNN.pt as well."
)
@click.option("--log-every", default=50, show_default=True, help="Steps between log lines.")
@click.option("--val-every", default=2_000, show_default=True, help="Steps between validations.")
@json_option
def fit(data: tuple[str, ...], run: Path, as_json: bool, **options: Any) -> None:
    """Train a network on DATA, what labelgen build made.

    Of several datasets each is trained on whole, or is a share of the samples: a.h5 b.h5:0.3.
    With several GPUs: torchrun --nproc-per-node 2 -m -- trainer fit out.h5 --run run
    """
    from trainer.data.mixture import parse_mixture
    from trainer.training.fit import fit as train

    train([parse_mixture(name) for name in data], run, **options)
    if as_json and os.environ.get("RANK", "0") == "0":
        from trainer.training.log import last_metrics

        echo_json({"run": str(run)} | last_metrics(run))


@cli.command(
    example="""
        trainer evaluate run/ scenes/
        trainer evaluate one/ other/ scenes/ --page worst.html
        trainer evaluate run/ scenes/ --json > figures.json
    """,
    groups={"Figures": ("--peak-nits", "--crop", "--cvvdp", "--page", "--json")},
)
@click.argument("runs", type=PathArg, nargs=-1, required=True)
@click.argument("scenes", type=PathArg)
@device_option
@response_option
@tile_option
@click.option(
    "--peak-nits", default=1000.0, show_default=True, help="cd/m2 that 1.0 is shown at, for PU21."
)
@click.option("--crop", default=0, show_default=True, help="Border left out on all sides, pixels.")
@click.option("--cvvdp", is_flag=True, help="ColorVideoVDP too, in JOD; needs pip install cvvdp.")
@click.option("--page", type=PathArg, help="HTML page of the worst places, side by side.")
@own_models_option
@json_option
def evaluate(runs: tuple[Path, ...], scenes: Path, as_json: bool, **options: Any) -> None:
    """Score RUNS on the brackets below SCENES that have their truth beside them.

    One run is shown scene by scene; of several, the means and what each gains over the first.
    """
    from trainer.evaluation.evaluate import compare
    from trainer.views import show_comparison, show_scenes

    with Bar() as bar:
        results = compare(runs, scenes, progress=bar, **options)
    for run, result in results.items():
        for name, why in result["skipped"].items():
            echo(f"{run}: {name} skipped, {why}", err=True)
    one, *more = results.values()
    if as_json:
        echo_json({"runs": results} if more else one)
    elif more:
        show_comparison(results)
    else:
        show_scenes(one)


@cli.command(
    example="""
        trainer predict run/ photos/one/ -o pictures/
        trainer predict run/ photos/ -o pictures/ --align --exr
    """
)
@click.argument("run", type=PathArg)
@click.argument("brackets", type=PathArg, nargs=-1, required=True)
@click.option("-o", "--out", type=PathArg, required=True, help="Folder of the results.")
@device_option
@response_option
@tile_option
@click.option("--align", is_flag=True, help="Align frames by a homography first.")
@click.option("--exr", is_flag=True, help="Write pred.exr too; needs OpenEXR.")
@own_models_option
@json_option
def predict(
    run: Path, brackets: tuple[Path, ...], out: Path, as_json: bool, **options: Any
) -> None:
    """Turn BRACKETS, folders of photos, into OUT/<name>/pred.hdr and pred.png."""
    from trainer.evaluation.predict import predict as predict_brackets

    written: list[str] = []
    with Bar() as bar:
        note = written.append if as_json else bar.result
        failed = predict_brackets(run, brackets, out, note=note, progress=bar, **options)
    if as_json:
        echo_json({"pictures": {Path(p).parent.name: p for p in written}, "failed": failed})
    for name, why in failed.items():
        echo(f"{name}: {why}", err=True)
    sys.exit(1 if failed else 0)


@cli.command(example="trainer export run/ run.onnx")
@click.argument("run", type=PathArg)
@click.argument("out", type=PathArg)
@own_models_option
@json_option
def export(run: Path, out: Path, as_json: bool, **options: Any) -> None:
    """Write RUN as an ONNX file OUT, for frames of any size in steps of 8 px (lean)."""
    from trainer.evaluation.export import export as write_onnx

    with Bar() as bar:
        bar.start("export", 0)
        difference = write_onnx(run, out, **options)
    if as_json:
        echo_json({"file": str(out), "difference": difference})
        return
    echo(f"{out}  (onnxruntime and torch differ by at most {difference:.1e})")


@cli.command(
    example="""
        trainer bench out.h5
        trainer bench out.h5 --model ahdrnet --batch 16 --device cuda
    """
)
@click.argument("data", type=PathArg)
@click.option(
    "--model",
    default="lean",
    show_default=True,
    shell_complete=names_or_files(lambda: MODELS),
    help="As in fit.",
)
@click.option("--batch", default=8, show_default=True, help="Samples per step.")
@click.option("--seconds", default=5.0, show_default=True, help="How long to measure each.")
@device_option
@json_option
def bench(data: Path, as_json: bool, **options: Any) -> None:
    """Say how fast samples of DATA are read and trained on, and which of them bounds."""
    from trainer.training.bench import bench as measure_rates
    from trainer.views import show_rates

    with Bar() as bar:
        bar.start("bench", 0)
        rates = measure_rates(data, **options)
    if as_json:
        echo_json(rates)
    else:
        show_rates(rates)


cli.add_command(completion_of("trainer"))


def main() -> None:
    """Entry point of the ``trainer`` program."""
    if getattr(trainer, "DISTRIBUTION", None) != "labelgen":
        echo(CLASH.format(place=next(iter(trainer.__path__), "trainer")), err=True)
        sys.exit(2)
    cli()
