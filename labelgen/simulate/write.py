"""Write a bracket in the SIGGRAPH'17 layout, with its truth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Codes
from labelgen.core.bracket import TRUTH_NAME
from labelgen.core.errors import UserError
from labelgen.core.files import write_bytes, write_json
from labelgen.core.response import to_depth
from labelgen.photos.pictures import write_hdr, write_png
from labelgen.simulate.settings import SimulatedBracket

FORMATS = {"tif": 16, "png": 8, "jpg": 8}
"""Bits per sample of the files, by suffix."""
QUALITY = 95
"""Of JPEGs of the ideal camera, 0 to 100."""
NOISE_NAME = "noise.json"
"""File in the folder ``truth`` with the noise of the sensor."""


def write_bracket(
    folder: Path,
    simulated: SimulatedBracket,
    ev: Sequence[float],
    truth: bool = True,
    suffix: str = "tif",
) -> None:
    """Write a bracket: input_1.tif, ..., exposure.txt, and its truth.

    The truth is HDRImg.hdr (radiance), truth/moving.png (white where something moves) and
    truth/noise.json (electrons at clipping, read noise, and the camera).

    Parameters
    ----------
    folder : Path
        Folder to make.
    simulated : SimulatedBracket
        Codes and truth.
    ev : sequence of float
        Exposures in stops to state.
    truth : bool
        Write the truth.
    suffix : str
        Format of the frames: "tif" (16 bits), "png" (8 bits) or "jpg" (8 bits, lossy, chroma at
        half the resolution).
    """
    folder.mkdir(parents=True)
    camera = simulated.scene.camera if simulated.scene else None
    for i, codes in enumerate(simulated.codes, 1):
        data = _encode(codes, suffix, camera.quality if camera else QUALITY)
        write_bytes(folder / f"input_{i}.{suffix}", data)
    lines = "".join(f"{e - ev[0]:.6f}\n" for e in ev)
    write_bytes(folder / "exposure.txt", lines.encode())
    if not truth:
        return
    write_hdr(folder / TRUTH_NAME, simulated.truth)
    (folder / "truth").mkdir()
    write_png(folder / "truth" / "moving.png", simulated.moving.astype(np.uint8) * 255)
    if simulated.scene:
        write_json(folder / "truth" / NOISE_NAME, simulated.scene.noise_record())


def _encode(codes: Codes, suffix: str, quality: int) -> bytes:
    """Encode a frame (H, W, 3), RGB, for a file."""
    image = np.ascontiguousarray(to_depth(codes, FORMATS[suffix])[..., ::-1])
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    ok, data = cv2.imencode(f".{suffix}", image, options if suffix == "jpg" else [])
    if not ok:
        raise UserError(f"a frame of {image.shape[1]} x {image.shape[0]} px can't be a .{suffix}")
    return data.tobytes()
