"""Figures of one label beside its truth: plain functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from labelgen.core.arrays import Array, Bytes, Float, Mask, max_channel
from labelgen.core.response import mu_law
from labelgen.dataset.columns import TRUSTED_WEIGHT

Figures: TypeAlias = dict[str, float | None]
"""Figures by name; None where a scene has no pixel to compute one from."""

CLIPPED = 0.98
"""Light (1.0 is full scale) from which a frame counts as clipped."""
WRONG_MU = 0.05
"""A pixel is wrong if a channel is off by more than this in the mu-law, ..."""
WRONG_SIGMAS = 4.0
"""... and by more than this many standard deviations of an honest frame's noise."""
MIN_ERROR = 1e-12
"""Added to mean squared errors, so that a perfect label has 120 dB."""
DARK = 0.25
"""Share of the still pixels that counts as dark."""
WEIGHT_BINS = ((1, 51), (52, 102), (103, 153), (154, 204), (205, 255))
"""Bins of the weight, ends included."""


@dataclass(frozen=True)
class Truth:
    """What is known of a scene."""

    radiance: Float
    """(H, W, 3) linear light, 0 to 1; 1.0 is where the shortest frame clips."""
    moving: Mask
    """(H, W) bool: where something moves in any frame."""
    ev: tuple[float, ...]
    """Exposures of the frames in stops, relative to the shortest."""
    reference: int
    """Index of the frame whose geometry the truth has."""
    full_well: float = 20_000.0
    """Electrons at clipping."""
    read: float = 3.0
    """Read noise in electrons."""
    lifted: bool = False
    """Whether the camera made whole regions brighter, differently in each frame."""

    @property
    def clipped(self) -> Mask:
        """(H, W) bool: pixels of which a channel clips in the reference."""
        light = max_channel(self.radiance) * np.float32(2.0 ** self.ev[self.reference])
        return np.asarray(light >= CLIPPED)

    @property
    def still(self) -> Mask:
        """(H, W) bool: pixels where nothing moves and the reference does not clip."""
        return ~self.moving & ~self.clipped


def honest_sigma(truth: Truth) -> Float:
    """Noise of the best frame that an honest label could take from the reference's side.

    That is the longest frame up to the reference that does not clip at a pixel, or the shortest.

    Parameters
    ----------
    truth : Truth
        Radiance, exposures and noise.

    Returns
    -------
    (H, W, 3) float32
        Standard deviation of the radiance by photon and read noise.
    """
    gain = np.full(truth.radiance.shape, np.float32(2.0 ** truth.ev[0]))
    for ev in truth.ev[1 : truth.reference + 1]:
        exposure = np.float32(2.0**ev)
        gain[truth.radiance * exposure < CLIPPED] = exposure
    electrons = np.minimum(truth.radiance * gain, 1) * np.float32(truth.full_well)
    noise = np.sqrt(electrons + np.float32(truth.read**2))
    return np.asarray(noise / (gain * np.float32(truth.full_well)))


def wrong_pixels(radiance: Float, truth: Truth) -> Mask:
    """Find pixels that are off by more than noise explains: `WRONG_MU` and `WRONG_SIGMAS`.

    Parameters
    ----------
    radiance : (H, W, 3) float32
        The label, 0 to 1.
    truth : Truth
        The truth of the same size.

    Returns
    -------
    (H, W) bool
        Whether any channel is wrong.
    """
    visible = np.abs(mu_law(radiance) - mu_law(truth.radiance)) > WRONG_MU
    beyond_noise = np.abs(radiance - truth.radiance) > WRONG_SIGMAS * honest_sigma(truth)
    return np.asarray(max_channel(visible & beyond_noise))


def psnr(squared: Array, weight: Array | None = None) -> float | None:
    """Peak signal-to-noise ratio in dB of squared errors with the peak 1.

    Parameters
    ----------
    squared : (N, 3) float
        Squared errors of pixels.
    weight : (N,) float, optional
        Weights of the pixels.

    Returns
    -------
    float or None
        At most 120; None without pixels, or if all weights are 0.

    Examples
    --------
    >>> psnr(np.full((5, 3), 0.01))
    20.0
    """
    if not len(squared) or (weight is not None and not weight.any()):
        return None
    error = np.average(squared.mean(-1, dtype=np.float64), weights=weight)
    return round(float(-10 * np.log10(error + MIN_ERROR)), 4)


