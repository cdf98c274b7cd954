"""Metrics of the HDR literature: PSNR and SSIM of radiance, of its mu-law and of PU21 values."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import correlate1d

from labelgen.core.arrays import Array, Float, Mask
from labelgen.core.errors import UserError
from labelgen.core.response import mu_law

WINDOW, SIGMA = 11, 1.5
PEAK_NITS = 1000.0
"""Luminance of radiance 1.0 for PU21, cd/m2: that of a good HDR display."""
PU21_RANGE = 0.005, 10_000.0
"""Luminance range of PU21, cd/m2."""
PU21_PEAK = 256.0
"""Peak of PSNR on PU21 values: about 100 cd/m2, so that SDR images keep their usual values."""
PU21 = 0.353487901, 0.3734658629, 8.277049286e-5, 0.9062562627, 0.09150303166, 0.9099517204
PU21_SCALE = 596.3148142


def psnr(prediction: Array, truth: Array, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels.

    Parameters
    ----------
    prediction, truth : (..., 3) float
        Values in the domain to compare in.
    peak : float
        Highest value of that domain.

    Returns
    -------
    float
        Infinity if both are equal.

    Examples
    --------
    >>> round(psnr(np.full((2, 2, 3), 0.5), np.full((2, 2, 3), 0.4)), 3)
    20.0
    """
    error = np.mean(np.square(prediction.astype(np.float64) - truth))
    return float(10 * np.log10(peak**2 / error)) if error > 0 else float("inf")


def pu21(luminance: Array) -> Array:
    """Encode luminance perceptually uniformly, by the visibility of banding and of glare.

    Mantiuk and Azimi, "PU21: A novel perceptually uniform encoding for adapting existing quality
    metrics for HDR", PCS 2021, doi:10.1109/PCS50896.2021.9477471.

    Parameters
    ----------
    luminance : (...) float
        cd/m2, clipped to 0.005 .. 10,000.

    Returns
    -------
    (...) float64
        0 to about 595; 256 at about 100 cd/m2.
    """
    a, b, c, d, e, f = PU21
    power = np.clip(luminance.astype(np.float64), *PU21_RANGE) ** d
    return np.asarray(np.maximum(PU21_SCALE * (((a + b * power) / (1 + c * power)) ** e - f), 0))


class ColorVideoVDP:
    """ColorVideoVDP: how different two pictures look, in just-objectionable differences (JOD).

    Mantiuk, Hanji, Ashraf, Asano, Chapiro, "ColorVideoVDP: A visual difference predictor for
    image, video and display distortions", ACM TOG 2024, doi:10.1145/3658144. This calls the
    authors' own code: ``pip install cvvdp``.

    Parameters
    ----------
    peak_nits : float
        Luminance of radiance 1.0 in cd/m2.
    device : torch.device
        Device to compute on.

    Raises
    ------
    UserError
        cvvdp is not installed.

    Notes
    -----
    The display is the model's "standard_hdr_linear": a 30-inch 4K monitor of at most 1500 cd/m2,
    viewed from 0.75 m in a room of 10 lux.
    """

    display = "standard_hdr_linear"

    def __init__(self, peak_nits: float, device: torch.device) -> None:
        try:
            from pycvvdp import cvvdp
        except ImportError as e:
            raise UserError(f"--cvvdp: cannot be imported ({e}); pip install cvvdp") from e
        self.peak_nits = peak_nits
        self._metric = cvvdp(display_name=self.display, quiet=True, device=device)

    def __call__(self, prediction: Float, truth: Float) -> float:
        """Return the quality of an image in JOD; 10 means no visible difference.

        Parameters
        ----------
        prediction, truth : (H, W, 3) float32
            Linear radiance, 1.0 where the shortest frame clips; both are clipped to 0..1.
        """
        shown = (np.float32(self.peak_nits) * np.clip(x, 0, 1) for x in (prediction, truth))
        quality, _ = self._metric.predict(*shown, dim_order="HWC")
        return float(quality)


def ssim(prediction: Float, truth: Float) -> float:
    """Structural similarity: 11 x 11 Gaussian window of sigma 1.5, per channel, range 1.

    Wang, Bovik, Sheikh, Simoncelli 2004, doi:10.1109/TIP.2003.819861. Windows that cross the
    border of the image are left out, as in the paper and in scikit-image.

    Parameters
    ----------
    prediction, truth : (H, W, 3) float32
        At least 11 x 11 pixels.

    Returns
    -------
    float
        Mean over windows and channels, 1 for equal images.
    """
    x, y = prediction.astype(np.float64), truth.astype(np.float64)
    mx, my = _blur(x), _blur(y)
    vx, vy, cov = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mx * my + c1) * (2 * cov + c2)
    similarity /= (mx * mx + my * my + c1) * (vx + vy + c2)
    return float(similarity.mean())


def _blur(image: Array) -> Array:
    """Gaussian mean of every window that lies inside the image."""
    r = WINDOW // 2
    kernel = np.exp(-0.5 * (np.arange(-r, r + 1) / SIGMA) ** 2)
    kernel /= kernel.sum()
    return correlate1d(correlate1d(image, kernel, 0), kernel, 1)[r:-r, r:-r]


def compute_metrics(
    prediction: Float, truth: Float, moving: Mask | None = None, peak_nits: float = PEAK_NITS
) -> dict[str, float]:
    """Compute all metrics of an image against its truth.

    Parameters
    ----------
    prediction, truth : (H, W, 3) float32
        Linear radiance, 1.0 where the shortest frame clips; both are clipped to 0..1.
    moving : (H, W) bool, optional
        Area that is also scored separately.
    peak_nits : float
        Luminance of radiance 1.0 in cd/m2, for PU21.

    Returns
    -------
    dict
        "psnr_mu", "psnr_l", "psnr_pu21" in dB, "ssim_mu", "ssim_l", and "psnr_mu_moving" in dB if
        anything moves. Mu is the range compression of Kalantari and Ramamoorthi 2017,
        doi:10.1145/3072959.3073609.
    """
    linear = np.clip(prediction, 0, 1), np.clip(truth, 0, 1)
    compressed = mu_law(linear[0]), mu_law(linear[1])
    uniform = pu21(linear[0] * peak_nits), pu21(linear[1] * peak_nits)
    metrics = {
        "psnr_mu": psnr(*compressed),
        "psnr_l": psnr(*linear),
        "ssim_mu": ssim(*compressed),
        "ssim_l": ssim(*linear),
        "psnr_pu21": psnr(*uniform, PU21_PEAK),
    }
    if moving is not None and moving.any():
        metrics["psnr_mu_moving"] = psnr(compressed[0][moving], compressed[1][moving])
    return metrics
