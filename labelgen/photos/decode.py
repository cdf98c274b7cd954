"""One photo in: a decoder per format, chosen by content.

JPEG, BMP, WebP, AVIF and 8-bit TIFF are decoded by Pillow, which refuses files that end early;
PNG and TIFF of more than 8 bits by OpenCV; HEIC by pillow-heif where it is installed.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from labelgen.core.arrays import Array, Codes
from labelgen.core.errors import Rejected
from labelgen.core.response import FULL_SAMPLING, Sampling
from labelgen.photos import tiff
from labelgen.photos.exif import TRANSPOSED, exif_from, exif_of, image_format, open_image
from labelgen.photos.limits import MAX_BYTES, check_size

# Pillow tells standard error what it passes over in damaged EXIF; reasons are in what we raise.
warnings.filterwarnings("ignore", module=r"PIL\.")

COLOURS = {"RGB": "", "L": "", "RGBX": "RGB", "RGBA": "RGB", "LA": "L", "P": "RGB", "PA": "RGB"}
"""Pillow's modes that are photos, and to what they are converted; alpha is dropped, not applied."""
DAMAGED = "cannot be decoded (damaged, or not an image)"
DEFLATE = 1032
"""How many times smaller deflate, the compression of PNG, makes data at the most."""
HALVED: Sampling = (2, 2)
"""4:2:0. Lossy WebP has no other; AVIF mostly is, and nothing tells."""
JPEG_SAMPLING = {1: (1, 2), 2: HALVED}
"""By Pillow's numbers of 4:2:2 and 4:2:0."""
HEIF_SAMPLING = {422: (1, 2), 420: HALVED}
PQ, HLG = 16, 18
"""Transfer characteristics (ITU-T H.273) of HDR pictures, which have no clip to speak of."""


@dataclass(frozen=True)
class Photo:
    """One decoded image as it lies in the file.

    `codes` are (H, W) or (H, W, 3) RGB, uint8 or uint16; `orientation` is that of EXIF, 1 to 8,
    not applied; `linear` says that the codes are linear light; `sampling` is rows and columns of
    pixels that share a colour difference.
    """

    codes: Codes
    orientation: int = 1
    linear: bool = False
    sampling: Sampling = FULL_SAMPLING


def decode_photo(path: Path) -> Photo:
    """Decode one developed image, as it lies in the file.

    Raises
    ------
    Rejected
        Damaged, too large, or of a layout that is none of a photo.
    """
    try:
        if path.exists() and not path.is_file():
            raise Rejected(f"{path.name}: not a file")
        if path.stat().st_size > MAX_BYTES:
            raise Rejected(f"{path.name}: larger than {MAX_BYTES >> 30} GiB")
        data = path.read_bytes()
    except OSError as e:
        raise Rejected(f"{path.name}: {e.strerror or e}") from e
    kind = image_format(data[:16])
    try:
        if kind == "TIFF":
            return _tiff(data)
        if kind == "HEIF":
            return _heif(data)
        if kind == "PNG":
            return _png(data)
        if kind:
            return _pillow(data)
    except Rejected as e:
        raise Rejected(f"{path.name}: {e}") from e
    raise Rejected(f"{path.name}: {DAMAGED}")


def _pillow(data: bytes) -> Photo:
    """Decode by Pillow, which raises where a file ends early."""
    try:
        image = open_image(io.BytesIO(data))
        check_size(image.height, image.width)
        if image.mode not in COLOURS:
            raise Rejected(f"{image.mode} samples, expected RGB or grey; convert it to RGB")
        orientation = exif_of(image).get(tiff.ORIENTATION, 1)
        wanted = COLOURS[image.mode]
        codes = np.array(image.convert(wanted) if wanted else image)
        sampling = _sampling(image, data)
    except Rejected:
        raise
    except Exception as e:  # Pillow raises whatever a hostile or broken file provokes
        raise Rejected(DAMAGED) from e
    return Photo(codes, orientation, sampling=sampling)


def _sampling(image: Image.Image, data: bytes) -> Sampling:
    if isinstance(image, JpegImageFile):  # phones' files of several pictures are, too
        return JPEG_SAMPLING.get(get_sampling(image), FULL_SAMPLING)
    halved = image.format == "AVIF" or (image.format == "WEBP" and data[12:16] != b"VP8L")
    return HALVED if halved else FULL_SAMPLING


