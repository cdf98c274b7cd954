"""Trust in each pixel of a label.

SS-HDR (arXiv 2203.12311) trusts whole cells. SelfHDR (arXiv 2310.01840) trusts the pixels at which
label and reference differ little. Trust by the evidence that a pixel is static is ours.
"""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Array, Float, Mask, max_channel
from labelgen.core.recipe import Recipe
from labelgen.core.response import mu_law
from labelgen.core.settings import Fusion
from labelgen.core.tiles import covering_boxes, pad_region, relative_region
from labelgen.labels.cues import Cues
from labelgen.labels.difference import GRADIENT_RADIUS, gradient_magnitude
from labelgen.labels.fusion import triangle_weight

UNTRUSTED, STATIC, REFERENCE = np.uint8(0), np.uint8(1), np.uint8(2)
"""What the label of a pixel rests on: nothing, all frames, or the reference and the frames that
agree with it there."""

EDGE_BORDER = GRADIENT_RADIUS
"""Distance (px) of the farthest pixel that the trust in an edge depends on."""
MIN_EVIDENCE = 1e-3
"""Share of static pixels that is added around every clipped one. A pixel with hardly any evidence
nearby, for or against motion, is thereby trusted as if it were static."""


def cell_borders(size: tuple[int, int], patch: int) -> tuple[list[int], list[int]]:
    """Borders of the grid of co-located cells: the fewest equal cells no larger than a patch.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    patch : int
        Side of a patch in pixels.

    Returns
    -------
    ys, xs : list of int
        Borders in pixels, first 0, last the height or width.

    Examples
    --------
    >>> ys, xs = cell_borders((1000, 1500), 128)
    >>> len(ys) - 1, len(xs) - 1, xs[1]
    (8, 12, 125)
    """
    ys, xs = ([round(k * n / -(-n // patch)) for k in range(-(-n // patch) + 1)] for n in size)
    return ys, xs


def trust_cells(cues: Cues, borders: tuple[list[int], list[int]], recipe: Recipe) -> Array:
    """Decide for whole cells what their label rests on, as SS-HDR does.

    A cell is STATIC if few of its pixels move in any frame. Otherwise it is REFERENCE if few of its
    pixels are clipped or dark in the reference, and UNTRUSTED if not.

    Parameters
    ----------
    cues : Cues
        Motion and exposure cues.
    borders : (list of int, list of int)
        Borders of the cells in y and x, first 0, last the height or width of the cues.
    recipe : Recipe
        Its motion and exposure settings.

    Returns
    -------
    (H, W) uint8
        STATIC, REFERENCE or UNTRUSTED, the same within a cell.
    """
    ys, xs = borders

    def cell_shares(mask: Mask) -> Array:
        rows = np.add.reduceat(mask.astype(np.float64), ys[:-1], 0)
        return np.asarray(np.add.reduceat(rows, xs[:-1], 1) / np.outer(np.diff(ys), np.diff(xs)))

    static = np.logical_and.reduce(
        [cell_shares(~mask) <= recipe.motion.cell_share for mask in cues.static_frames]
    )
    exposed = (cell_shares(cues.clipped) <= recipe.exposure.clipped_share) & (
        cell_shares(cues.dark) <= recipe.exposure.dark_share
    )
    kind = np.where(static, STATIC, np.where(exposed, REFERENCE, UNTRUSTED))
    return kind.repeat(np.diff(ys), 0).repeat(np.diff(xs), 1)


def trust_difference(fused: Float, reference: Float, code: Float, recipe: Recipe) -> Array:
    """Trust the pixels whose label is close to the reference, as SelfHDR does.

    The difference is taken in the mu-law domain and multiplied by the triangle weight of the
    reference, which is 0 where it clips: clipped pixels are trusted whatever their label.

    Parameters
    ----------
    fused, reference : (H, W, 3) float32
        Radiance, 1.0 where the shortest frame clips.
    code : (H, W, 3) float32
        Code of the reference, 0 to 1.
    recipe : Recipe
        Its fusion settings.

    Returns
    -------
    (H, W) uint8
        STATIC or UNTRUSTED.
    """
    difference = np.abs(mu_law(fused) - mu_law(reference)) * triangle_weight(code)
    return np.where(max_channel(difference) <= recipe.fusion.difference, STATIC, UNTRUSTED)


def trust_clipped(cues: Cues, fused: Float, settings: Fusion) -> Float:
    """Trust in the shorter frames where the reference clips, and so cannot contradict them.

    Two things lower it. Something bright may move there, which the reference cannot show: moving
    pixels nearby make that likely, static ones unlikely. And the alignment may be wrong, which
    matters at edges. Where the reference does not clip, the motion cue would find that error.

    Parameters
    ----------
    cues : Cues
        Motion and exposure cues.
    fused : (H, W, 3) float32
        Radiance of the label, 1.0 where the shortest frame clips.
    settings : Fusion
        Its `doubt`, `around`, `misplaced` and `tolerance`.

    Returns
    -------
    (H, W) float32
        0 to 1; 1 wherever the reference is not clipped.
    """
    trust = np.ones(cues.clipped.shape, np.float32)
    # If the reference is the shortest frame, its clipped pixels are 1.0 whether they move or not.
    if cues.reference == 0 or not cues.clipped.any():
        return trust
    shorter = range(cues.reference)
    valid = np.logical_and.reduce([cues.aligned[i].valid for i in shorter])
    static = np.logical_and.reduce([cues.static_frames[i] for i in shorter])
    moving_share = _share_nearby(valid & ~static, settings.around)
    static_share = _share_nearby(static & ~cues.clipped, settings.around)
    static_trust = (static_share + MIN_EVIDENCE) / (
        static_share + settings.doubt * moving_share + MIN_EVIDENCE
    )
    for box in covering_boxes(cues.clipped, EDGE_BORDER):
        padded = pad_region(box, cues.clipped.shape, EDGE_BORDER)
        gradient = _max_gradient(mu_law(fused[padded]))[relative_region(box, padded)]
        edge_trust = tolerate(gradient * np.float32(settings.misplaced), settings)
        np.copyto(trust[box], static_trust[box] * edge_trust, where=cues.clipped[box])
    return trust


def _max_gradient(image: Float) -> Float:
    """Largest gradient magnitude (H, W) of the channels of (H, W, 3)."""
    return np.maximum.reduce([gradient_magnitude(channel) for channel in cv2.split(image)])


def _share_nearby(mask: Mask, sigma: float) -> Float:
    """Share (H, W) of pixels around each one that a mask (H, W) sets, 0 to 2.

    It is the sum of two weighted means, by Gaussians of one and of two `sigma` px, and is computed
    on a downsampled mask, see `_downsampling`.
    """
    h, w = mask.shape
    k = _downsampling(sigma)
    small = cv2.resize(
        mask.astype(np.float32), (-(-w // k), -(-h // k)), interpolation=cv2.INTER_AREA
    )
    shares = sum(_gaussian(small, n * sigma / k) for n in (1, 2))
    return np.asarray(cv2.resize(shares, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _downsampling(sigma: float) -> int:
    """Factor by which masks are downsampled before a Gaussian of `sigma` px.

    The narrower Gaussian stays two downsampled pixels wide. All factors divide the 8 px at whose
    multiples regions begin (`pad_region`), so the grid is the same in every tile.
    """
    return max(k for k in (1, 2, 4, 8) if k <= max(1, sigma / 2))


def _gaussian(image: Float, sigma: float) -> Float:
    side = 2 * _gaussian_radius(sigma) + 1
    return cv2.GaussianBlur(image, (side, side), sigma)


def _gaussian_radius(sigma: float) -> int:
    """Radius in px at which Gaussians of images end, about four standard deviations."""
    return (round(8 * sigma + 1) | 1) // 2


def around_receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that is evidence about a clipped one."""
    sigma, k = recipe.fusion.around, _downsampling(recipe.fusion.around)
    # The result is interpolated between neighbours, one downsampled pixel away.
    return k * (_gaussian_radius(2 * sigma / k) + 1) + (k - 1) // 2


def tolerate(error: Float, settings: Fusion) -> Float:
    """Trust (H, W), 1 to 0, for an error (H, W) in mu-law; one half at the tolerance."""
    return np.asarray(1 / (1 + np.square(error * np.float32(1 / settings.tolerance))), np.float32)
