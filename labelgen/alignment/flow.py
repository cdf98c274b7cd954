"""Dense optical flow between frames, by DIS (Kroeger 2016, doi:10.1007/978-3-319-46493-0_29).

All flow of the labels is computed by `dense_flow`. Its callers differ in the settings alone, which
trade accuracy for time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from labelgen.alignment.grey import FULL_RESOLUTION_PIXELS, grey_at_exposure
from labelgen.core.arrays import Bytes, Float
from labelgen.core.bracket import Stack


@dataclass(frozen=True)
class FlowSettings:
    """Settings of DIS.

    The flow is found on halved images, from the smallest up to 1 / 2^`finest_scale` of the size.
    Patches of 8 px lie `patch_stride` px apart and take `descent_steps` steps of gradient descent;
    the result of each scale is smoothed by `variational_steps` iterations.
    """

    finest_scale: int
    patch_stride: int
    descent_steps: int
    variational_steps: int


ACCURATE = FlowSettings(finest_scale=0, patch_stride=3, descent_steps=25, variational_steps=5)
"""For labels that are made of frames aligned by flow."""
FAST = FlowSettings(finest_scale=2, patch_stride=4, descent_steps=16, variational_steps=5)
"""For the speed of moving objects. One vector for each object is enough."""
COARSE = FlowSettings(finest_scale=2, patch_stride=6, descent_steps=12, variational_steps=0)
"""For guesses, and for a homography that most vectors follow. Denser patches gain nothing there."""


def dense_flow(reference: Bytes, other: Bytes, settings: FlowSettings) -> Float:
    """Flow from one grey image to another.

    Parameters
    ----------
    reference, other : (H, W) uint8
        Grey images of the same exposure.
    settings : FlowSettings
        One of the presets, or a variant of it.

    Returns
    -------
    (H, W, 2) float32
        Displacement in x and y, in pixels: what `reference` shows at (x, y), `other` shows at
        (x, y) plus the displacement.

    Examples
    --------
    >>> reference = np.random.default_rng(0).integers(0, 255, (96, 96)).astype(np.uint8)
    >>> reference = cv2.GaussianBlur(reference, (0, 0), 3)
    >>> other = np.roll(reference, 2, axis=1)  # two pixels to the right
    >>> np.median(dense_flow(reference, other, ACCURATE), (0, 1)).round(1).tolist()
    [2.0, 0.0]
    """
    dis = cv2.DISOpticalFlow_create()
    dis.setFinestScale(settings.finest_scale)
    dis.setPatchStride(settings.patch_stride)
    dis.setGradientDescentIterations(settings.descent_steps)
    dis.setVariationalRefinementIterations(settings.variational_steps)
    return np.asarray(dis.calc(reference, other, None), np.float32)


def flow_to_frame(stack: Stack, i: int, settings: FlowSettings) -> Float:
    """Flow (H, W, 2) px from the reference to frame i of a stack.

    Both frames are shown at the exposure of the longer one, so both clip alike (Kalantari 2017).
    """
    longer = stack.longer_ev(i)
    reference, other = (
        grey_at_exposure(stack.codes[k], longer - stack.ev[k]) for k in (stack.reference, i)
    )
    return dense_flow(reference, other, settings)


def guess_settings(size: tuple[int, int]) -> FlowSettings:
    """Settings for guesses in frames (H, W): half the resolution is enough for large frames."""
    return replace(COARSE, finest_scale=int(size[0] * size[1] > FULL_RESOLUTION_PIXELS))
