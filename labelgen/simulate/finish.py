"""Finish a picture: colour, denoising and sharpening, on luma and chroma of its codes."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.alignment.chroma_upsampling import FROM_JPEG, TO_JPEG
from labelgen.core.arrays import Float


def saturate(codes: Float, factor: float, hue_bias: float, hue: float) -> Float:
    """Multiply the chroma of a picture, more for some hues than for others.

    Parameters
    ----------
    codes : (H, W, 3) float32
        Codes, 0 to 1.
    factor : float
        Mean factor on the chroma.
    hue_bias : float
        Hues at the angle `hue` get ``factor * (1 + hue_bias)``, those opposite ``1 - hue_bias``.
    hue : float
        Angle (radians) in the plane of Cb and Cr.

    Returns
    -------
    (H, W, 3) float32
        Codes; those of saturated colours may lie outside 0 to 1.
    """
    ycc = codes @ TO_JPEG.T
    cb, cr = ycc[..., 1], ycc[..., 2]
    along = cb * np.float32(np.cos(hue)) + cr * np.float32(np.sin(hue))
    cosine = along / np.maximum(np.hypot(cb, cr), np.float32(1e-6))
    ycc[..., 1:] *= (np.float32(factor) * (1 + np.float32(hue_bias) * cosine))[..., None]
    return np.asarray(ycc @ FROM_JPEG.T)


def denoise(codes: Float, sigma: float) -> Float:
    """Smooth codes (H, W, 3) float32 by bilateral filters; chroma over more pixels than luma.

    Tomasi and Manduchi, "Bilateral filtering for gray and color images", ICCV 1998,
    doi:10.1109/ICCV.1998.710815.

    Parameters
    ----------
    codes : (H, W, 3) float32
        Codes, 0 to 1.
    sigma : float
        Differences of luma (0..1) that are smoothed; of chroma twice those.

    Returns
    -------
    (H, W, 3) float32
        Codes; 0 to 1 but for rounding.
    """
    luma, *chroma = cv2.split(codes @ TO_JPEG.T)
    smooth = [cv2.bilateralFilter(luma, 5, sigma, 1.5)]
    smooth += [cv2.bilateralFilter(c, 9, 2 * sigma, 3.0) for c in chroma]
    return np.asarray(cv2.merge(smooth)) @ FROM_JPEG.T


def sharpen(codes: Float, amount: float, radius: float) -> Float:
    """Sharpen the luma of codes (H, W, 3) float32 by unsharp masking with a Gaussian (px)."""
    luma = codes @ TO_JPEG[0]
    detail = luma - cv2.GaussianBlur(luma, (0, 0), radius)
    return codes + np.float32(amount) * detail[..., None]