def _png(data: bytes) -> Photo:
    if len(data) < 25:
        raise Rejected(DAMAGED)
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    check_size(height, width)
    if height * width * data[24] // 8 > DEFLATE * len(data):
        raise Rejected(f"claims {width}x{height} px, more than its {len(data)} bytes can hold")
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    codes = _rgb(_opencv(data, flags))
    try:
        orientation = exif_of(open_image(io.BytesIO(data))).get(tiff.ORIENTATION, 1)
    except Exception:  # EXIF that Pillow cannot read
        orientation = 1
    return Photo(codes, orientation)


def _tiff(data: bytes) -> Photo:
    found = tiff.read_layout(data)
    check_size(found.height, found.width)
    if found.end > len(data):
        raise Rejected(f"ends early: {len(data)} of {found.end} bytes; copy it again")
    # Whether a decoder applies the orientation differs between versions of both libraries.
    upright = tiff.without_orientation(data, found)
    if found.bits <= 8 and found.sample_format == tiff.UNSIGNED:
        return replace(_pillow(upright), orientation=found.orientation)
    linear = found.sample_format == tiff.FLOAT and found.bits in (32, 64)
    if not linear and (found.bits, found.sample_format) != (16, tiff.UNSIGNED):
        kind = {tiff.UNSIGNED: "unsigned", tiff.FLOAT: "floating-point"}
        raise Rejected(
            f"{found.bits}-bit {kind.get(found.sample_format, 'signed')} samples, "
            "expected 8 or 16-bit unsigned or 32-bit floating-point ones"
        )
    if found.photometric not in (1, 2) or (found.planar and found.samples > 1):
        raise Rejected("its layout is not interleaved RGB or grey; save it as RGB")
    codes = _rgb(_opencv(upright, cv2.IMREAD_UNCHANGED))
    if not linear:
        return Photo(codes, found.orientation)
    if not np.isfinite(codes).all():
        raise Rejected("holds values that are not finite")
    scaled = np.rint(65535 * np.clip(codes, 0, 1)).astype(np.uint16)
    return Photo(scaled, found.orientation, True)


def _opencv(data: bytes, flags: int) -> Array:
    try:
        decoded: Array | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise Rejected(DAMAGED)
    return decoded


def _rgb(bgr: Array) -> Array:
    """OpenCV's channel order turned, alpha dropped; grey stays (H, W)."""
    if bgr.ndim == 2 or bgr.shape[2] < 3:
        return bgr.reshape(*bgr.shape[:2], -1)[..., 0]
    conversion = cv2.COLOR_BGR2RGB if bgr.shape[2] == 3 else cv2.COLOR_BGRA2RGB
    if bgr.dtype == np.float64:
        return bgr[..., 2::-1]  # which OpenCV does not convert
    rgb: Array = cv2.cvtColor(bgr, conversion)
    return rgb


def _heif(data: bytes) -> Photo:
    try:
        import pillow_heif
    except ImportError as e:
        raise Rejected("HEIC needs pillow-heif: pip install 'labelgen[heif]'") from e
    try:
        image = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
        check_size(image.size[1], image.size[0])
        profile = image.info.get("nclx_profile") or {}
        if profile.get("transfer_characteristics") in (PQ, HLG):
            raise Rejected("an HDR picture (PQ or HLG); export it as SDR")
        exif = exif_from(image.info.get("exif"))
        codes = np.array(image)
    except Rejected:
        raise
    except Exception as e:  # as Pillow
        raise Rejected(DAMAGED) from e
    bits = int(image.info.get("bit_depth", 8))
    if bits > 8:  # left-aligned in 16 bits: full scale has to become 65535
        top = 2**bits - 1
        codes = np.rint((codes >> (16 - bits)) * (65535 / top)).astype(np.uint16)
    # The library has turned the image already; back, so that the reference's turn goes for all.
    orientation: int = exif.get(tiff.ORIENTATION, 1)
    back = {6: 8, 8: 6}.get(orientation, orientation)
    upright = apply_orientation(codes[..., :3] if codes.ndim == 3 else codes, back)
    sampling = HEIF_SAMPLING.get(image.info.get("chroma", 420), FULL_SAMPLING)
    return Photo(upright, orientation, sampling=sampling)


def apply_orientation(codes: Codes, orientation: int) -> Codes:
    """An image as its EXIF orientation (1 to 8) says it is to be shown, contiguous."""
    turned: Array = codes
    if orientation in TRANSPOSED:
        turned = turned.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        turned = turned[:, ::-1]
    if orientation in (3, 4, 7, 8):
        turned = turned[::-1]
    return np.ascontiguousarray(turned)
