"""The sensor: colour filters, electrons, clipping, and noise that demosaicing correlates."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Float
from labelgen.simulate.camera import Camera

GREEN_AT_OTHERS = ((0, 0, -1, 0, 0), (0, 0, 2, 0, 0), (-1, 2, 4, 2, -1))
ACROSS_ROW = ((0, 0, 0.5, 0, 0), (0, -1, 0, -1, 0), (-1, 4, 5, 4, -1))
AT_OPPOSITE = ((0, 0, -1.5, 0, 0), (0, 2, 0, 2, 0), (-1.5, 0, 6, 0, -1.5))
"""The upper three rows of the filters of Malvar et al. 2004, times 8; the others mirror them."""


def capture(
    rng: np.random.Generator,
    light: Float,
    full_well: float,
    read: float,
    camera: Camera,
) -> Float:
    """Capture one frame: colour filters, noise, clipping on the sensor, white balance.

    The picture keeps its full resolution, as if the camera had an optical low-pass filter and a
    demosaicer without artefacts. Its noise goes through a Bayer pattern and `demosaic`: that is
    linear, so it acts on light and noise separately. Colours are balanced before it, as converters
    do, or the noise of green would be amplified in the others.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    light : (H, W, 3) float32
        Linear sRGB, not negative; 1.0 clips where it is grey.
    full_well, read : float
        Electrons at clipping, and read noise in electrons.
    camera : Camera
        Its filters and white balance.

    Returns
    -------
    (H, W, 3) float32
        White-balanced light behind the filters of the camera, 0 to 1.
    """
    gains = np.array(camera.white_balance, np.float32)
    raw = np.maximum(light @ np.array(camera.filters, np.float32).T, 0) / gains
    sigma = np.sqrt(raw * np.float32(full_well) + np.float32(read**2)) / np.float32(full_well)
    noisy = np.minimum(raw + sigma * rng.standard_normal(raw.shape, np.float32), 1)
    clean = np.minimum(raw, 1)
    return np.clip(clean * gains + demosaic((noisy - clean) * gains), 0, 1)


def demosaic(image: Float) -> Float:
    """Sample an image through a Bayer pattern (RGGB) and interpolate it by Malvar's filters.

    Malvar, He, Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color
    images", ICASSP 2004, doi:10.1109/ICASSP.2004.1326587.

    Parameters
    ----------
    image : (H, W, 3) float32
        Values behind each filter at every pixel.

    Returns
    -------
    (H, W, 3) float32
        What is left of it if each pixel has only one filter.
    """
    y, x = np.ogrid[: image.shape[0], : image.shape[1]]
    even_row, even_column = y % 2 == 0, x % 2 == 0
    at_red, at_blue = even_row & even_column, ~even_row & ~even_column
    mosaic = np.where(at_red, image[..., 0], np.where(at_blue, image[..., 2], image[..., 1]))
    green = np.where(at_red | at_blue, _filter(mosaic, GREEN_AT_OTHERS), mosaic)
    row, column = _filter(mosaic, ACROSS_ROW), _filter(mosaic, ACROSS_ROW, transposed=True)
    opposite = _filter(mosaic, AT_OPPOSITE)
    red = np.where(at_blue, opposite, np.where(even_row, row, column))
    blue = np.where(at_red, opposite, np.where(even_row, column, row))
    return np.dstack([np.where(at_red, mosaic, red), green, np.where(at_blue, mosaic, blue)])


def _filter(mosaic: Float, upper: tuple[tuple[float, ...], ...], transposed: bool = False) -> Float:
    kernel = np.array([*upper, *upper[1::-1]], np.float32) / 8
    kernel = kernel.T if transposed else kernel
    return np.asarray(cv2.filter2D(mosaic, -1, kernel, borderType=cv2.BORDER_REFLECT_101))
