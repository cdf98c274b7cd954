"""The noise of a camera at an ISO, measured in the frames themselves: photon and read noise.

Photon noise and read noise are enough for most frames (Foi 2008, doi:10.1109/TIP.2008.2001399;
Hasinoff 2010, doi:10.1109/CVPR.2010.5540167): variance is a linear function of light. It is
measured in the highest frequencies of small blocks, as Immerkaer 1996 (doi:10.1006/cviu.1996.0060)
does in whole images. Flat blocks are chosen by their lower frequencies (Ponomarenko's method, in
Colom and Buades 2013, doi:10.5201/ipol.2013.45). The transform is orthonormal, so the lower
frequencies of white noise are independent of the higher ones, and the choice adds no bias.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, PackedRows, median
from labelgen.core.response import GAMMA, GAMMA22, NAMED_RESPONSES, Response, SourceFormat, decode
from labelgen.core.settings import Noise

Row = tuple[float, float, float, float]
"""Noise at one level of light: mean light, standard deviation at full and at half resolution (0 if
unknown), number of blocks."""

SIDE = 8
"""Side of a block in px."""
MIN_FREQUENCY = 10
"""Noise is measured at frequencies (vertical + horizontal index, 0 to 14) of at least this. A scene
has least detail there."""
LEVELS = 16
"""Number of levels, which divide the fourth root of light evenly. They are finer in the dark, where
read noise shows."""
FLAT_SHARE = 0.05
"""Share of the blocks of a level, the flattest ones, that is used."""
MIN_BLOCKS = 3
"""A level needs this many flat blocks."""
PIXELS = 2.5e5
"""Of a larger frame, only strips of about this many pixels in all are used."""
MAX_LIGHT = 0.85
"""Levels above are left out, because many cameras clip there or bend their curve."""
MIN_ROWS = 12
"""A fit needs this many rows."""
MIN_LIGHT_RATIO = 4.0
"""A fit needs this ratio of its brightest to its darkest level. Over a smaller range, photon and
read noise cannot be told apart."""
BLACK_BLOCKS = 2.0
"""Frames show hardly any read noise, because few of their blocks are black. So this many black
blocks with the default read noise are added to the data, as a prior."""
FIT_ROUNDS = 12
"""Rounds of reweighted least squares."""
TEXTURE_TOLERANCE = 0.15
"""Distance from the line, in log variance, at which the weight of a row is halved. Texture raises
the variance of some rows."""
MAX_SCATTER = 0.5
"""Largest median distance of the rows from the line, in log variance. With a larger one, there is
no linear relation."""
MAX_WHITE_RATIO = 2.0
"""Variance at half resolution over that at full resolution, up to which noise counts as white."""
WHITE_QUANTILE = 0.1
"""The ratio is this quantile of all rows. Texture makes it larger, and many levels have some."""
MIN_ROUNDINGS = 1.5
"""Rows are used if their variance is this many times that of the rounding to codes. Less noise
hardly ever changes a code, so it cannot be measured."""
MAX_ROW_BLOCKS = 50.0
"""The weight of a row grows with its number of blocks up to this number."""


def observe_noise(codes: Codes) -> list[Row]:
    """Measure the noise of the flattest blocks of a frame, by channel and level.

    The codes are decoded as gamma 2.2 for every camera; `fit_noise` corrects that. At half
    resolution, a pixel is the mean of 2 x 2 px, and the standard deviation is multiplied by 2. So
    it equals that at full resolution if the noise is white, and is larger if the noise is smooth.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        A frame at full resolution. Downsampling would average its noise out.

    Returns
    -------
    list of Row
        At most `LEVELS` for each channel.
    """
    # Shifted by half a block, so that the steps between JPEG blocks lie within blocks and count.
    light = decode(_strips(codes[SIDE // 2 :, SIDE // 2 :]))
    rows: list[Row] = []
    for full in cv2.split(light):
        fine, coarse = _levels(full), _levels(_half_resolution(full))
        for level, (mean, variance, count) in fine.items():
            # Noise of three standard deviations must not reach black, which would cut it off.
            if 9 * variance < mean**2 and mean < MAX_LIGHT:
                smooth = 4 * coarse[level][1] if level in coarse else 0.0
                values = (mean, variance**0.5, smooth**0.5)
                rows.append((*(float(f"{v:.5g}") for v in values), float(count)))  # type: ignore[arg-type]
    return rows


def _strips(codes: Codes) -> Codes:
    """Strips of two rows of blocks, evenly spaced over a frame, one below the other."""
    height, width = (n // (2 * SIDE) * 2 * SIDE for n in codes.shape[:2])
    strips = codes[:height, :width].reshape(height // (2 * SIDE), 2 * SIDE, width, 3)
    chosen = strips[:: max(1, round(height * width / PIXELS))]
    return chosen.reshape(len(chosen) * 2 * SIDE, width, 3)


def _half_resolution(image: Float) -> Float:
    quarters = image[::2, ::2] + image[1::2, ::2] + image[::2, 1::2] + image[1::2, 1::2]
    return quarters * np.float32(0.25)


def _high_frequencies() -> Float:
    """Basis (N, SIDE^2) float32 of the highest frequencies of the orthonormal cosine transform."""
    index = np.arange(SIDE)
    waves = np.sqrt(2 / SIDE) * np.cos(np.pi * np.outer(index, 2 * index + 1) / (2 * SIDE))
    pairs = [(i, j) for i in index for j in index if i + j >= MIN_FREQUENCY]
    return np.stack([np.outer(waves[i], waves[j]).ravel() for i, j in pairs]).astype(np.float32)


def _levels(image: Float) -> dict[int, tuple[float, float, int]]:
    """Measure the flat blocks of a channel of light (H, W), by level.

    Returns
    -------
    dict of int to (float, float, int)
        Mean light, variance of the noise, and number of flat blocks. Levels with too few are left
        out.
    """
    h, w = (n // SIDE for n in image.shape)
    whole = image[: h * SIDE, : w * SIDE].reshape(h, SIDE, w, SIDE)
    blocks = whole.swapaxes(1, 2).reshape(-1, SIDE * SIDE)
    blocks = blocks[blocks.max(1, initial=0) < 1]
    basis = _high_frequencies()
    mean = blocks.mean(1)
    blocks = blocks - mean[:, None]
    # einsum, not BLAS: sums of the latter may depend on the number of threads.
    coefficients = np.einsum("nk,fk->nf", blocks, basis)
    high, energy = (np.einsum("nk,nk->n", x, x) for x in (coefficients, blocks))
    low = energy - high
    level = (mean**0.25 * LEVELS).astype(int)
    levels: dict[int, tuple[float, float, int]] = {}
    for k in range(LEVELS):
        members = np.flatnonzero(level == k)
        count = int(np.ceil(FLAT_SHARE * len(members)))
        if count >= MIN_BLOCKS:
            flat = members[np.argpartition(low[members], count - 1)[:count]]
            # chi squared has a mean of len(basis), and a median that is lower by two thirds.
            variance = median(high[flat]) / (len(basis) - 2 / 3)
            levels[k] = float(mean[flat].mean()), variance, count
    return levels


def fit_noise(
    rows: Sequence[Row] | PackedRows, response: Response, bits: int
) -> tuple[float, float] | None:
    """Fit full well and read noise of a camera at an ISO, in electrons.

    Smooth noise (after demosaicing, denoising or JPEG) is scaled to its value at half resolution.
    Less noise than the defaults of `Noise` is accepted only if it is white and the response is a
    named one. Otherwise an unknown part of the noise may have been smoothed away, or errors of an
    estimated curve may exceed the noise of a quiet camera; static pixels would then seem to move.

    Parameters
    ----------
    rows : sequence of Row, or PackedRows
        Rows of all frames, as `observe_noise` returns them.
    response : Response
        Response of the camera.
    bits : int
        Bits of a code.

    Returns
    -------
    (float, float) or None
        Full well and read noise, within the ranges of `Noise`. None if there are too few rows or
        levels, if they do not follow a line, if noise is below the rounding of codes, or if less
        noise than the default is not accepted.
    """
    table = np.array(rows, np.float64).reshape(-1, 4)
    light, slope = _true_light(table[:, 0], response)
    step = SourceFormat(response, bits).code_width(light.astype(np.float32)).astype(np.float64)
    rounding = step**2 / 12
    variance = (table[:, 1] * slope) ** 2
    both = table[:, 1:3].min(1) > 0  # measured at both resolutions
    if both.sum() < MIN_ROWS / 2:
        return None
    ratio = float(np.quantile(np.square(table[both, 2] / table[both, 1]), WHITE_QUANTILE))
    usable = variance > MIN_ROUNDINGS * rounding
    if usable.mean() < 0.5 or usable.sum() < MIN_ROWS:
        return None
    light, variance, rounding = light[usable], variance[usable], rounding[usable]
    if light.max() < MIN_LIGHT_RATIO * light.min():
        return None
    gain, floor, scatter = _fit_line(light, variance - rounding, rounding, table[usable, 3])
    if scatter > MAX_SCATTER or gain <= 0:
        return None
    if ratio > MAX_WHITE_RATIO:
        gain, floor = ratio * gain, ratio * floor
    default, limits = Noise(), _setting_ranges()
    well = float(np.clip(1 / gain, *limits["full_well"]))
    read = float(np.clip(np.sqrt(floor) * well, *limits["read"]))
    if ratio > MAX_WHITE_RATIO or response.name not in NAMED_RESPONSES:
        if well > default.full_well:
            return None
        read = max(read, default.read)
    return float(f"{well:.4g}"), float(f"{read:.3g}")


def _fit_line(
    light: Array, variance: Array, rounding: Array, count: Array
) -> tuple[float, float, float]:
    """Fit a line to the variance (N,) of the noise over light (N,).

    The error of a variance is proportional to it. Rows far from the line are likely to be textured,
    so they get less weight.

    Parameters
    ----------
    light, variance : (N,) float64
        Linear light, and its variance without that of rounding.
    rounding : (N,) float64
        Variance of the rounding to codes.
    count : (N,) float64
        Numbers of blocks.

    Returns
    -------
    gain, floor : float
        Slope and offset of the line, both at least 0.
    scatter : float
        Median distance of the rows from the line, in log variance.
    """
    columns = np.stack([light, np.ones_like(light)], 1)
    model, blocks = variance + rounding, np.minimum(count, MAX_ROW_BLOCKS)
    weight, black_variance = blocks, 0.0
    for _ in range(FIT_ROUNDS):
        scale = np.sqrt(weight) / model
        design, target = columns * scale[:, None], variance * scale
        if black_variance:
            design = np.vstack([design, (0, np.sqrt(BLACK_BLOCKS) / black_variance)])
            target = np.append(target, np.sqrt(BLACK_BLOCKS))
        gain, floor = nonnegative_least_squares(design, target)
        model = columns @ (gain, floor) + rounding
        residual = np.log((variance + rounding) / model)
        weight = blocks / (1 + np.square(residual / TEXTURE_TOLERANCE))
        black_variance = (Noise().read * gain) ** 2
    return float(gain), float(floor), float(np.median(np.abs(residual)))


def nonnegative_least_squares(design: Array, target: Array) -> Array:
    """Solve linear least squares for two unknowns of at least 0.

    SciPy has this too, but importing it takes as long as starting a worker.

    Parameters
    ----------
    design : (N, 2) float64
        Design matrix, not negative.
    target : (N,) float64
        Values to fit.

    Returns
    -------
    (2,) float64

    Examples
    --------
    >>> design = np.array([[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    >>> nonnegative_least_squares(design, np.array([0.0, 1.0, 2.0])).round(2).tolist()
    [0.57, 0.0]
    """
    solution = np.linalg.lstsq(design, target)[0]
    if solution.min() >= 0:
        return np.asarray(solution)
    # One unknown is 0. Fit each column alone, and take the one that explains more of the target.
    product = np.maximum(design.T @ target, 0)
    alone = product / np.square(design).sum(0)
    explained = product * alone
    return np.where(explained == np.max(explained), alone, 0.0)


def _true_light(level: Array, response: Response) -> tuple[Array, Array]:
    """Correct light (N,) that was decoded as gamma 2.2; also the derivative (N,) of the result."""
    if response == GAMMA22:
        return level, np.ones_like(level)
    grid = np.linspace(0, 1, 4096)
    codes = grid[:, None].repeat(3, 1)
    true = (response.gamma_code(codes) ** GAMMA).mean(1)
    code = level ** (1 / GAMMA)
    slope = np.interp(code, grid, np.gradient(true, grid))
    return np.interp(code, grid, true), slope / (GAMMA * code ** (GAMMA - 1))


def _setting_ranges() -> dict[str, tuple[float, float]]:
    fields = Noise.__dataclass_fields__
    return {name: fields[name].metadata["allowed"] for name in ("full_well", "read")}
