"""Camera RAW with known content: DNG files of a mosaic, as a camera of this world writes them."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

BLACK, WHITE = 512, 16383
NEUTRAL = (0.5, 1.0, 0.7)
"""What the sensor sees of grey, per colour: the gains are 2, 1 and 1.43."""
XYZ_TO_CAMERA = np.array([[0.9, -0.2, -0.1], [-0.4, 1.2, 0.2], [-0.1, 0.2, 0.6]])
SRGB_TO_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
)
RGGB = ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2))


def seen(linear_srgb: np.ndarray) -> np.ndarray:
    """What the sensor sees of linear sRGB (H, W, 3), 1.0 where the greens clip of white."""
    to_camera = XYZ_TO_CAMERA @ SRGB_TO_XYZ
    balanced = to_camera / to_camera.sum(1, keepdims=True)  # white is 1, 1, 1
    return linear_srgb @ balanced.T * np.array(NEUTRAL)


def mosaic(sensor: np.ndarray, noise: float = 0.0, clip: int = WHITE, seed: int = 0) -> np.ndarray:
    """Codes of an RGGB sensor that sees (H, W, 3) linear light, 1.0 at the white level."""
    rng = np.random.default_rng(seed)
    codes = np.zeros(sensor.shape[:2])
    for y, x, channel in RGGB:
        codes[y::2, x::2] = sensor[y::2, x::2, channel]
    codes = BLACK + codes * (WHITE - BLACK) + rng.normal(0, noise, codes.shape)
    return np.clip(np.rint(codes), 0, clip).astype(np.uint16)


def write_dng(
    path: Path,
    codes: np.ndarray,
    time: Fraction = Fraction(1, 100),
    iso: int = 100,
    neutral: tuple[float, float, float] = NEUTRAL,
    orientation: int = 1,
) -> None:
    """A DNG 1.4 of (H, W) uint16 codes, with an EXIF directory of its own."""
    import tifffile

    def rationals(values: np.ndarray) -> list[int]:
        return [n for v in values.ravel() for n in (round(v * 1_000_000), 1_000_000)]

    def write(exif_at: int) -> bytes:
        file = io.BytesIO()
        tags = [
            (271, "s", 0, "Maker", True),
            (272, "s", 0, "Model 1", True),
            (274, "H", 1, orientation, True),
            (33421, "H", 2, (2, 2), True),  # CFARepeatPatternDim
            (33422, "B", 4, b"\0\1\1\2", True),  # CFAPattern: RGGB
            (34666, "I", 1, exif_at, True),  # stands in for ExifIFD
            (50706, "B", 4, b"\1\4\0\0", True),  # DNGVersion
            (50708, "s", 0, "Maker Model 1", True),
            (50714, "I", 1, BLACK, True),
            (50717, "I", 1, WHITE, True),
            (50721, "2i", 9, rationals(XYZ_TO_CAMERA), True),  # ColorMatrix1
            (50728, "2I", 3, rationals(np.array(neutral)), True),  # AsShotNeutral
            (50778, "H", 1, 21, True),  # CalibrationIlluminant1: D65
        ]
        tifffile.imwrite(file, codes, photometric=32803, extratags=tags, metadata=None)
        entry = struct.pack("<HHI", 34666, 4, 1)  # tifffile refuses to write 34665 itself
        assert file.getvalue().count(entry) == 1
        return file.getvalue().replace(entry, struct.pack("<HHI", 34665, 4, 1))

    exif = ImageFileDirectory_v2(b"II*\0\0\0\0\0")
    exif[0x829A] = IFDRational(time.numerator, time.denominator)
    exif[0x829D] = IFDRational(8, 1)
    exif[0x8827] = iso
    at = len(write(0)) + len(write(0)) % 2  # directories begin at even places
    path.write_bytes(write(at).ljust(at, b"\0") + exif.tobytes(at))