def share(mask: Mask) -> float | None:
    """Share of a mask (N,) that is set; None if it is empty.

    >>> share(np.array([True, False, False, False]))
    0.25
    """
    return round(float(mask.mean()), 6) if mask.size else None


def score_label(radiance: Float, weight: Bytes, reference: Float, truth: Truth) -> Figures:
    """Score one label.

    Parameters
    ----------
    radiance : (H, W, 3) float32
        The label, 1.0 where the shortest frame clips; clipped to 0 to 1 here.
    weight : (H, W) uint8
        Trust in each pixel, 0 to 255.
    reference : (H, W, 3) float32
        Radiance of the reference frame as it was taken. It fills what is not trusted for
        ``psnr_mu_knowable``, so that leaving out hard pixels does not pay.
    truth : Truth
        The truth of the same size.

    Returns
    -------
    dict of str to float or None
        Shares of pixels: ``trusted``, ``trusted_moving``, ``trusted_still`` (weight 128 or more);
        ``ghost``, ``ghost_moving``, ``ghost_weighted`` and ``ghost_205`` (wrong ones of those that
        are trusted, of trusted ones that move, by weight, and of weight 205 or more). In dB:
        ``psnr_mu`` (of trusted pixels), ``psnr_mu_weighted`` (of all, by weight),
        ``psnr_mu_still`` (of still pixels, trusted or not), ``psnr_mu_dark`` (of their darkest
        quarter) and ``psnr_mu_knowable`` (of pixels that a bracket can tell: all but those that
        move and clip in the reference).
    """
    radiance, light = np.clip(radiance, 0, 1), truth.radiance
    true_mu = mu_law(light)
    squared = np.square(mu_law(radiance) - true_mu)
    trusted, still, wrong = weight >= TRUSTED_WEIGHT, truth.still, wrong_pixels(radiance, truth)
    filled = np.where(trusted[..., None], radiance, np.clip(reference, 0, 1))
    squared_filled = np.square(mu_law(filled) - true_mu)
    knowable = ~(truth.moving & truth.clipped)
    total = float(weight.sum(dtype=np.float64))
    return {
        "trusted": share(trusted),
        "trusted_moving": share(trusted[truth.moving]),
        "trusted_still": share(trusted[still]),
        "ghost": share(wrong[trusted]),
        "ghost_moving": share(wrong[trusted & truth.moving]),
        "ghost_weighted": float(weight[wrong].sum(dtype=np.float64)) / total if total else None,
        "ghost_205": share(wrong[weight >= WEIGHT_BINS[-1][0]]),
        "psnr_mu": psnr(squared[trusted]),
        "psnr_mu_weighted": psnr(squared.reshape(-1, 3), weight.ravel()),
        "psnr_mu_still": psnr(squared[still]),
        "psnr_mu_dark": psnr(squared[darkest(light, still)]),
        "psnr_mu_knowable": psnr(squared_filled[knowable]),
    }


def darkest(radiance: Float, mask: Mask, fraction: float = DARK) -> Mask:
    """Return the darkest pixels of a mask (H, W), by the largest channel of (H, W, 3)."""
    if not mask.any():
        return mask
    brightness = max_channel(radiance)
    return np.asarray(mask & (brightness <= np.quantile(brightness[mask], fraction)))


def reliability(radiance: Float, weight: Bytes, truth: Truth) -> list[Figures]:
    """Return how wrong pixels are by their weight.

    Parameters
    ----------
    radiance, weight, truth
        As in `score_label`.

    Returns
    -------
    list of dict
        For each of `WEIGHT_BINS`: ``share`` of all pixels in it, ``wrong`` share of them, and
        ``error``, the mean over them of the largest error of a channel in the mu-law.
    """
    radiance = np.clip(radiance, 0, 1)
    wrong = wrong_pixels(radiance, truth)
    error = max_channel(np.abs(mu_law(radiance) - mu_law(truth.radiance)))
    found = []
    for low, high in WEIGHT_BINS:
        inside = (weight >= low) & (weight <= high)
        mean = float(error[inside].mean(dtype=np.float64)) if inside.any() else None
        found.append({"share": share(inside), "wrong": share(wrong[inside]), "error": mean})
    return found


def mean_figures(scenes: Sequence[Figures]) -> Figures:
    """Mean over scenes of each figure; scenes that do not have it are left out of its mean."""
    known = {key: [s[key] for s in scenes if s[key] is not None] for key in scenes[0]}
    return {
        key: round(float(np.mean(np.array(values, float))), 6) if values else None
        for key, values in known.items()
    }
