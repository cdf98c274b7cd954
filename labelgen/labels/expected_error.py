"""The error that a label is expected to have because of what cameras do to pictures.

Denoising, sharpening, compression and colour rendering change a frame where it has detail, contrast
or saturated colours, and they do so in all frames alike: comparing frames does not show it.
Chakrabarti et al. 2014 (doi:10.1109/TPAMI.2014.2318713) measure how uncertain the radiance behind a
code is in real cameras. Here the variance is a sum of a few terms. Their factors were fitted to
simulated cameras with known truth; they are much the same for bodies, RAW converters and phones
(`docs/experiments.md`). Frames whose response is a plain formula were not rendered by a camera:
only noise and subsampled chroma leave errors in them.
"""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.alignment.chroma_upsampling import UNCERTAINTY_RADIUS, chroma_uncertainty
from labelgen.core.arrays import Array, Float, Mask, max_channel, power
from labelgen.core.bracket import Stack
from labelgen.core.response import (
    FULL_SAMPLING,
    GAMMA,
    NAMED_RESPONSES,
    Sampling,
    mu_law,
    mu_law_slope,
)
from labelgen.labels.fusion import Fused

DETAIL_SIGMA, CONTRAST_SIGMA, KERNEL = 1.0, 2.0, (7, 7)
"""Detail is the distance of a pixel to its mean over a Gaussian of the first standard deviation
(px). Contrast is the standard deviation of pixels over the second, at half the resolution."""
RADIUS = max(2 * (KERNEL[0] // 2) + 2, UNCERTAINTY_RADIUS)
"""Distance (px) of the farthest pixel that the expected error of a pixel depends on."""
DETAIL, CONTRAST, CHROMA, NOISE = 0.38, 0.12, 0.65, 0.17
"""Share of detail, of contrast, of the uncertainty of subsampled chroma, and of the noise of the
fused frames (standard deviation) in the error."""
LOCAL_CONTRAST = 0.2
"""Share of contrast if frames differ by local tone mapping, which works on contrast."""
DETAIL_ALONE, CONTRAST_ALONE = 0.15, 0.13
"""Further shares where not all frames agree, so that the label is close to a single one."""
COLOUR, COLOUR_CONTRAST = 0.12, 0.55
"""Share of saturation squared in the error, and share of contrast times saturation."""
MAX_NOISE = 0.3
"""Noise (mu-law) counts up to here: it is linearised."""
MIN_INFORMATION, MIN_LIGHT = 1e-6, 1e-3
"""Least divisors."""


def expected_error(fused: Fused, radiance: Float, alone: Mask, stack: Stack) -> Float:
    """Expected error of a label, by the rendering of its frames.

    Parameters
    ----------
    fused : Fused
        The frames, fused by their variance.
    radiance : (H, W, 3) float32
        The label, 1.0 where the shortest frame clips.
    alone : (H, W) bool
        Where not all frames agree with the reference.
    stack : Stack
        The bracket.

    Returns
    -------
    (H, W) float32
        Standard deviation in the mu-law domain.
    """
    source = stack.source_format
    rendered = source.response.name not in NAMED_RESPONSES
    variance = _noise_variance(fused, radiance)
    if rendered:
        variance += _rendering_variance(mu_law(radiance), alone, stack)
    if source.sampling != FULL_SAMPLING:
        chroma = chroma_error(radiance, 2.0 ** stack.ev[stack.reference], source.sampling)
        variance += np.square(chroma * np.float32(CHROMA if rendered else 1))
    return np.sqrt(variance, out=variance)


def _noise_variance(fused: Fused, radiance: Float) -> Float:
    """Variance (H, W) of a label, in mu-law, by the noise of the fused frames."""
    if fused.information is None:
        return np.zeros(radiance.shape[:2], np.float32)
    # No information means that all frames clip there. A label of 1.0 has no noise.
    information = np.where(fused.information > 0, fused.information, np.inf)
    deviation = np.sqrt(1 / np.maximum(information, MIN_INFORMATION))
    # The variance is that of the brightest channel, by whose code frames are weighted.
    noise = mu_law_slope(max_channel(radiance)) * deviation
    return np.square(np.minimum(noise, MAX_NOISE) * np.float32(NOISE))


def _rendering_variance(light: Float, alone: Mask, stack: Stack) -> Float:
    """Variance (H, W) of a label (H, W, 3) in mu-law, by what a camera makes of a picture."""
    detail = np.square(max_channel(np.abs(light - cv2.GaussianBlur(light, KERNEL, DETAIL_SIGMA))))
    contrast = _contrast(light)
    local = any(gain is not None for gain in stack.gains)
    variance = detail * np.float32(DETAIL**2)
    variance += contrast * np.float32((LOCAL_CONTRAST if local else CONTRAST) ** 2)
    variance[alone] += (DETAIL_ALONE**2 * detail + CONTRAST_ALONE**2 * contrast)[alone]
    saturation = np.square(1 - light.min(-1) / np.maximum(max_channel(light), MIN_LIGHT))
    variance += np.square(saturation * np.float32(COLOUR))
    variance += saturation * contrast * np.float32(COLOUR_CONTRAST**2)
    return variance


def _contrast(light: Float) -> Float:
    """Variance (H, W) of the pixels around each pixel of (H, W, 3), of the channel with most."""
    h, w = light.shape[:2]
    # Exactly two pixels are one at half the resolution, or tiles of an odd frame would show.
    light = cv2.copyMakeBorder(light, 0, h % 2, 0, w % 2, cv2.BORDER_REPLICATE)
    half = light.shape[1] // 2, light.shape[0] // 2
    means = (
        cv2.GaussianBlur(
            cv2.resize(x, half, interpolation=cv2.INTER_AREA), KERNEL, CONTRAST_SIGMA / 2
        )
        for x in (light, np.square(light))
    )
    mean, mean_square = means
    variance = max_channel(np.maximum(mean_square - np.square(mean), 0))
    full = cv2.resize(variance, (light.shape[1], light.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full[:h, :w], np.float32)


def chroma_error(radiance: Float, gain: float, sampling: Sampling) -> Float:
    """Error (H, W), in mu-law, of colour whose chroma was stored at less than full resolution.

    Parameters
    ----------
    radiance : (H, W, 3) float32
        The label, 1.0 where the shortest frame clips.
    gain : float
        Exposure of the reference relative to the shortest frame, as a factor.
    sampling : (int, int)
        Rows and columns of pixels that share one chroma value.
    """
    code = power(radiance * np.float32(gain), 1 / GAMMA)
    # Chain rule: derivative of mu-law by radiance, times that of radiance by code.
    slope = mu_law_slope(radiance) * np.float32(GAMMA / gain)
    slope *= np.maximum(code, MIN_LIGHT) ** (GAMMA - 1)
    error: Array = max_channel(chroma_uncertainty(code, sampling) * slope)
    return error
