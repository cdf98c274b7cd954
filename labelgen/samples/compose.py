"""Pieces in front of real frames, as a camera would have taken them.

The radiance of a piece is known, so the label is exact wherever the reference shows it; frames
show it exposed, clipped, blurred by its motion and as noisy as a real pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, Mask, max_channel
from labelgen.core.response import SourceFormat, bit_depth, decode, encode
from labelgen.core.settings import Noise, Pieces
from labelgen.labels.motion import noise_variance
from labelgen.samples.moving_objects import Background, MovingObject

MIN_OPAQUE_COVER = 0.98
"""Cover from which on nothing of what is behind shows."""
MAX_BLUR_PX = 24.0
"""px: longer streaks are cut."""


@dataclass(frozen=True)
class Layer:
    """All pieces as one frame sees them.

    `light` (P, P, 3) float32 is their radiance, times cover; `passes` (P, P, 1) float32 the share
    of what is behind that shows, and `lit` (P, P, 1) what their shadows leave of it.
    """

    light: Float
    passes: Float
    lit: Float


def render_layer(
    pieces: Sequence[MovingObject], i: int, scene: Background, settings: Pieces
) -> Layer:
    """The pieces as frame i sees them, blurred by their motion while it is open."""
    side = len(scene.clipped)
    light = np.zeros((side, side, 3), np.float32)
    passes = lit = np.ones((side, side, 1), np.float32)
    open_for = settings.blur * 2.0 ** (scene.ev[i] - max(scene.ev))
    for piece in pieces:
        seen = _seen(piece, i, side, piece.velocity * open_for)
        behind = 1 - seen[..., 3:]
        if piece.shadow is not None:
            shift = np.array([[1, 0, piece.shadow[0]], [0, 1, piece.shadow[1]]])
            cast = cv2.warpAffine(np.ascontiguousarray(seen[..., 3]), shift, (side, side))
            soft = cv2.GaussianBlur(cast, (0, 0), 1 + float(np.hypot(*piece.shadow)) / 4)
            left = (1 - np.float32(settings.shade) * soft)[..., None]
            light, lit = light * left, lit * left
        light, passes = light * behind + seen[..., :3], passes * behind
    return Layer(light, passes, lit)


def _seen(piece: MovingObject, i: int, side: int, way: Array) -> Float:
    """One piece in frame i, (P, P, 4) float32 radiance times cover, and cover."""
    ys, xs = np.mgrid[:side, :side].astype(np.float32)
    (a, b, c), (d, e, f) = piece.poses[i].astype(np.float32)
    ripple = cv2.resize(piece.ripples[i], (side, side), interpolation=cv2.INTER_CUBIC)
    u, v = a * xs + b * ys + c + ripple[..., 0], d * xs + e * ys + f + ripple[..., 1]
    seen = cv2.remap(piece.light, u, v, cv2.INTER_LINEAR)
    if np.hypot(*way) > 0.5:
        seen = cv2.filter2D(seen, -1, motion_blur_kernel(way), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(seen, np.float32)


def motion_blur_kernel(way: Array) -> Float:
    """Kernel (K, K) float32 of unit sum: a straight stroke of `way` (x, y) px about its middle."""
    way = way * min(1.0, MAX_BLUR_PX / float(np.hypot(*way)))
    reach = int(np.ceil(np.abs(way).max() / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for t in np.linspace(-0.5, 0.5, 2 * int(np.ceil(np.hypot(*way))) + 1):
        x, y = way * t + reach
        x0, y0 = int(x), int(y)
        for dy, wy in ((0, 1 - (y - y0)), (1, y - y0)):
            for dx, wx in ((0, 1 - (x - x0)), (1, x - x0)):
                kernel[min(y0 + dy, 2 * reach), min(x0 + dx, 2 * reach)] += wy * wx
    return kernel / kernel.sum()


def composite(
    rng: np.random.Generator,
    codes: Codes,
    laid: Layer,
    ev: float,
    behind: tuple[Float, Mask],
    stored: SourceFormat,
    noise: Noise,
) -> Codes:
    """A frame with pieces in it, as a camera would have taken it.

    Where the frame clips, what shows through a soft edge is what the label knows. Noise is added
    to what is left of the frame's own, up to that of a real pixel as bright.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the noise.
    codes : (P, P, 3) uint8 or uint16
        The frame without pieces.
    laid : Laid
        The pieces as it sees them.
    ev : float
        Its exposure in stops relative to the shortest frame.
    behind : (P, P, 3) float32, (P, P) bool
        Radiance of the label without pieces, and where it is known.
    stored : SourceFormat
        How the camera stored its codes.
    noise : Noise
        Full well and read noise in electrons.
    """
    touched = (laid.passes[..., 0] < 1) | (laid.lit[..., 0] < 1)
    x, y, w, h = cv2.boundingRect(touched.astype(np.uint8))
    if not w:
        return codes
    at = np.s_[y : y + h, x : x + w]
    frame, exposure, depth = decode(codes[at]), np.float32(2.0**ev), bit_depth(codes)
    beyond = frame >= 1
    there = np.where(beyond, np.maximum(behind[0][at] * exposure, 1), frame)
    lit = np.where(can_be_shaded(frame, behind[0][at], behind[1][at]), laid.lit[at], 1)
    passes = laid.passes[at] * lit
    level = there * passes + laid.light[at] * exposure
    seen = np.minimum(level, 1)
    # Codes are rounded once more when they are stored, which the noise need not hold.
    own = np.where(beyond, 0, noise_variance(frame, stored, noise)) * passes * passes
    rounding = SourceFormat(bits=depth).code_width(seen) ** 2 * np.float32(1 / 12)
    missing = np.maximum(noise_variance(seen, stored, noise) - own - rounding, 0)
    level = level + rng.standard_normal(level.shape, np.float32) * np.sqrt(missing)
    out = codes.copy()
    out[at] = np.where(touched[at][..., None], encode(level, depth), codes[at])
    return out


def can_be_shaded(frame: Float, label: Float, known: Mask) -> Mask:
    """Where a shadow shows, (P, P, 1) bool: lamps have none, and what clips has to be known."""
    dim = (max_channel(frame) < 1) | (known & (max_channel(label) < 1))
    return np.asarray(dim[..., None])
