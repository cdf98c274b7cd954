"""Composite moving objects into real frames, as a camera would have recorded them.

The radiance of an object is known, so the label is exact where the reference shows it. The frames
show it exposed, clipped, with motion blur and with the noise of a real pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, Mask, max_channel
from labelgen.core.response import SourceFormat, bit_depth, decode, encode
from labelgen.core.settings import Noise, Pieces
from labelgen.labels.difference import noise_variance
from labelgen.samples.moving_objects import Background, MovingObject

MIN_OPAQUE_COVER = 0.98
"""Coverage from which on nothing of the background shows through."""
MAX_BLUR_PX = 24.0
"""Longer motion blur is shortened to this."""


@dataclass(frozen=True)
class Layer:
    """All moving objects as one frame sees them.

    A pixel of the background becomes `background * shading * transmittance + radiance`.
    """

    radiance: Float
    """(P, P, 3) float32: radiance of the objects times their coverage."""
    transmittance: Float
    """(P, P, 1) float32: how much of the background shows through."""
    shading: Float
    """(P, P, 1) float32: how much of its light the shadows leave to the background."""


def render_layer(
    objects: Sequence[MovingObject], i: int, background: Background, settings: Pieces
) -> Layer:
    """Render the objects, from back to front, as frame i sees them: shadows and motion blur.

    Blur grows with the exposure time: `settings.blur` of the motion per frame in the longest one.
    """
    side = len(background.clipped)
    radiance = np.zeros((side, side, 3), np.float32)
    transmittance = shading = np.ones((side, side, 1), np.float32)
    exposure = settings.blur * 2.0 ** (background.ev[i] - max(background.ev))
    for obj in objects:
        image = _render_object(obj, i, side, obj.velocity * exposure)
        transparent = 1 - image[..., 3:]
        if obj.shadow is not None:
            shadow = _cast_shadow(image[..., 3], obj.shadow)
            remaining = (1 - np.float32(settings.shade) * shadow)[..., None]
            radiance, shading = radiance * remaining, shading * remaining
        radiance = radiance * transparent + image[..., :3]
        transmittance = transmittance * transparent
    return Layer(radiance, transmittance, shading)


def _render_object(obj: MovingObject, i: int, side: int, blur: Array) -> Float:
    """Render one object in frame i: (P, P, 4) float32, radiance times coverage, and coverage."""
    ys, xs = np.mgrid[:side, :side].astype(np.float32)
    (a, b, c), (d, e, f) = obj.poses[i].astype(np.float32)
    ripple = cv2.resize(obj.ripples[i], (side, side), interpolation=cv2.INTER_CUBIC)
    u, v = a * xs + b * ys + c + ripple[..., 0], d * xs + e * ys + f + ripple[..., 1]
    image = cv2.remap(obj.image, u, v, cv2.INTER_LINEAR)
    if np.hypot(*blur) > 0.5:
        image = cv2.filter2D(image, -1, motion_blur_kernel(blur), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(image, np.float32)


def _cast_shadow(coverage: Float, offset: Array) -> Float:
    """Shadow (P, P) of an object, 0 to 1, shifted by (x, y) px and softer with distance."""
    side = len(coverage)
    shift = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
    shadow = cv2.warpAffine(np.ascontiguousarray(coverage), shift, (side, side))
    return cv2.GaussianBlur(shadow, (0, 0), 1 + float(np.hypot(*offset)) / 4)


def motion_blur_kernel(motion: Array) -> Float:
    """Return the blur kernel of a straight motion.

    Parameters
    ----------
    motion : (2,) float
        Motion (x, y) in px while the shutter is open.

    Returns
    -------
    (K, K) float32
        A line of that length through the centre, sum 1.
    """
    motion = motion * min(1.0, MAX_BLUR_PX / float(np.hypot(*motion)))
    reach = int(np.ceil(np.abs(motion).max() / 2)) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for t in np.linspace(-0.5, 0.5, 2 * int(np.ceil(np.hypot(*motion))) + 1):
        x, y = motion * t + reach
        x0, y0 = int(x), int(y)
        for dy, wy in ((0, 1 - (y - y0)), (1, y - y0)):
            for dx, wx in ((0, 1 - (x - x0)), (1, x - x0)):
                kernel[min(y0 + dy, 2 * reach), min(x0 + dx, 2 * reach)] += wy * wx
    return kernel / kernel.sum()


def composite(
    rng: np.random.Generator,
    codes: Codes,
    layer: Layer,
    ev: float,
    label: tuple[Float, Mask],
    source: SourceFormat,
    noise: Noise,
) -> Codes:
    """Composite moving objects into a frame, as a camera would have recorded them.

    Noise is added up to that of a real pixel of the same brightness; what remains of the frame's
    own noise counts. Where the frame clips, the background behind soft edges and shadows is the
    label.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the noise.
    codes : (P, P, 3) uint8 or uint16
        The frame without objects.
    layer : Layer
        The objects as this frame sees them.
    ev : float
        Exposure of the frame in stops relative to the shortest.
    label : (P, P, 3) float32, (P, P) bool
        Radiance of the label without objects, and where it is trusted.
    source : SourceFormat
        Format in which the camera stored the frame.
    noise : Noise
        Full well and read noise in electrons.

    Returns
    -------
    (P, P, 3) uint8 or uint16
        As `codes`. Pixels that no object or shadow touches are unchanged.
    """
    touched = (layer.transmittance[..., 0] < 1) | (layer.shading[..., 0] < 1)
    x, y, w, h = cv2.boundingRect(touched.astype(np.uint8))
    if not w:
        return codes
    box = np.s_[y : y + h, x : x + w]
    frame, exposure, depth = decode(codes[box]), np.float32(2.0**ev), bit_depth(codes)
    radiance, trusted = label[0][box], label[1][box]
    clipped = frame >= 1
    background = np.where(clipped, np.maximum(radiance * exposure, 1), frame)
    shading = np.where(can_be_shaded(frame, radiance, trusted), layer.shading[box], 1)
    transmittance = layer.transmittance[box] * shading
    light = background * transmittance + layer.radiance[box] * exposure
    recorded = np.minimum(light, 1)
    own_variance = np.where(clipped, 0, noise_variance(frame, source, noise))
    own_variance = own_variance * transmittance * transmittance
    # Encoding rounds once more, and that noise need not be added.
    rounding = SourceFormat(bits=depth).code_width(recorded) ** 2 * np.float32(1 / 12)
    missing = np.maximum(noise_variance(recorded, source, noise) - own_variance - rounding, 0)
    light = light + rng.standard_normal(light.shape, np.float32) * np.sqrt(missing)
    result = codes.copy()
    result[box] = np.where(touched[box][..., None], encode(light, depth), codes[box])
    return result


def can_be_shaded(frame: Float, label: Float, trusted: Mask) -> Mask:
    """Return where a shadow can fall, (P, P, 1) bool: on what is not clipped, as lamps are.

    A pixel is not clipped if the frame shows it, or a trusted label knows it.
    """
    unclipped = (max_channel(frame) < 1) | (trusted & (max_channel(label) < 1))
    return np.asarray(unclipped[..., None])
