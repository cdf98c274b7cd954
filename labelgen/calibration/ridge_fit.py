"""The error model of ridges, and the robust weights of all fits to them."""

from __future__ import annotations

import numpy as np

from labelgen.calibration.comparagram import MAD, Ridge
from labelgen.core.arrays import Array, median

CODE_ERROR, EV_ERROR = 0.5 / 255, 0.01
"""Standard deviations of errors beside the spread of a bin: of its mean code (quantisation, JPEG),
and of its rise in stops."""
PLACES_PER_SAMPLE = 20
"""This many places count as one sample, because they overlap and lie on the same surfaces."""
TUKEY = 4.7
"""Tukey's biweight: bins farther off than this many standard deviations have no weight."""
ANNEALING = (8.0, 6.0, 4.0, 3.0, 2.0)
"""Factors on the standard deviation in the first rounds, so that a fit converges from a poor
start."""
ROUNDS = 25
"""Largest number of rounds of reweighting."""
HUBER_EV = 0.08
"""Huber's limit (stops): stated exposures with larger errors have less weight in the common
scale."""
MIN_CODE = 1e-4
"""Codes (0..1) are at least this before their logarithm is taken."""


def ridge_variance(ridge: Ridge, slope: Array) -> Array:
    """Variance (M,) in stops squared of the rise of each bin.

    Parameters
    ----------
    ridge : Ridge
        M bins.
    slope : (M,) float64
        Stops per code (0..1) at the short codes.
    """
    mean = ridge.spread**2 / np.maximum(ridge.count / PLACES_PER_SAMPLE, 1)
    return np.asarray(slope**2 * (mean + CODE_ERROR**2) + EV_ERROR**2)


def tukey_weights(
    residual: Array, variance: Array, iteration: int, scale: float
) -> tuple[Array, float]:
    """Weights of residuals in one round of a robust fit.

    Parameters
    ----------
    residual, variance : (M,) float64
        Residuals, and their expected variances.
    iteration : int
        Number of the round, from 0: the first ones assume larger errors, see `ANNEALING`.
    scale : float
        Standard deviation of the last round's residuals relative to the expected one.

    Returns
    -------
    weight : (M,) float64
    scale : float
        For the next round, at least 1.
    """
    z = np.abs(residual) / np.sqrt(variance)
    width = max(scale, ANNEALING[iteration] if iteration < len(ANNEALING) else 1.0)
    weight = np.maximum(1 - (z / (TUKEY * width)) ** 2, 0) ** 2 / (variance * width**2)
    return weight, max(1.0, MAD * median(z))


def huber_weights(residual: Array) -> Array:
    """Weights (N,) of residuals (N,) in stops: 1 up to `HUBER_EV`, then falling."""
    return np.minimum(1, HUBER_EV / np.maximum(np.abs(residual), 1e-9))


def weighted_mean(values: Array, weight: Array) -> float:
    """Weighted mean of numbers (N,). Twice as fast as NumPy's for a few of them."""
    return float((values * weight).sum() / weight.sum())
