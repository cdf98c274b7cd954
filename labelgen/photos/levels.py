"""Find the codes at which the frames of a bracket clip, where these are not the ends of the scale.

Video of limited range has the codes 16 to 235. Editors export with a white of 248 or 250, and some
converters store codes of 14 bits that clip at 15800. What such a frame clips would otherwise be
taken for measured light.

Where a frame clips, its codes pile up at one value, and hardly any lie beyond. Frames of different
exposure pile up at the same code, and the longer ones more. This tells a clip from an object of one
colour, whose code changes with the exposure, and from a caption, which is as large in every frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labelgen.core.arrays import Array, Codes, Mask, apply_lut

UNSCALED_FULL_SCALES = (1023, 4095, 16383)
"""Full scale of 10, 12 and 14 bits. Some programs store such codes in 16 bits without scaling."""
COUNTED = 1_000_000
"""Pixels of a frame whose codes are counted, in evenly spaced rows."""
MIN_PILE = 2e-3
"""Least share of a frame that piles up."""
PEAK_RATIO, PEAK_RANGE = 3.0, 0.1
"""The fullest code of a pile has so many times as many pixels as any other on its inner side,
within this share of the scale."""
EXACT, SPREAD = (0, 0.1), (2, 0.5)
"""How a pile looks: its radius in codes, and the largest share of it that lies beyond. Lossy
compression spreads a pile and rings around it. It is only searched for in codes of 8 bits."""
MIN_GROWTH = 1.1
"""Least ratio of the largest pile to the smallest."""
WHITES, BLACKS = (0.5, 0.99), (0.012, 0.2)
"""Shares of full scale between which a white and a black are believed. Nearer to the ends they
hardly matter."""
MIN_UNSCALED = 512
"""Lowest white of codes of 16 bits, which may be stored unscaled."""


@dataclass(frozen=True)
class Levels:
    """Codes at which the frames of a bracket clip, for each channel or for all of them."""

    black: tuple[int, ...]
    """Code of no light."""
    white: tuple[int, ...]
    """Code from which on a frame clips."""
    top: int
    """Full scale, 255 or 65535."""

    @property
    def remark(self) -> str:
        """Remark for the user; "" for codes of 10, 12 or 14 bits, which are common.

        >>> Levels((0,), (248,), 255).remark
        'white at 248 of 255: taken as the clip'
        """
        white = _listed(self.white)
        if any(self.black):
            black = _listed(self.black)
            return f"black at {black}, white at {white} of {self.top}: stretched to full scale"
        if len(set(self.white)) == 1 and self.white[0] in UNSCALED_FULL_SCALES:
            return ""
        return f"white at {white} of {self.top}: taken as the clip"


def _listed(codes: Sequence[int]) -> str:
    """Codes of red, green and blue, or one code that they share."""
    return str(codes[0]) if len(set(codes)) == 1 else "/".join(map(str, codes))


def to_full_scale(codes: Codes, levels: Levels) -> Codes:
    """Stretch codes so that black becomes 0, and white 255 or 65535.

    Parameters
    ----------
    codes : (H, W) or (H, W, 3) uint8 or uint16
        A frame as it is stored.
    levels : Levels
        Levels of its bracket. A frame of another depth is returned as it is.

    Returns
    -------
    array of the same shape and dtype
        Codes beyond the levels are clipped.

    Examples
    --------
    >>> to_full_scale(np.uint16([[0, 4095, 5000]]), Levels((0,), (4095,), 65535)).tolist()
    [[0, 65535, 65535]]
    """
    if np.iinfo(codes.dtype).max != levels.top:
        return codes
    black, white = np.array(levels.black), np.array(levels.white)
    stretched = (np.arange(levels.top + 1.0)[:, None] - black) * (levels.top / (white - black))
    lut = np.rint(np.clip(stretched, 0, levels.top)).astype(codes.dtype)
    return apply_lut(lut if codes.ndim == 3 and lut.shape[1] == 3 else lut[:, 0], codes)


def find_levels(
    frames: Sequence[Codes], no_data: Sequence[Mask | None] | None = None
) -> Levels | None:
    """Find the codes at which the frames of a bracket clip.

    Codes of 10, 12 or 14 bits are recognised by the largest code of the bracket alone: it is
    exactly 1023, 4095 or 16383, and more than one sample has it.

    Parameters
    ----------
    frames : sequence of (H, W) or (H, W, 3) arrays
        Frames of a bracket, uint8 or uint16, as they are stored.
    no_data : sequence of (H, W) bool or None, optional
        Pixels of each frame that have no data, and are not counted.

    Returns
    -------
    Levels or None
        None where the ends of the scale are the clips, or nothing proves others.
    """
    if len({c.dtype for c in frames}) > 1:
        return None
    top = int(np.iinfo(frames[0].dtype).max)
    largest = max(int(c.max()) for c in frames) if top > 255 else top
    unscaled = largest in UNSCALED_FULL_SCALES
    if unscaled and sum(int(np.count_nonzero(c == largest)) for c in frames) > 1:
        return Levels((0,), (largest,), top)
    if len(frames) < 2 or len({c.shape[2:] for c in frames}) > 1:
        return None
    masks = no_data or [None] * len(frames)
    shares = np.array([_code_shares(c, m) for c, m in zip(frames, masks, strict=True)])
    full = (top,) * shares.shape[1]
    lowest = WHITES[0] * top if top == 255 else MIN_UNSCALED
    white = _clips(shares, lowest, WHITES[1] * top, spread=top == 255) or full
    # Soft shadows look like a spread pile, so only exact piles of dark codes are credible. The base
    # of a film has another code in each channel, of which one alone may be exact.
    span = (1 - BLACKS[1]) * top, (1 - BLACKS[0]) * top
    dark = _clips(shares[..., ::-1], *span, witnesses=1 if white != full else 2) or full
    black = tuple(top - code for code in dark)
    if any(b > BLACKS[1] * w for b, w in zip(black, white, strict=True)):
        black = (0,) * len(full)
    return Levels(black, white, top) if any(black) or white != full else None


def _code_shares(codes: Codes, no_data: Mask | None) -> Array:
    """Share of each code (channels, 256 or 65536), from evenly spaced rows of a frame."""
    step = -(-codes.shape[0] * codes.shape[1] // COUNTED)
    pixels = codes[::step].reshape(-1, *codes.shape[2:])
    if no_data is not None:
        pixels = pixels[~no_data[::step].ravel()]
    channels = pixels.reshape(len(pixels), -1).T
    bins = int(np.iinfo(codes.dtype).max) + 1
    return np.array([np.bincount(c, minlength=bins) for c in channels]) / max(len(pixels), 1)


def _clips(
    shares: Array, lowest: float, highest: float, *, witnesses: int = 1, spread: bool = False
) -> tuple[int, ...] | None:
    """Code at which each channel clips, towards the upper end of the scale.

    Parameters
    ----------
    shares : (F, channels, K) float64
        Share of each code.
    lowest, highest : float
        Codes between which a clip is believed.
    witnesses : int
        Least number of channels by which the others clip, too, if they are never so bright.
    spread : bool
        Whether to search for piles that compression has spread, too.

    Returns
    -------
    tuple of int or None
        None where the end of the scale is the clip, or nothing proves another.
    """
    channels, top = shares.shape[1], shares.shape[2] - 1
    piles = (_find_pile(shares[:, c], *EXACT) for c in range(channels))
    found = [code if code is None or code >= lowest else None for code in piles]
    known = [code for code in found if code is not None]
    if len(known) >= witnesses and len(set(known)) == 1 and (code := known[0]) < top:
        # Such as green in purple stage light.
        missing = [c for c in range(channels) if found[c] is None]
        if all(shares[:, c, code + 1 :].sum() < MIN_PILE for c in missing):
            found = [code] * channels
    if spread and None in found:
        found = [_find_pile(shares.mean(1), *SPREAD)] * channels
    clips = tuple(top if code is None or code > highest else code for code in found)
    if None in found or min(clips) < lowest or min(clips) == top:
        return None
    return clips


def _find_pile(shares: Array, radius: int, max_beyond: float) -> int | None:
    """Code at which frames of different exposure pile up, towards the upper end of the scale.

    Parameters
    ----------
    shares : (F, K) float64
        Share of each code in each frame.
    radius, max_beyond
        See `EXACT` and `SPREAD`.
    """
    frames, codes = shares.shape
    total, reach = shares.sum(0), round(PEAK_RANGE * codes)
    brightest = int(np.searchsorted(total.cumsum(), frames * (1 - MIN_PILE / 2)))
    start = max(brightest - reach, brightest // 2)
    code = start + int(total[start:].argmax())
    if code == codes - 1:
        return code
    first, last = max(code - radius, 0), code + radius + 1
    piles, beyond = shares[:, first:last].sum(1), shares[:, last:].sum(1)
    peaks = shares[:, first:last].max(1)
    others = shares[:, max(first - reach, 0) : max(first - radius - 1, 0)].max(1, initial=0)
    modes = first + shares[:, first:last].argmax(1)
    proof = (piles >= MIN_PILE) & (beyond <= max_beyond * piles) & (peaks >= PEAK_RATIO * others)
    proof &= np.abs(modes - code) <= radius // 2
    if beyond.sum() > max_beyond * piles.sum() or proof.sum() < 2:
        return None
    return code if piles[proof].max() >= MIN_GROWTH * piles[proof].min() else None
