"""Decode one developed photo; the content of the file chooses the decoder.

Pillow decodes JPEG, BMP, WebP, AVIF and 8-bit TIFF, and refuses files that end early. OpenCV
decodes PNG and TIFF of more than 8 bits. pillow-heif, if installed, decodes HEIC.
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

from labelgen.core.arrays import Array, Codes, Mask
from labelgen.core.errors import Rejected
from labelgen.core.response import FULL_SAMPLING, Sampling
from labelgen.photos import tiff
from labelgen.photos.exif import exif_from, exif_of
from labelgen.photos.formats import SIGNATURE_BYTES, image_format, open_image
from labelgen.photos.limits import MAX_BYTES, check_size
from labelgen.photos.orientation import apply_orientation

# Pillow warns of each damaged EXIF entry that it skips; our errors state the reason.
warnings.filterwarnings("ignore", module=r"PIL\.")

COLOURS = {"RGB": "", "L": "", "RGBX": "RGB", "RGBA": "RGB", "LA": "L", "P": "RGB", "PA": "RGB"}
"""Mode of Pillow to the mode that it is converted to, "" if none. Alpha is not applied."""
PNG_COLOUR, PNG_ALPHA = 25, (4, 6)
"""Byte of a PNG that has its type of colour, and the types with alpha."""
DAMAGED = "cannot be decoded (damaged, or not an image)"
MAX_DEFLATE_RATIO = 1032
"""Largest compression ratio of deflate, the compression of PNG."""
HALVED: Sampling = (2, 2)
"""4:2:0. Lossy WebP has no other; AVIF mostly has it, and Pillow does not state it."""
JPEG_SAMPLING = {1: (1, 2), 2: HALVED}
"""By Pillow's numbers of 4:2:2 and 4:2:0."""
HEIF_SAMPLING = {422: (1, 2), 420: HALVED}
PQ, HLG = 16, 18
"""Transfer characteristics (ITU-T H.273) of HDR pictures, whose full scale is not a clip."""


@dataclass(frozen=True)
class Photo:
    """One decoded image, as stored in the file."""

    codes: Codes
    """(H, W) or (H, W, 3) RGB, uint8 or uint16."""
    orientation: int = 1
    """EXIF orientation, 1 to 8, not applied to `codes`."""
    linear: bool = False
    """Whether the codes are linear light."""
    sampling: Sampling = FULL_SAMPLING
    """Rows and columns of pixels that share one chroma sample."""
    transparent: Mask | None = None
    """(H, W) bool: pixels without data, whose alpha is below half; None if there are none."""


def decode_photo(path: Path) -> Photo:
    """Decode one developed image (not camera RAW).

    Raises
    ------
    Rejected
        The file is damaged, too large, or not a photo in RGB or grey.
    """
    try:
        if path.exists() and not path.is_file():
            raise Rejected(f"{path.name}: not a file")
        if path.stat().st_size > MAX_BYTES:
            raise Rejected(f"{path.name}: larger than {MAX_BYTES >> 30} GiB")
        data = path.read_bytes()
    except OSError as e:
        raise Rejected(f"{path.name}: {e.strerror or e}") from e
    name = image_format(data[:SIGNATURE_BYTES])
    try:
        if name == "TIFF":
            return _decode_tiff(data)
        if name == "HEIF":
            return _decode_heif(data)
        if name == "PNG":
            return _decode_png(data)
        if name:
            return _decode_by_pillow(data)
    except Rejected as e:
        raise Rejected(f"{path.name}: {e}") from e
    raise Rejected(f"{path.name}: {DAMAGED}")


def _decode_by_pillow(data: bytes) -> Photo:
    try:
        image = open_image(io.BytesIO(data))
        check_size(image.height, image.width)
        if image.mode not in COLOURS:
            raise Rejected(f"{image.mode} samples, expected RGB or grey; convert it to RGB")
        orientation = exif_of(image).get(tiff.ORIENTATION, 1)
        mode = COLOURS[image.mode]
        codes = np.array(image.convert(mode) if mode else image)
        bands = image.getbands()
        transparent = _transparent(np.array(image.getchannel("A"))) if "A" in bands else None
        sampling = _chroma_sampling(image, data)
    except Rejected:
        raise
    except Exception as e:  # Pillow raises whatever a hostile or broken file provokes
        raise Rejected(DAMAGED) from e
    return Photo(codes, orientation, sampling=sampling, transparent=transparent)


def _chroma_sampling(image: Image.Image, data: bytes) -> Sampling:
    if isinstance(image, JpegImageFile):  # also the MPO files of phones
        return JPEG_SAMPLING.get(get_sampling(image), FULL_SAMPLING)
    halved = image.format == "AVIF" or (image.format == "WEBP" and data[12:16] != b"VP8L")
    return HALVED if halved else FULL_SAMPLING


