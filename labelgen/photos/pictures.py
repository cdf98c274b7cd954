"""Read and write radiance (Radiance HDR, OpenEXR), and write pictures (PNG)."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Array, Bytes, Codes, Float
from labelgen.core.errors import Rejected, UserError
from labelgen.core.files import atomic_rename, temporary_path, write_bytes
from labelgen.core.response import mu_law
from labelgen.photos.limits import MAX_BYTES, check_size

HEADER_BYTES = 2**16
"""The header of a Radiance file, which states its size, is within this many bytes."""
MAX_RUN_RATIO = 64
"""Values that one byte of a Radiance file can hold at most: runs of 128 values take 2 bytes."""
RESOLUTION = re.compile(rb"^#\?.*?\n[-+]Y (\d{1,7}) [-+]X (\d{1,7})\n", re.DOTALL)


def encode_png(image: Codes) -> bytes:
    """Encode a (H, W) or (H, W, 3) RGB image, uint8 or uint16, as PNG."""
    bgr: Array = image if image.ndim == 2 else np.ascontiguousarray(image[..., ::-1])
    ok, data = cv2.imencode(".png", bgr)
    if not ok:
        raise UserError(f"a picture of {bgr.shape[1]} x {bgr.shape[0]} px can't be encoded as PNG")
    return data.tobytes()


def write_png(path: Path, image: Bytes) -> None:
    """Write a (H, W) or (H, W, 3) RGB uint8 image as PNG."""
    write_bytes(path, encode_png(image))


def read_hdr(path: Path) -> Float:
    """Read a Radiance or OpenEXR file as (H, W, 3) float32 linear RGB.

    Raises
    ------
    Rejected
        The file is missing, damaged, too large or not finite; or it is OpenEXR and the library
        OpenEXR is not installed.
    """
    if not path.is_file():
        raise Rejected(f"{path.name}: not found")
    radiance = _read_exr(path) if path.suffix.lower() == ".exr" else _read_radiance(path)
    if not np.isfinite(radiance).all():
        raise Rejected(f"{path.name}: not finite")
    return radiance


def _read_radiance(path: Path) -> Float:
    if path.stat().st_size > MAX_BYTES:
        raise Rejected(f"{path.name}: larger than {MAX_BYTES >> 30} GiB")
    data = np.fromfile(path, np.uint8)
    resolution = RESOLUTION.search(data[:HEADER_BYTES].tobytes())
    try:
        if resolution is None:
            raise Rejected("cannot be decoded as a Radiance image")
        height, width = int(resolution[1]), int(resolution[2])
        check_size(height, width)
        if 4 * height * width > MAX_RUN_RATIO * len(data):
            raise Rejected(f"claims {width}x{height} px, more than its {len(data)} bytes can hold")
    except Rejected as e:
        raise Rejected(f"{path.name}: {e}") from e
    try:
        bgr = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        bgr = None
    if bgr is None or bgr.ndim != 3:
        raise Rejected(f"{path.name}: cannot be decoded as a Radiance image")
    return np.ascontiguousarray(bgr[..., 2::-1], np.float32)


def _read_exr(path: Path) -> Float:
    """Red, green and blue of an OpenEXR file, without its other channels."""
    try:
        import OpenEXR
    except ImportError as e:
        raise Rejected(f"{path.name}: OpenEXR is missing: pip install 'labelgen[raw]'") from e
    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            for part in file.parts:  # the library decodes all parts with all their channels
                (left, top), (right, bottom) = part.header["dataWindow"]
                fours = -(-len(part.header["channels"]) // 4) * len(file.parts)
                check_size(int(bottom) - int(top) + 1, (int(right) - int(left) + 1) * fours)
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = file.channels()
            planes = [np.asarray(channels[c].pixels, np.float32) for c in ("R", "G", "B")]
    except Rejected as e:
        raise Rejected(f"{path.name}: {e}") from e
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as e:
        raise Rejected(f"{path.name}: cannot be decoded as OpenEXR with R, G and B") from e
    return np.dstack(planes)


def write_hdr(path: Path, radiance: Float) -> None:
    """Write (H, W, 3) float32 radiance as a Radiance file, by `encode_hdr`."""
    write_bytes(path, encode_hdr(radiance))


def encode_hdr(radiance: Float) -> bytes:
    """Encode radiance as Radiance RGBE with rounded mantissas.

    OpenCV's writer truncates the mantissas, which darkens the picture by 0.4 % of the largest
    channel.

    Parameters
    ----------
    radiance : (H, W, 3) float32
        Linear RGB, finite; negative values become 0.
    """
    rgb = np.maximum(radiance, 0).astype(np.float64)
    # The largest channel sets the exponent after rounding: 255.7 / 256 carries to the next power.
    peak = rgb.max(-1) * (1 + 0.5 / 256)
    _, exponent = np.frexp(peak)
    exponent = np.maximum(exponent, -127)
    mantissa = np.clip(np.rint(np.ldexp(rgb, 8 - exponent[..., None])), 0, 255)
    lit = mantissa.max(-1) > 0
    rgbe = np.concatenate([mantissa, np.where(lit, exponent + 128, 0)[..., None]], -1)
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {rgb.shape[0]} +X {rgb.shape[1]}\n"
    return header.encode() + rgbe.astype(np.uint8).tobytes()


def write_exr(path: Path, radiance: Float) -> None:
    """Write an OpenEXR file of 16-bit floating-point values, losslessly compressed.

    Parameters
    ----------
    path : Path
        Where to write.
    radiance : (H, W, 3) float32
        Linear RGB, finite.

    Raises
    ------
    UserError
        The library OpenEXR is missing.
    """
    try:
        import OpenEXR
    except ImportError:
        raise UserError(f"{path}: OpenEXR is missing: pip install 'labelgen[raw]'") from None
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    pixels = np.ascontiguousarray(radiance, np.float16)
    temporary = temporary_path(path)
    with OpenEXR.File(header, {"RGB": pixels}) as file:
        file.write(str(temporary))
    atomic_rename(temporary, path)


def tone_map(radiance: Float) -> Bytes:
    """Tone-map (H, W, 3) float32 radiance, clipped to 1, by the mu-law to uint8 RGB for display."""
    return np.rint(255 * mu_law(np.clip(radiance, 0, 1))).astype(np.uint8)
