"""Figures of the HDR literature: PSNR and SSIM, on radiance and on its mu-law."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import correlate1d

from labelgen.arrays import Array, Float
from labelgen.response import mu_law

WINDOW, SIGMA = 11, 1.5


def psnr(prediction: Float, truth: Float) -> float:
    """Peak signal-to-noise ratio in dB, peak 1, over all pixels and channels.

    Parameters
    ----------
    prediction, truth : (H, W, 3) float32
        In the domain to compare in; infinite where they are equal.
    """
    error = np.mean(np.square(prediction.astype(np.float64) - truth))
    return float(-10 * np.log10(error)) if error > 0 else float("inf")


def ssim(prediction: Float, truth: Float) -> float:
    """Structural similarity: 11 x 11 Gaussian window of sigma 1.5, per channel, range 1.

    Wang, Bovik, Sheikh, Simoncelli 2004, doi:10.1109/TIP.2003.819861. Windows that leave the
    picture are left out, as the paper and scikit-image do.

    Parameters
    ----------
    prediction, truth : (H, W, 3) float32
        At least 11 x 11 pixels.

    Returns
    -------
    float
        Mean over windows and channels, 1 for equal pictures.
    """
    x, y = prediction.astype(np.float64), truth.astype(np.float64)
    mx, my = _blur(x), _blur(y)
    vx, vy, cov = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mx * my + c1) * (2 * cov + c2)
    similarity /= (mx * mx + my * my + c1) * (vx + vy + c2)
    return float(similarity.mean())


def _blur(image: Array) -> Array:
    """Gaussian mean of every window that lies inside the picture."""
    r = WINDOW // 2
    kernel = np.exp(-0.5 * (np.arange(-r, r + 1) / SIGMA) ** 2)
    kernel /= kernel.sum()
    return correlate1d(correlate1d(image, kernel, 0), kernel, 1)[r:-r, r:-r]


def figures(prediction: Float, truth: Float) -> dict[str, float]:
    """All figures of a picture; both are clipped to 0..1, nothing is cropped.

    Parameters
    ----------
    prediction, truth : (H, W, 3) float32
        Linear radiance, 1.0 where the shortest frame clips.

    Returns
    -------
    dict
        "psnr_mu", "psnr_l" in dB and "ssim_mu", "ssim_l"; mu is the range compression of
        Kalantari and Ramamoorthi 2017, doi:10.1145/3072959.3073609.
    """
    linear = np.clip(prediction, 0, 1), np.clip(truth, 0, 1)
    compressed = mu_law(linear[0]), mu_law(linear[1])
    return {
        "psnr_mu": psnr(*compressed),
        "psnr_l": psnr(*linear),
        "ssim_mu": ssim(*compressed),
        "ssim_l": ssim(*linear),
    }
