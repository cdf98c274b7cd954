"""Dense optical flow between two frames.

A flow is a function of two grey images. `FLOWS` names those that a recipe can choose to align
frames by. Homographies, guesses and the speed of objects always rest on DIS (Kroeger 2016,
doi:10.1007/978-3-319-46493-0_29); they differ in its settings alone, which trade accuracy for time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np

from labelgen.alignment.grey import FULL_RESOLUTION_PIXELS, grey_at_exposure
from labelgen.core.arrays import Bytes, Float
from labelgen.core.bracket import Stack
from labelgen.core.settings import Align

Flow: TypeAlias = Callable[[Bytes, Bytes], Float]
"""Takes two grey images (H, W) uint8 of the same exposure. Returns the displacement (H, W, 2)
float32 in x and y, in pixels: what the first image shows at (x, y), the second shows at (x, y)
plus the displacement."""


@dataclass(frozen=True)
class Dis:
    """Dense inverse search.

    The flow is found on halved images, from the smallest up to 1 / 2^`finest_scale` of the size.
    Patches of 8 px lie `patch_stride` px apart and take `descent_steps` steps of gradient descent;
    the result of each scale is smoothed by `variational_steps` iterations.

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 255, (96, 96)).astype(np.uint8)
    >>> image = cv2.GaussianBlur(image, (0, 0), 3)
    >>> flow = ACCURATE_DIS(image, np.roll(image, 2, axis=1))  # two pixels to the right
    >>> np.median(flow, (0, 1)).round(1).tolist()
    [2.0, 0.0]
    """

    finest_scale: int
    patch_stride: int
    descent_steps: int
    variational_steps: int

    def __call__(self, first: Bytes, second: Bytes) -> Float:
        """Return the flow from one image to another, see `Flow`."""
        dis = cv2.DISOpticalFlow_create()
        dis.setFinestScale(self.finest_scale)
        dis.setPatchStride(self.patch_stride)
        dis.setGradientDescentIterations(self.descent_steps)
        dis.setVariationalRefinementIterations(self.variational_steps)
        return np.asarray(dis.calc(first, second, None), np.float32)


ACCURATE_DIS = Dis(finest_scale=0, patch_stride=3, descent_steps=25, variational_steps=5)
"""For labels that are made of frames aligned by flow."""
FAST_DIS = Dis(finest_scale=2, patch_stride=4, descent_steps=16, variational_steps=5)
"""For the speed of moving objects. One vector for each object is enough."""
COARSE_DIS = Dis(finest_scale=2, patch_stride=6, descent_steps=12, variational_steps=0)
"""For guesses, and for a homography that most vectors follow. Denser patches gain nothing there."""


def _recipe_dis(settings: Align) -> Flow:
    return replace(ACCURATE_DIS, variational_steps=settings.variational)


FLOWS: dict[str, Callable[[Align], Flow]] = {"flow": _recipe_dis}
"""Flows that a recipe can choose, by `align.method`. Each is made from the settings of a recipe."""


def flow_to_frame(stack: Stack, i: int, flow: Flow) -> Float:
    """Displacement (H, W, 2) px by a flow from the reference to frame i of a stack.

    Both frames are shown at the exposure of the longer one, so both clip alike (Kalantari 2017).
    """
    longer = stack.longer_ev(i)
    reference, other = (
        grey_at_exposure(stack.codes[k], longer - stack.ev[k]) for k in (stack.reference, i)
    )
    return flow(reference, other)


def guess_flow(size: tuple[int, int]) -> Flow:
    """Flow for guesses in frames (H, W). Half the resolution is enough for large frames."""
    return replace(COARSE_DIS, finest_scale=int(size[0] * size[1] > FULL_RESOLUTION_PIXELS))
