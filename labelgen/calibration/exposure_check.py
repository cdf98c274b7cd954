"""Check that the pixels of a bracket agree with its stated exposures.

The response of the camera is not known yet, so the limits are wide enough for any tone curve. Codes
are 0 to 1 here, gamma 2.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from labelgen.core.arrays import Codes, Float, downsample, max_channel
from labelgen.core.errors import Rejected
from labelgen.core.response import GAMMA, decode

PREVIEW_REDUCTION = 8
"""Frames are downsampled by this factor, so that noise and small motion average out."""
MIDTONES = 0.08, 0.9
"""A pixel is a midtone if its largest code is in this range. Between two frames, only midtones of
the shorter one are compared."""
MIN_MIDTONES = 0.02
"""Least share of midtones in the shorter frame. With fewer, the step between two frames is not
checked."""
STEP_LOW, STEP_HIGH = 0.5, 1.7
STEP_LOW_SLACK, STEP_HIGH_SLACK = 0.1, 0.5
"""A pixel agrees with a stated step of s stops if it brightens by STEP_LOW s - STEP_LOW_SLACK to
STEP_HIGH s + STEP_HIGH_SLACK stops. Camera tone curves make 1 EV read as 1.25 EV and up to 2 EV."""
MIN_AGREEMENT = 0.2
"""Least share of the midtones that must agree. Moving objects alone leave more in agreement."""
BLACK_CODE, BLACK_QUANTILE = 0.03, 0.999
"""A bracket is black if this quantile of the largest code per pixel of its longest frame is below
this code."""
WHITE_CODE, WHITE_QUANTILE = 0.98, 0.01
"""A bracket is white if this quantile of the smallest code per pixel of its shortest frame is above
this code."""


def preview(codes: Codes) -> Float:
    """Linear light (h, w, 3) float32 of codes (H, W, 3), with h = H // 8 and w = W // 8.

    Codes are first averaged to half the size, because decoding fewer of them to light is faster.
    This changes the result little.
    """
    h, w = codes.shape[:2]
    half = downsample(codes, (max(1, w // 2), max(1, h // 2)))
    size = max(1, w // PREVIEW_REDUCTION), max(1, h // PREVIEW_REDUCTION)
    return downsample(decode(half), size)


def well_exposed_share(frame: Float) -> float:
    """Share of the pixels of a preview that are midtones: neither clipped nor dark."""
    code = max_channel(frame) ** np.float32(1 / GAMMA)
    return float(((code > MIDTONES[0]) & (code < MIDTONES[1])).mean())


def check_pixels(names: Sequence[str], evs: Sequence[float], previews: Sequence[Float]) -> None:
    """Check that the pixels of a bracket agree with its stated exposures.

    Parameters
    ----------
    names : sequence of str
        Names of the frames, for the message.
    evs : sequence of float
        Stated exposures in stops, rising.
    previews : sequence of (h, w, 3) float32
        The frames in linear light, see `preview`.

    Raises
    ------
    Rejected
        All frames are black, all are clipped, or the brightness of two consecutive frames does
        not change as their exposures state.
    """
    codes = [p ** np.float32(1 / GAMMA) for p in previews]
    if np.quantile(codes[-1].max(-1), BLACK_QUANTILE) < BLACK_CODE:
        raise Rejected(
            f"black: nothing in {names[-1]}, the longest frame, is above a code of {BLACK_CODE:g}"
        )
    if np.quantile(codes[0].min(-1), WHITE_QUANTILE) > WHITE_CODE:
        raise Rejected(f"white: all of {names[0]}, the shortest frame, is clipped")
    for (i, a), (j, b) in pairwise(enumerate(codes)):
        stated = evs[j] - evs[i]
        agreement, measured = measure_step(a, b, stated)
        if agreement < MIN_AGREEMENT:
            raise Rejected(
                f"exposures contradict the pixels: {names[i]} to {names[j]} is {stated:.2f} EV by "
                f"the metadata and reads as {measured:.2f} EV; write the true EVs to exposure.txt"
            )


def measure_step(a: Float, b: Float, stated: float) -> tuple[float, float]:
    """Measure the exposure step between two frames.

    Parameters
    ----------
    a, b : (h, w, 3) float32
        Codes, 0 to 1, of the shorter and the longer frame.
    stated : float
        Stated step in stops.

    Returns
    -------
    agreement : float
        Share of the midtones of the shorter frame that agree with the stated step; 1 if there
        are too few midtones. A pixel that is nearly clipped in the longer frame may brighten by
        less than stated.
    measured : float
        Median step of the midtones in stops; `stated` if there are too few.

    Examples
    --------
    >>> short = np.full((8, 8, 3), 0.2, np.float32)
    >>> long = short * np.float32(2 ** (2 / GAMMA))  # two stops
    >>> agreement, measured = measure_step(short, long, stated=2.0)
    >>> agreement, round(measured, 2)
    (1.0, 2.0)
    """
    shorter, longer = max_channel(a), max_channel(b)
    midtones = (shorter > MIDTONES[0]) & (shorter < MIDTONES[1])
    if midtones.mean() < MIN_MIDTONES:
        return 1.0, stated
    shorter, longer = shorter[midtones], np.maximum(longer[midtones], 1e-3)
    step = GAMMA * np.log2(longer / shorter)
    bright_enough = (step >= STEP_LOW * stated - STEP_LOW_SLACK) | (longer > MIDTONES[1])
    agree = bright_enough & (step <= STEP_HIGH * stated + STEP_HIGH_SLACK)
    return float(agree.mean()), float(np.median(step))
