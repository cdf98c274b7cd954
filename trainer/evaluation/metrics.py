"""Figures of the HDR literature: PSNR and SSIM, on radiance, its mu-law, and as it is seen."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import correlate1d

from labelgen.core.arrays import Array, Float, Mask
from labelgen.core.errors import UserError
from labelgen.core.response import mu_law

WINDOW, SIGMA = 11, 1.5
PEAK_NITS = 1000.0
"""Luminance at which radiance 1.0 is shown for PU21, cd/m2: a good HDR display."""
PU21_RANGE = 0.005, 10_000.0
"""Luminance that PU21 is made for, cd/m2."""
PU21_PEAK = 256.0
"""Peak of PSNR on PU21 values: about 100 cd/m2, so that figures of SDR pictures stay as known."""
PU21 = 0.353487901, 0.3734658629, 8.277049286e-5, 0.9062562627, 0.09150303166, 0.9099517204
PU21_SCALE = 596.3148142


def psnr(prediction: Array, truth: Array, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels.

    Parameters
    ----------
    prediction, truth : (..., 3) float
        In the domain to compare in; infinite where they are equal.
    peak : float
        Highest value of that domain.
    """
    error = np.mean(np.square(prediction.astype(np.float64) - truth))
    return float(10 * np.log10(peak**2 / error)) if error > 0 else float("inf")


def pu21(luminance: Array) -> Array:
    """Perceptually uniform values of luminance, as banding and glare let it be seen.

    Mantiuk and Azimi, "PU21: A novel perceptually uniform encoding for adapting existing quality
    metrics for HDR", PCS 2021, doi:10.1109/PCS50896.2021.9477471.

    Parameters
    ----------
    luminance : (...) float
        cd/m2; clipped to 0.005 .. 10,000.

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
    image, video and display distortions", ACM TOG 2024, doi:10.1145/3658144. It is the authors'
    own code that is run: ``pip install cvvdp``.

    Parameters
    ----------
    peak_nits : float
        cd/m2 at which radiance 1.0 is shown.
    device : torch.device
        Where to compute.

    Raises
    ------
    UserError
        It isn't installed.

    Notes
    -----
    The viewing is the model's "standard_hdr_linear": a 30-inch 4K monitor of at most 1500 cd/m2
    seen from 0.75 m in a room of 10 lux.
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
        """JOD of a picture, 10 where no difference is seen.

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


def figures(
    prediction: Float, truth: Float, moving: Mask | None = None, peak_nits: float = PEAK_NITS
) -> dict[str, float]:
    """All figures of a picture; both are clipped to 0..1, nothing is cropped.

    Parameters
    ----------
    prediction, truth : (H, W, 3) float32
        Linear radiance, 1.0 where the shortest frame clips.
    moving : (H, W) bool, optional
        Area to be scored by itself as well.
    peak_nits : float
        cd/m2 at which 1.0 is shown, for PU21.

    Returns
    -------
    dict
        "psnr_mu", "psnr_l", "psnr_pu21" in dB and "ssim_mu", "ssim_l"; mu is the range
        compression of Kalantari and Ramamoorthi 2017, doi:10.1145/3072959.3073609; and
        "psnr_mu_moving" where anything moves.
    """
    linear = np.clip(prediction, 0, 1), np.clip(truth, 0, 1)
    compressed = mu_law(linear[0]), mu_law(linear[1])
    seen = pu21(linear[0] * peak_nits), pu21(linear[1] * peak_nits)
    found = {
        "psnr_mu": psnr(*compressed),
        "psnr_l": psnr(*linear),
        "ssim_mu": ssim(*compressed),
        "ssim_l": ssim(*linear),
        "psnr_pu21": psnr(*seen, PU21_PEAK),
    }
    if moving is not None and moving.any():
        found["psnr_mu_moving"] = psnr(compressed[0][moving], compressed[1][moving])
    return found
