"""The noise of a camera at an ISO, from the frames themselves: photons and read-out.

Photon noise and read noise are all that most frames need (Foi 2008, doi:10.1109/TIP.2008.2001399;
Hasinoff 2010, doi:10.1109/CVPR.2010.5540167): variance grows in a straight line with light. It is
read off the highest frequencies of small blocks, as Immerkaer 1996 (doi:10.1006/cviu.1996.0060)
does of whole images. Which blocks are flat the lower frequencies of the same block tell
(Ponomarenko's method, in Colom and Buades 2013, doi:10.5201/ipol.2013.45): the transform is
orthonormal, so of white noise they know nothing of the higher ones, and the choice adds no bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, PackedRows, median
from labelgen.core.response import GAMMA, GAMMA22, NAMED_RESPONSES, Response, SourceFormat, decode
from labelgen.core.settings import Noise

Row = tuple[float, float, float, float]
"""Light, standard deviation at full and at half resolution (0: unknown), blocks it rests on."""

SIDE = 8
"""Side of a block in px."""
HIGH = 10
"""Frequencies (vertical + horizontal, 0 to 14) from here on are noise: a scene has least there."""
BINS = 16
"""Levels are binned by the fourth root of light: finer in the dark, where read-out shows."""
FLATTEST = 0.05
"""Share of the blocks of a level that is taken for flat."""
MIN_BLOCKS = 3
PIXELS = 2.5e5
"""Of larger frames strips are looked at, so many pixels in all."""
BRIGHTEST = 0.85
"""Light above which many cameras bend their curve or clip."""
MIN_ROWS = 12
MIN_RANGE = 4.0
"""Brightest over darkest level: without some range, photons and read-out look the same."""
BLACK = 2.0
"""Read-out hardly shows above black: as if so many black blocks had shown the default of it."""
ROUNDS = 12
TOLERANCE = 0.15
"""In log variance: what lies further off the line than this counts less, as texture does."""
SCATTER = 0.5
"""In log variance, median: rows further apart follow no line at all."""
WHITE = 2.0
"""Variance at half over that at full resolution, up to which noise is white, give or take."""


def observe_noise(codes: Codes) -> list[Row]:
    """The noise of the flattest blocks of a frame, by channel and level.

    Light is that of gamma 2.2, whatever the camera; `fit_noise` knows better. Half resolution are
    means of 2 x 2 px, their standard deviation times 2: the same if noise is white, more if it is
    smooth.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        A frame at full resolution, for noise does not outlive reduction.

    Returns
    -------
    list of Row
        At most `BINS` for each channel.
    """
    # Off the grid of 8 x 8 px of JPEG, which would show in no block.
    light = decode(_strips(codes[SIDE // 2 :, SIDE // 2 :]))
    rows: list[Row] = []
    for full in cv2.split(light):
        fine, coarse = _levels(full), _levels(_halved(full))
        for level, (mean, variance, count) in fine.items():
            # A block may reach below black or above the clip only where that hardly ever happens.
            if 9 * variance < mean**2 and mean < BRIGHTEST:
                smooth = 4 * coarse[level][1] if level in coarse else 0.0
                values = (mean, variance**0.5, smooth**0.5)
                rows.append((*(float(f"{v:.5g}") for v in values), float(count)))  # type: ignore[arg-type]
    return rows


def _strips(codes: Codes) -> Codes:
    """Strips of two rows of blocks, evenly over a frame."""
    height, width = (n // (2 * SIDE) * 2 * SIDE for n in codes.shape[:2])
    strips = codes[:height, :width].reshape(height // (2 * SIDE), 2 * SIDE, width, 3)
    kept = strips[:: max(1, round(height * width / PIXELS))]
    return kept.reshape(len(kept) * 2 * SIDE, width, 3)


def _halved(image: Float) -> Float:
    quarters = image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]
    return quarters * np.float32(0.25)


def _high() -> Float:
    """The highest frequencies of the orthonormal cosine transform, (frequencies, SIDE^2)."""
    at = np.arange(SIDE)
    waves = np.sqrt(2 / SIDE) * np.cos(np.pi * np.outer(at, 2 * at + 1) / (2 * SIDE))
    pairs = [(i, j) for i in at for j in at if i + j >= HIGH]
    return np.stack([np.outer(waves[i], waves[j]).ravel() for i, j in pairs]).astype(np.float32)


def _levels(image: Float) -> dict[int, tuple[float, float, int]]:
    """Mean light, variance of the noise, and number of flat blocks of (H, W) light, by level."""
    h, w = (n // SIDE for n in image.shape)
    cut = image[: h * SIDE, : w * SIDE].reshape(h, SIDE, w, SIDE)
    blocks = cut.swapaxes(1, 2).reshape(-1, SIDE * SIDE)
    blocks = blocks[blocks.max(1, initial=0) < 1]
    waves = _high()
    mean = blocks.mean(1)
    blocks = blocks - mean[:, None]
    # Not by BLAS, whose sums may depend on the number of threads.
    waved = np.einsum("nk,fk->nf", blocks, waves)
    high, low = (np.einsum("nk,nk->n", x, x) for x in (waved, blocks))
    low -= high
    level = (mean**0.25 * BINS).astype(int)
    found: dict[int, tuple[float, float, int]] = {}
    for k in range(BINS):
        inside = np.flatnonzero(level == k)
        count = int(np.ceil(FLATTEST * len(inside)))
        if count >= MIN_BLOCKS:
            flat = inside[np.argpartition(low[inside], count - 1)[:count]]
            # The median of chi squared is two thirds below its mean, the degrees of freedom.
            variance = median(high[flat]) / (len(waves) - 2 / 3)
            found[k] = float(mean[flat].mean()), variance, count
    return found


def fit_noise(
    rows: Sequence[Row] | PackedRows, response: Response, bits: int
) -> tuple[float, float] | None:
    """Full well and read noise of a camera at an ISO, in electrons.

    Smooth noise (of demosaicing, denoising, JPEG) is scaled to what it is at half resolution. Less
    than the defaults of `Noise` is believed only of white noise under a curve that
    is exact: nobody knows how much was smoothed away, and an estimated curve is itself off by more
    than the noise of a quiet camera, so that still frames would seem to differ.

    Parameters
    ----------
    rows : sequence of Row, or packed
        Of all frames (`observe_noise`).
    response : Response
        Of the camera.
    bits : int
        Per sample of the codes.

    Returns
    -------
    tuple of float or None
        Within the ranges of `Noise`. None where the rows don't tell: too few of them, of too few
        levels, on no line, less than the rounding of codes; or less than is believed.
    """
    table = np.array(rows, np.float64).reshape(-1, 4)
    light, slope = _light(table[:, 0], response)
    width = SourceFormat(response, bits).code_width(light.astype(np.float32)).astype(np.float64)
    rounding = width**2 / 12
    variance = (table[:, 1] * slope) ** 2
    both = table[:, 1:3].min(1) > 0
    if both.sum() < MIN_ROWS / 2:
        return None
    # Texture makes the ratio larger, and many levels have some: the smallest ones tell.
    smooth = float(np.quantile(np.square(table[both, 2] / table[both, 1]), 0.1))
    # Codes that hardly ever differ by one show no noise: how much less than that is open.
    seen = variance > 1.5 * rounding
    if seen.mean() < 0.5 or seen.sum() < MIN_ROWS:
        return None
    light, variance, rounding = light[seen], variance[seen], rounding[seen]
    if light.max() < MIN_RANGE * light.min():
        return None
    gain, floor, scatter = _fit_line(light, variance - rounding, rounding, table[seen, 3])
    if scatter > SCATTER or gain <= 0:
        return None
    if smooth > WHITE:
        gain, floor = smooth * gain, smooth * floor
    default, limits = Noise(), _limits()
    well = float(np.clip(1 / gain, *limits["full_well"]))
    read = float(np.clip(np.sqrt(floor) * well, *limits["read"]))
    if smooth > WHITE or response.name not in NAMED_RESPONSES:
        if well > default.full_well:
            return None
        read = max(read, default.read)
    return float(f"{well:.4g}"), float(f"{read:.3g}")


def _fit_line(
    light: Array, variance: Array, rounding: Array, count: Array
) -> tuple[float, float, float]:
    """Slope and offset of variance over light, neither below 0, and what rows are off by.

    Errors are in proportion to the variance; rows above the line are textured and lose weight.
    """
    columns = np.stack([light, np.ones_like(light)], 1)
    model, weight = variance + rounding, np.minimum(count, 50.0)
    trust, black = weight, 0.0
    for _ in range(ROUNDS):
        scale = np.sqrt(trust) / model
        rows, seen = columns * scale[:, None], variance * scale
        if black:
            rows = np.vstack([rows, (0, np.sqrt(BLACK) / black)])
            seen = np.append(seen, np.sqrt(BLACK))
        gain, floor = nonnegative_least_squares(rows, seen)
        model = columns @ (gain, floor) + rounding
        off = np.log((variance + rounding) / model)
        trust = weight / (1 + np.square(off / TOLERANCE))
        black = (Noise().read * gain) ** 2
    return float(gain), float(floor), float(np.median(np.abs(off)))


def nonnegative_least_squares(rows: Array, seen: Array) -> Array:
    """Least squares of which neither number is below 0.

    Not by SciPy, which takes as long to import as a worker takes to start.

    Parameters
    ----------
    rows : (N, 2) float64
        The design, not negative.
    seen : (N,) float64
        What it is fitted to.

    Returns
    -------
    (2,) float64
    """
    both = np.linalg.lstsq(rows, seen)[0]
    if both.min() >= 0:
        return np.asarray(both)
    pull = np.maximum(rows.T @ seen, 0)
    alone = pull / np.square(rows).sum(0)
    return np.where(pull * alone == np.max(pull * alone), alone, 0.0)


def _light(level: Array, response: Response) -> tuple[Array, Array]:
    """True light of gamma 2.2 light (N,), and its slope: how much more of it there is."""
    if response == GAMMA22:
        return level, np.ones_like(level)
    grid = np.linspace(0, 1, 4096)
    codes = grid[:, None].repeat(3, 1)
    true = (response.gamma_code(codes) ** GAMMA).mean(1)
    code = level ** (1 / GAMMA)
    slope = np.interp(code, grid, np.gradient(true, grid))
    return np.interp(code, grid, true), slope / (GAMMA * code ** (GAMMA - 1))


def _limits() -> dict[str, tuple[float, float]]:
    fields = Noise.__dataclass_fields__
    return {name: fields[name].metadata["allowed"] for name in ("full_well", "read")}