def _decode_png(data: bytes) -> Photo:
    if len(data) <= PNG_COLOUR:
        raise Rejected(DAMAGED)
    width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
    check_size(height, width)
    if height * width * data[24] // 8 > MAX_DEFLATE_RATIO * len(data):
        raise Rejected(f"claims {width}x{height} px, more than its {len(data)} bytes can hold")
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_IGNORE_ORIENTATION
    if data[PNG_COLOUR] in PNG_ALPHA or b"tRNS" in data[: data.find(b"IDAT")]:
        flags = cv2.IMREAD_UNCHANGED
    decoded = _decode_by_opencv(data, flags)
    try:
        orientation = exif_of(open_image(io.BytesIO(data))).get(tiff.ORIENTATION, 1)
    except Exception:  # EXIF that Pillow cannot read
        orientation = 1
    return Photo(_rgb(decoded), orientation, transparent=_alpha_of(decoded))


def _decode_tiff(data: bytes) -> Photo:
    layout = tiff.read_layout(data)
    check_size(layout.height, layout.width)
    if layout.end > len(data):
        raise Rejected(f"ends early: {len(data)} of {layout.end} bytes; copy it again")
    # Some versions of Pillow and OpenCV apply the orientation, others do not.
    upright = tiff.without_orientation(data, layout)
    if layout.bits <= 8 and layout.sample_format == tiff.UNSIGNED:
        return replace(_decode_by_pillow(upright), orientation=layout.orientation)
    linear = layout.sample_format == tiff.FLOAT and layout.bits in (32, 64)
    if not linear and (layout.bits, layout.sample_format) != (16, tiff.UNSIGNED):
        kind = {tiff.UNSIGNED: "unsigned", tiff.FLOAT: "floating-point"}
        raise Rejected(
            f"{layout.bits}-bit {kind.get(layout.sample_format, 'signed')} samples, "
            "expected 8 or 16-bit unsigned or 32-bit floating-point ones"
        )
    if layout.photometric not in (1, 2) or (layout.planar and layout.samples > 1):
        raise Rejected("its layout is not interleaved RGB or grey; save it as RGB")
    decoded = _decode_by_opencv(upright, cv2.IMREAD_UNCHANGED)
    codes = _rgb(decoded)
    transparent = _alpha_of(decoded) if layout.alpha else None
    if not linear:
        return Photo(codes, layout.orientation, transparent=transparent)
    if not np.isfinite(codes).all():
        raise Rejected("holds values that are not finite")
    scaled = np.rint(65535 * np.clip(codes, 0, 1)).astype(np.uint16)
    return Photo(scaled, layout.orientation, True, transparent=transparent)


def _decode_by_opencv(data: bytes, flags: int) -> Array:
    try:
        decoded: Array | None = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        decoded = None
    if decoded is None:
        raise Rejected(DAMAGED)
    return decoded


def _rgb(bgr: Array) -> Array:
    """RGB from the channel order of OpenCV, without alpha; grey is (H, W)."""
    if bgr.ndim == 2 or bgr.shape[2] < 3:
        return bgr.reshape(*bgr.shape[:2], -1)[..., 0]
    conversion = cv2.COLOR_BGR2RGB if bgr.shape[2] == 3 else cv2.COLOR_BGRA2RGB
    if bgr.dtype == np.float64:
        return bgr[..., 2::-1]  # cvtColor takes no float64
    rgb: Array = cv2.cvtColor(bgr, conversion)
    return rgb


def _alpha_of(bgra: Array) -> Mask | None:
    """Pixels without data of an image as OpenCV decodes it; None if it has no alpha."""
    return _transparent(bgra[..., 3]) if bgra.ndim == 3 and bgra.shape[2] == 4 else None


def _transparent(alpha: Array) -> Mask | None:
    """Pixels (H, W) whose alpha is below half of full; None if there are none.

    A picture without any opaque pixel is one whose alpha is not in use.
    """
    half = 0.5 if alpha.dtype.kind == "f" else np.iinfo(alpha.dtype).max / 2
    transparent: Mask = alpha < half
    return transparent if transparent.any() and not transparent.all() else None


def _decode_heif(data: bytes) -> Photo:
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
    except Exception as e:  # the library raises many kinds of errors for a damaged file
        raise Rejected(DAMAGED) from e
    bits = int(image.info.get("bit_depth", 8))
    if bits > 8:  # left-aligned in 16 bits; full scale is to be 65535
        full_scale = 2**bits - 1
        codes = np.rint((codes >> (16 - bits)) * (65535 / full_scale)).astype(np.uint16)
    # The library has applied the orientation. It is undone, since all frames of a bracket are
    # turned by the orientation of the reference.
    orientation: int = exif.get(tiff.ORIENTATION, 1)
    inverse = {6: 8, 8: 6}.get(orientation, orientation)
    stored: Array = apply_orientation(codes, inverse)
    sampling = HEIF_SAMPLING.get(image.info.get("chroma", 420), FULL_SAMPLING)
    colours = np.ascontiguousarray(stored[..., :3]) if stored.ndim == 3 else stored
    return Photo(colours, orientation, sampling=sampling, transparent=_alpha_of(stored))
