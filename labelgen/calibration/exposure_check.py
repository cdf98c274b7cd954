"""Do the pixels bear out what is stated? Checks that no camera's tone curve trips over."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from labelgen.core.arrays import Codes, Float, downsample, max_channel
from labelgen.core.errors import Rejected
from labelgen.core.response import GAMMA, decode

PREVIEW = 8
"""Pixels are looked at reduced by this factor: noise and small motion average out."""
MIDTONES = 0.08, 0.9
"""Codes of the shorter frame between which a pixel tells how much longer the other one is."""
MIN_MIDTONES = 0.02
"""Share of the frame that has to be there to tell it."""
STEP_LOW, STEP_HIGH = 0.5, 1.7
STEP_LOW_SLACK, STEP_HIGH_SLACK = 0.1, 0.5
"""A pixel bears out a step if it brightens by a stated step times low minus slack to a stated step
times high plus slack (stops): camera tone curves make 1 EV read as 1.25 EV and up to 2 EV."""
MIN_AGREEMENT = 0.2
"""Exposures are wrong where fewer of the midtones bear them out; what moves does not."""
BLACK = 0.03
"""A bracket whose longest frame nowhere rises above this code is black."""


def preview(codes: Codes) -> Float:
    """Linear light (h, w, 3) float32 of codes (H, W, 3), reduced to an eighth of the size.

    By averaging: first some codes, which is about the same and cheaper, then light.
    """
    h, w = codes.shape[:2]
    half = downsample(codes, (max(1, w // 2), max(1, h // 2)))
    return downsample(decode(half), (max(1, w // PREVIEW), max(1, h // PREVIEW)))


def well_exposed_share(frame: Float) -> float:
    """Share of the pixels of a preview that are neither clipped nor dark."""
    code = max_channel(frame) ** np.float32(1 / GAMMA)
    return float(((code > MIDTONES[0]) & (code < MIDTONES[1])).mean())


def check_pixels(names: Sequence[str], evs: Sequence[float], previews: Sequence[Float]) -> None:
    """See whether the pixels bear out the exposures.

    Parameters
    ----------
    names : sequence of str
        Of the frames, for the message.
    evs : sequence of float
        Stated exposures in stops, rising.
    previews : sequence of (h, w, 3) float32
        The frames in linear light, reduced.

    Raises
    ------
    Rejected
        All frames are black or all clipped, or the brightness of neighbours does not change as
        their exposures say.
    """
    codes = [p ** np.float32(1 / GAMMA) for p in previews]
    if np.quantile(codes[-1].max(-1), 0.999) < BLACK:
        raise Rejected(
            f"black: nothing in {names[-1]}, the longest frame, is above a code of {BLACK:g}"
        )
    if np.quantile(codes[0].min(-1), 0.01) > 0.98:
        raise Rejected(f"white: all of {names[0]}, the shortest frame, is clipped")
    for (i, a), (j, b) in pairwise(enumerate(codes)):
        stated = evs[j] - evs[i]
        agreement, measured = measured_step(a, b, stated)
        if agreement < MIN_AGREEMENT:
            raise Rejected(
                f"exposures contradict the pixels: {names[i]} to {names[j]} is {stated:.2f} EV by "
                f"the metadata and reads as {measured:.2f} EV; write the true EVs to exposure.txt"
            )


def measured_step(a: Float, b: Float, stated: float) -> tuple[float, float]:
    """Exposure step between two frames as their pixels show it.

    Parameters
    ----------
    a, b : (h, w, 3) float32
        Codes, 0 to 1, of the shorter and the longer frame.
    stated : float
        The step by the metadata, in stops.

    Returns
    -------
    agreement : float
        Share of the midtones of the shorter frame that bear out the stated step; a pixel that
        is nearly clipped in the longer one needs to brighten by no least amount. 1 where there
        are too few midtones to tell.
    measured : float
        Median of their steps in stops.
    """
    shorter, longer = max_channel(a), max_channel(b)
    midtones = (shorter > MIDTONES[0]) & (shorter < MIDTONES[1])
    if midtones.mean() < MIN_MIDTONES:
        return 1.0, stated
    shorter, longer = shorter[midtones], np.maximum(longer[midtones], 1e-3)
    step = GAMMA * np.log2(longer / shorter)
    enough = (step >= STEP_LOW * stated - STEP_LOW_SLACK) | (longer > MIDTONES[1])
    agrees = enough & (step <= STEP_HIGH * stated + STEP_HIGH_SLACK)
    return float(agrees.mean()), float(np.median(step))
