"""Camera RAW, developed with the same settings for all frames of a bracket, by rawpy (LibRaw).

By default LibRaw chooses brightness, white level and white balance for each file, which ruins the
ratios between the frames of a bracket. Here they are chosen once per bracket. RAW files need the
extra: ``pip install 'labelgen[raw]'``.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labelgen.core.arrays import Array, Codes
from labelgen.core.errors import Rejected
from labelgen.photos.formats import is_raw
from labelgen.photos.limits import check_size

RAWPY_MISSING = "camera RAW needs rawpy: pip install 'labelgen[raw]'"
PEAK_SHARE, PEAK_RATIO, PEAK_RANGE = 1e-3, 10, 0.05
"""The sensels of a colour clip at their highest value if at least PEAK_SHARE of them have it, and
more than PEAK_RATIO times as many as have any other value in the highest PEAK_RANGE."""
MIN_CLIP = 0.75
"""No camera clips below this share of the white level that LibRaw states (LibRaw's threshold)."""
ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""EXIF orientation of LibRaw's flip, whose bits are: mirror left-right, top-bottom, transpose."""


def is_raw_readable() -> bool:
    """Whether rawpy is installed."""
    return importlib.util.find_spec("rawpy") is not None


def check_readable(paths: Sequence[Path]) -> None:
    """Reject camera RAW if rawpy is missing.

    Raises
    ------
    Rejected
        The message says how to install it.
    """
    raw = [p for p in paths if is_raw(p)]
    if raw and not is_raw_readable():
        raise Rejected(f"{raw[0].name}: {RAWPY_MISSING}")


def develop(paths: Sequence[Path], reference: int) -> tuple[tuple[Codes, ...], int]:
    """Develop the RAW files of one bracket to linear light with the same settings.

    The black level is that of each file. White balance is the camera's for the reference frame,
    scaled to a smallest gain of 1. All frames share one full scale, the lowest clip of any colour
    of any frame: a sensel that clips becomes 65535 in all channels, whatever its gain. AHD
    demosaicing, linear sRGB primaries; no brightness, gamma, denoising or lens correction.

    Parameters
    ----------
    paths : sequence of Path
        F files.
    reference : int
        Index of the reference among them.

    Returns
    -------
    codes : F arrays (H, W, 3) uint16
        Linear RGB, 65535 where the frame clips, as stored in the file (not turned).
    orientation : int
        EXIF orientation of the reference, 1 to 8.

    Raises
    ------
    Rejected
        rawpy is missing, or a file is damaged, too large or of an unknown camera.
    """
    with contextlib.ExitStack() as stack:
        photos = [stack.enter_context(open_raw(p)) for p in paths]
        gains = white_balance(photos[reference])
        orientation = raw_orientation(photos[reference])
        scales = []
        for path, photo in zip(paths, photos, strict=True):
            with _as_rejected(path):
                scales.append(full_scale(photo))
        codes = []
        for path, photo in zip(paths, photos, strict=True):
            with _as_rejected(path):
                codes.append(_develop_photo(photo, gains, min(scales)))
                photo.close()  # its buffers are larger than the result
    return tuple(codes), orientation


def _develop_photo(photo: Any, gains: list[float], scale: int) -> Codes:
    from rawpy import ColorSpace, DemosaicAlgorithm, HighlightMode

    image: Array = photo.postprocess(
        demosaic_algorithm=DemosaicAlgorithm.AHD,
        user_wb=gains,
        user_sat=scale,
        adjust_maximum_thr=0.0,
        no_auto_bright=True,
        bright=1.0,
        highlight_mode=HighlightMode.Clip,
        gamma=(1, 1),
        output_bps=16,
        output_color=ColorSpace.sRGB,
        user_flip=0,
    )
    if image.ndim == 2 or image.shape[2] == 1:  # a monochrome camera
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, -1)
    return image.astype(np.uint16, copy=False)


def white_balance(photo: Any) -> list[float]:
    """Gains of red, green, blue and second green by the camera; for daylight if it notes none."""
    for gains in (photo.camera_whitebalance, photo.daylight_whitebalance):
        if min(gains[:3]) > 0:
            return [float(g) for g in gains]
    return [1.0, 1.0, 1.0, 1.0]


def full_scale(photo: Any) -> int:
    """Clip minus black level of the colour that clips first, in raw units.

    The white level that LibRaw states is too high for some cameras: clipped areas would be tinted
    and not be recognised. A colour whose sensels pile up at a value below it clips there.
    """
    blacks = [int(b) for b in photo.black_level_per_channel]
    white = int(photo.white_level)
    by_channel = [int(w) for w in photo.camera_white_level_per_channel or ()]
    white = min([white, *(w for w in by_channel if w > MIN_CLIP * white)])
    scales = [white - black for black in blacks]
    sensels = photo.raw_image_visible
    if sensels.ndim == 2:
        pattern = photo.raw_pattern
        period = 2 if pattern is not None and pattern.shape == (2, 2) else 1
        for y in range(period):
            for x in range(period):
                black = blacks[pattern[y, x]] if period == 2 else max(blacks)
                scales.append(_clip_above_black(sensels[y::period, x::period], black, white))
    return max(1, min(scales))


def _clip_above_black(sensels: Array, black: int, white: int) -> int:
    """Clip minus black of one colour, by the peak of its histogram or else by the white level."""
    top = int(sensels.max())
    if not MIN_CLIP * (white - black) < top - black < white - black:
        return white - black
    start = top - int(PEAK_RANGE * (top - black))
    counts = np.bincount(sensels[sensels >= start].astype(np.intp) - start)
    peak, next_highest = counts[-1], counts[:-1].max()
    clips = peak >= max(2, PEAK_SHARE * sensels.size) and peak > PEAK_RATIO * next_highest
    return top - black if clips else white - black


def raw_orientation(photo: Any) -> int:
    """EXIF orientation (1 to 8) of an opened RAW file."""
    return ORIENTATIONS.get(photo.sizes.flip, 1)


@contextlib.contextmanager
def open_raw(path: Path) -> Iterator[Any]:
    """Open a RAW file as a `rawpy.RawPy`; its size is checked and no sensel is decoded.

    Raises
    ------
    Rejected
        rawpy is missing, or the file is damaged, too large or of an unknown camera.
    """
    try:
        import rawpy
    except ImportError as e:
        raise Rejected(f"{path.name}: {RAWPY_MISSING}") from e
    if not path.is_file():
        raise Rejected(f"{path.name}: no such file")
    with _as_rejected(path), rawpy.imread(str(path)) as photo:
        try:
            check_size(photo.sizes.raw_height, photo.sizes.raw_width)
        except Rejected as e:
            raise Rejected(f"{path.name}: {e}") from e
        yield photo


@contextlib.contextmanager
def _as_rejected(path: Path) -> Iterator[None]:
    """Turn errors of LibRaw into `Rejected` with the name of the file."""
    from rawpy import LibRawError, NotSupportedError

    try:
        yield
    except (LibRawError, NotSupportedError, RuntimeError, ValueError, OSError) as e:
        reason = e.args[0].decode() if e.args and isinstance(e.args[0], bytes) else str(e)
        raise Rejected(f"{path.name}: cannot be developed (LibRaw: {reason})") from e
