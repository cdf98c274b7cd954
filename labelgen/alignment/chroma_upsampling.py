"""Upsample the chroma of a JPEG, guided by its luma.

Cameras store the luma of a JPEG at full resolution and its chroma at half the width, often also at
half the height. All frames of a bracket share that error, so comparing them does not show it.

Around a pixel, chroma mostly follows luma. The detail that it lost is restored by a linear
regression of chroma on luma there, as in the guided filter (He, Sun, Tang,
doi:10.1109/TPAMI.2012.213). This is done for labels alone; inputs stay as they were taken.
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
"""Matrix from RGB to luma, blue chroma, red chroma (JFIF, ITU-T T.871)."""
FROM_JPEG = np.linalg.inv(TO_JPEG).astype(np.float32)
FLAT_VARIANCE = 1e-4
"""Added to the variance of luma (codes of 0..1): what varies less is noise, not detail."""
UNCERTAINTY_WINDOW = 2
"""Radius in px of the windows in which the uncertainty of chroma is estimated."""
DETAIL_ERROR = 0.5
"""Share of the detail added to chroma that may be wrong."""
CLIP = 0.98
"""Codes (0..1) from here on are clipped. Luma tells nothing of the chroma there."""
RESAMPLING_RADIUS = 2
"""px around a pixel over which downsampling and upsampling spread its chroma."""
UNCERTAINTY_RADIUS = max(2 * UNCERTAINTY_WINDOW, RESAMPLING_RADIUS)
"""px around a pixel that `chroma_uncertainty` depends on: it averages slopes that rest on means."""


def upsample_chroma(codes: Codes, region: Region, sampling: Sampling, radius: int) -> Codes:
    """Upsample the chroma of a region of a frame.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        The whole frame, RGB.
    region : Region
        Rows and columns to return.
    sampling : (int, int)
        Rows and columns that share a chroma sample in the file.
    radius : int
        Radius in px of the windows in which chroma is regressed on luma.

    Returns
    -------
    (h, w, 3) uint16
        Luma is as it was. Clipped pixels are as they were.
    """
    wide = tuple(
        slice(
            max(s.start - 2 * radius - RESAMPLING_RADIUS, 0) // n * n,
            s.stop + 2 * radius + RESAMPLING_RADIUS,
        )
        for s, n in zip(region, sampling, strict=True)
    )
    y, x = (slice(s.start - w.start, s.stop - w.start) for s, w in zip(region, wide, strict=True))
    source = to_depth(codes[wide], 16)
    original = source[y, x].copy()
    detail = _lost_detail(source.astype(np.float32) / np.float32(65535), sampling, radius)[y, x]
    detail[max_channel(original) >= CLIP * 65535] = 0
    return to_uint16(original + 65535 * detail)


def chroma_uncertainty(code: Float, sampling: Sampling) -> Float:
    """Estimate the error of codes whose chroma was stored subsampled and then upsampled.

    The residual of the regression on luma is lost for good. The detail that the regression adds is
    a guess, of which `DETAIL_ERROR` counts as error.

    Parameters
    ----------
    code : (H, W, 3) float32
        RGB with upsampled chroma, 1.0 where the frame clips; may be more.
    sampling : (int, int)
        Rows and columns that share a chroma sample in the file.

    Returns
    -------
    (H, W, 3) float32
        In codes, at least 0.
    """
    luma, *chroma = cv2.split(cv2.transform(code, TO_JPEG))
    luma_detail = luma - _resample_as_chroma(luma, sampling)
    window = _window_size(UNCERTAINTY_WINDOW)
    error = np.zeros_like(code)
    for channel, fit in enumerate(_regress_on_luma(luma, chroma, window), 1):
        values, slope, covariance = fit
        mean = cv2.blur(values, window)
        residual = cv2.blur(values * values, window) - mean * mean - slope * covariance
        detail = np.abs(cv2.blur(slope, window) * luma_detail)
        error[..., channel] = np.sqrt(np.maximum(residual, 0)) + DETAIL_ERROR * detail
    return np.asarray(cv2.transform(error, np.abs(FROM_JPEG)), np.float32)


def _lost_detail(code: Float, sampling: Sampling, radius: int) -> Float:
    """Detail (H, W, 3) that the chroma of codes (H, W, 3) of 0..1 has lost, as RGB codes."""
    luma, *chroma = cv2.split(cv2.transform(code, TO_JPEG))
    coarse_luma = _resample_as_chroma(luma, sampling)
    window, luma_detail = _window_size(radius), luma - coarse_luma
    detail = np.zeros_like(code)
    for channel, (_, slope, _) in enumerate(_regress_on_luma(coarse_luma, chroma, window), 1):
        detail[..., channel] = cv2.blur(slope, window) * luma_detail
    return np.asarray(cv2.transform(detail, FROM_JPEG), np.float32)


def _window_size(radius: int) -> tuple[int, int]:
    return 2 * radius + 1, 2 * radius + 1


def _regress_on_luma(
    luma: Float, chroma: Sequence[Float], window: tuple[int, int]
) -> Iterator[tuple[Float, Float, Float]]:
    """Each chroma channel, its slope over luma in windows, and its covariance with luma, (H, W)."""
    mean = cv2.blur(luma, window)
    variance = cv2.blur(luma * luma, window) - mean * mean + np.float32(FLAT_VARIANCE)
    for channel in chroma:
        covariance = cv2.blur(luma * channel, window) - mean * cv2.blur(channel, window)
        yield channel, covariance / variance, covariance


def _resample_as_chroma(image: Float, sampling: Sampling) -> Float:
    """Downsample and upsample an image (H, W) as a JPEG does its chroma."""
    height, width = image.shape
    below, right = (-n % step for n, step in zip(image.shape, sampling, strict=True))
    padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REPLICATE)
    size = (padded.shape[1] // sampling[1], padded.shape[0] // sampling[0])
    small = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, padded.shape[::-1], interpolation=cv2.INTER_LINEAR)[:height, :width]
