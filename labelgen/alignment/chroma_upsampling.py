"""Colour that a JPEG stores at a fraction of the resolution, made finer by its brightness.

Cameras store the brightness of a JPEG in full and its colour differences at half the width, often
half the height too. All frames of a bracket share that error, so no comparison of them shows it.
Around a pixel colour mostly follows brightness: it is given the detail that it lost as its slope
over brightness there tells, as in the guided filter (He, Sun, Tang, doi:10.1109/TPAMI.2012.213).
For labels alone; inputs stay as they were taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from labelgen.core.arrays import Codes, Float, Region, max_channel, to_uint16
from labelgen.core.response import Sampling, to_depth

TO_JPEG = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
"""RGB to brightness, blueness, redness: JFIF, ITU-T T.871."""
FROM_JPEG = np.linalg.inv(TO_JPEG).astype(np.float32)
FLAT = 1e-4
"""Variance of codes (0 to 1) of a place that is flat: what varies less is noise."""
NEAR = 2
"""Radius in px of the windows in which a doubt is found."""
GUESSED = 0.5
"""Share of what colour was given that may be wrong."""
CLIPPED = 0.98
"""Codes from here on are clipped; brightness tells nothing of the colour there."""
RESAMPLED = 2
"""px on each side by which the coding of colour spreads it."""
UNCERTAINTY_RADIUS = max(2 * NEAR, RESAMPLED)
"""px around a pixel that `chroma_uncertainty` depends on: a mean of slopes that are of means."""


def upsample_chroma(codes: Codes, at: Region, sampling: Sampling, radius: int) -> Codes:
    """A piece of a frame, its colour at full resolution.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        The whole frame, RGB.
    at : Region
        Rows and columns of the piece.
    sampling : (int, int)
        Rows and columns that share a colour difference in the file.
    radius : int
        Half the side of the windows in which colour follows brightness, px.

    Returns
    -------
    (h, w, 3) uint16
        Brightness as it was; what clips is as it was.
    """
    around = tuple(
        slice(max(s.start - 2 * radius - RESAMPLED, 0) // n * n, s.stop + 2 * radius + RESAMPLED)
        for s, n in zip(at, sampling, strict=True)
    )
    y, x = (slice(s.start - a.start, s.stop - a.start) for s, a in zip(at, around, strict=True))
    near = to_depth(codes[around], 16)
    kept = near[y, x].copy()
    change = _lost_chroma(near.astype(np.float32) / np.float32(65535), sampling, radius)[y, x]
    change[max_channel(kept) >= CLIPPED * 65535] = 0
    return to_uint16(kept + 65535 * change)


def chroma_uncertainty(code: Float, sampling: Sampling) -> Float:
    """By how much codes may be wrong since their colour was stored so, (H, W, 3) float32.

    What brightness does not explain of the colour around a pixel is lost, and what it does explain
    is a guess.

    Parameters
    ----------
    code : (H, W, 3) float32
        RGB, 1.0 where the frame clips; may be more. Its colour was made finer.
    sampling : (int, int)
        Rows and columns that share a colour difference.
    """
    light, *colours = cv2.split(cv2.transform(code, TO_JPEG))
    detail = light - _resample_as_chroma(light, sampling)
    side = _window_size(NEAR)
    wrong = np.zeros_like(code)
    for channel, (colour, slope, common) in enumerate(_regress_on_luma(light, colours, side), 1):
        mean = cv2.blur(colour, side)
        left = cv2.blur(colour * colour, side) - mean * mean - slope * common
        given = np.abs(cv2.blur(slope, side) * detail)
        wrong[..., channel] = np.sqrt(np.maximum(left, 0)) + GUESSED * given
    return np.asarray(cv2.transform(wrong, np.abs(FROM_JPEG)), np.float32)


def _lost_chroma(code: Float, sampling: Sampling, radius: int) -> Float:
    """What codes (H, W, 3) of 0 to 1 have lost of their colour, (H, W, 3)."""
    light, *colours = cv2.split(cv2.transform(code, TO_JPEG))
    shown = _resample_as_chroma(light, sampling)
    side, detail = _window_size(radius), light - shown
    change = np.zeros_like(code)
    for channel, (_, slope, _) in enumerate(_regress_on_luma(shown, colours, side), 1):
        change[..., channel] = cv2.blur(slope, side) * detail
    return np.asarray(cv2.transform(change, FROM_JPEG), np.float32)


def _window_size(radius: int) -> tuple[int, int]:
    return 2 * radius + 1, 2 * radius + 1


def _regress_on_luma(
    light: Float, colours: Sequence[Float], side: tuple[int, int]
) -> Iterator[tuple[Float, Float, Float]]:
    """Each colour, its slope over brightness around pixels, and its covariance with it, (H, W)."""
    mean = cv2.blur(light, side)
    variance = cv2.blur(light * light, side) - mean * mean + np.float32(FLAT)
    for colour in colours:
        common = cv2.blur(light * colour, side) - mean * cv2.blur(colour, side)
        yield colour, common / variance, common


def _resample_as_chroma(image: Float, sampling: Sampling) -> Float:
    """An image (H, W) as it would be if it were stored as colour is: reduced, then enlarged."""
    height, width = image.shape
    below, right = (-n % step for n, step in zip(image.shape, sampling, strict=True))
    whole = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    small = (whole.shape[1] // sampling[1], whole.shape[0] // sampling[0])
    reduced = cv2.resize(whole, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(reduced, whole.shape[::-1], interpolation=cv2.INTER_LINEAR)[:height, :width]
