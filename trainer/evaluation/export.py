"""Export a run as an ONNX file, for programs without torch."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename, check_new
from trainer.checkpoint import load_model
from trainer.data.dataset import add_radiance
from trainer.models import stride

REQUIRED_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 20
"""The first opset with cubic interpolation in GridSample."""
CHECKED_SIZES = (64, 96), (80, 64)
"""Heights and widths at which results are compared with torch's."""
TOLERANCE = 1e-2
"""Largest accepted difference of radiance. Runtimes sum in another order than torch."""


class ExportedNetwork(nn.Module):
    """A network whose inputs are codes and exposures."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: Tensor, ev: Tensor) -> Tensor:
        """Return radiance (1, 3, H, W) of codes (1, F, 3, H, W) and EVs (1, F), all but EV 0..1."""
        radiance: Tensor = self.model(add_radiance(codes, ev))
        return radiance.clamp(0, 1)


def export(run: Path, out: Path, *, model: Sequence[str] = ()) -> float:
    """Write the averaged weights of a run as an ONNX file, and compare its results with torch's.

    The inputs are "codes", (1, frames, 3, height, width) float32, RGB of gamma 2.2, 0 to 1,
    shortest frame first, and "ev", (1, frames) float32, stops relative to the shortest frame. The
    output is "radiance", (1, 3, height, width) float32, linear, 0 to 1, 1.0 where the shortest
    frame clips, in the geometry of the reference. Height and width are any multiples of the
    network's `stride`: 8 for `lean` and `hdr-transformer`. The export of `lean` takes minutes.

    Parameters
    ----------
    run : Path
        Folder that `trainer fit` wrote.
    out : Path
        The file, which must not exist.
    model : sequence of str
        Networks of your own, "package.module:Class", that the run may have been trained with.

    Returns
    -------
    float
        Largest difference of radiance between onnxruntime and torch, on smooth noise.

    Raises
    ------
    UserError
        Not a run, the file exists, a package is missing, or the results differ.
    """
    check_new(out)
    missing = [name for name in REQUIRED_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"export needs {', '.join(missing)}: pip install 'labelgen[onnx]'")
    network, config = load_model(run, torch.device("cpu"), model)
    exported = ExportedNetwork(network).eval()
    temporary = out.with_name(out.name + ".tmp")
    try:
        _write(exported, config.frames, stride(network), temporary)
        difference = _max_difference(exported, config.frames, temporary)
        if not difference <= TOLERANCE:
            raise UserError(
                f"{out}: not written, onnxruntime differs from torch by {difference:.2g}"
            )
        atomic_rename(temporary, out)
    except OSError as e:
        raise UserError(f"{out}: cannot be written ({e.strerror})") from e
    finally:
        temporary.unlink(missing_ok=True)
    return difference


def _example_inputs(frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return smooth noise as codes, and exposures two stops apart."""
    small = torch.rand(frames, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    codes = F.interpolate(small, (height, width), mode="bilinear")
    return codes[None], 2.0 * torch.arange(frames)[None]


def _write(exported: nn.Module, frames: int, step: int, path: Path) -> None:
    """Write the ONNX file, with variable height and width."""
    longest = 16_384 // step
    height, width = (torch.export.Dim(name, min=4, max=longest) for name in ("rows", "columns"))
    sides = (height, width) if step == 1 else (step * height, step * width)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # from the exporter's own code
        shapes = {3: sides[0], 4: sides[1]}, None
        traced = torch.export.export(
            exported, _example_inputs(frames, *CHECKED_SIZES[0]), dynamic_shapes=shapes
        )
        program = torch.onnx.export(
            traced,
            (),
            dynamo=True,
            optimize=False,  # takes longer than the rest; runtimes optimise when they load
            input_names=["codes", "ev"],
            output_names=["radiance"],
            opset_version=OPSET,
        )
        assert program is not None
        program.save(str(path))


def _max_difference(exported: nn.Module, frames: int, path: Path) -> float:
    """Return the largest difference between onnxruntime and torch."""
    runtime: Any = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors alone; warnings name constants that are not folded
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for height, width in CHECKED_SIZES:
        codes, ev = _example_inputs(frames, height, width)
        (result,) = session.run(None, {"codes": codes.numpy(), "ev": ev.numpy()})
        with torch.inference_mode():
            expected = exported(codes, ev).numpy()
        worst = max(worst, float(np.abs(result - expected).max()))
    return worst
