"""How a camera mixes its colour channels, beside the curve of each channel.

Two kinds are common (Kim et al. 2012, doi:10.1109/TPAMI.2012.58; DNG specification 1.6, chapter 6).
Camera bodies and phones raise the saturation of the finished picture, after the curve. RAW
converters apply the curve in a wide colour space and keep the hue: the curve maps the largest and
the smallest channel of a pixel, and the one in between keeps its relative distance to both.

`Mixing` takes both apart into channels, of which each has a curve of its own; `Response` has the
curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from labelgen.core.arrays import Array, Float
from labelgen.core.errors import UserError
from labelgen.core.validation import expect_number, expect_object, expect_text

KINDS = ("", "saturation", "hue")
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G, B in the grey of a code (ITU-R BT.601). Saturation leaves it unchanged."""
PROPHOTO_TO_SRGB = np.array(
    [
        [2.0341926, -0.7274198, -0.3067728],
        [-0.2288108, 1.2317292, -0.0029184],
        [-0.0085649, -0.1532726, 1.1618375],
    ]
)
"""Linear ProPhoto RGB (ROMM, ISO 22028-2) to linear sRGB, both relative to white (Bradford). Rows
sum to 1, so grey stays grey."""
MIN_RANGE = 1e-6
"""Least difference of the largest and the smallest channel, to divide by."""


@dataclass(frozen=True)
class Mixing:
    """How a camera mixes channels.

    Examples
    --------
    >>> vivid = Mixing("saturation", 1.25)
    >>> vivid.separate(np.array([0.5, 0.4, 0.4])).round(3).tolist()
    [0.486, 0.406, 0.406]
    >>> vivid.combine(vivid.separate(np.array([0.5, 0.4, 0.4]))).round(3).tolist()
    [0.5, 0.4, 0.4]
    """

    kind: str = ""
    """One of `KINDS`: "" for none; "saturation", by which the camera multiplied the distance of a
    code to grey; "hue" for a curve in a wide space that keeps the hue."""
    amount: float = 1.0
    """The saturation; or how wide the space is, from 0 (sRGB) to 1 (ProPhoto RGB)."""

    def __post_init__(self) -> None:
        low, high = (0.5, 3.0) if self.kind == "saturation" else (0.0, 1.0)
        if self.kind not in KINDS or not low <= self.amount <= high:
            raise UserError(
                f"mixing '{self.kind}' by {self.amount:g}: expected saturation by 0.5 to 3, or hue "
                "by 0 to 1"
            )

    def __bool__(self) -> bool:
        return bool(self.kind)

    def __str__(self) -> str:
        """Return it in words, for users; "" without mixing.

        >>> str(Mixing("saturation", 1.25)), str(Mixing("hue", 1.0))
        ('saturation 1.25', 'hue kept in ProPhoto RGB')
        """
        if self.kind == "saturation":
            return f"saturation {self.amount:g}"
        return f"hue kept in {_space_name(self.amount)}" if self.kind else ""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as files store them."""
        return {"kind": self.kind, "amount": self.amount}

    @staticmethod
    def from_json(values: dict[str, Any]) -> Mixing:
        """Return the mixing that `as_json` describes.

        Raises
        ------
        UserError, TypeError, KeyError
            The values are of another form, or out of range.
        """
        return Mixing(expect_text(values["kind"]), expect_number(values["amount"]))

    @property
    def to_srgb(self) -> Array:
        """Matrix (3, 3) from the linear space of the curve to linear sRGB."""
        if self.kind != "hue":
            return np.eye(3)
        return np.asarray((1 - self.amount) * np.eye(3) + self.amount * PROPHOTO_TO_SRGB)

    def separate(self, code: Array) -> Array:
        """Take camera codes (..., 3), 0..1, apart into codes (..., 3) on which curves act.

        A grey code is returned as it is. With "hue", codes are those of the wide space in the
        encoding of sRGB.
        """
        if self.kind == "saturation":
            grey = (code @ LUMA)[..., None]
            return np.asarray(np.clip(grey + (code - grey) / self.amount, 0, 1))
        if self.kind == "hue":
            wide = decode_srgb(code) @ np.linalg.inv(self.to_srgb).T
            return encode_srgb(np.clip(wide, 0, 1))
        return code

    def combine(self, separated: Array) -> Array:
        """Invert `separate`, except where it clipped."""
        if self.kind == "saturation":
            grey = (separated @ LUMA)[..., None]
            return np.asarray(np.clip(grey + self.amount * (separated - grey), 0, 1))
        if self.kind == "hue":
            return encode_srgb(np.clip(decode_srgb(separated) @ self.to_srgb.T, 0, 1))
        return separated


def _space_name(amount: float) -> str:
    """Name of the space of a curve that keeps the hue (`Mixing.amount`)."""
    names = {0.0: "sRGB", 1.0: "ProPhoto RGB"}
    return names.get(amount, f"a space {amount:.0%} of the way from sRGB to ProPhoto RGB")


NO_MIXING = Mixing()
"""Every channel has a curve of its own, and that is all."""


def describe_response(name: str, mixing: Any) -> str:
    """Return the name of a response, and how its camera mixes channels, for users.

    Parameters
    ----------
    name : str
        As files store it.
    mixing : dict or None
        As `Mixing.as_json` returns it; None or empty without mixing.

    Raises
    ------
    UserError, TypeError, KeyError
        The mixing is of another form, or out of range.

    Examples
    --------
    >>> describe_response("estimated", {"kind": "saturation", "amount": 1.25})
    'estimated, saturation 1.25'
    """
    return f"{name}, {Mixing.from_json(expect_object(mixing))}" if mixing else name


def keep_hue(light: Array, curve: Callable[[Array], Array]) -> Array:
    """Apply a curve to the largest and the smallest channel of light (..., 3).

    The channel in between keeps its relative distance to both.

    Examples
    --------
    >>> keep_hue(np.array([0.9, 0.5, 0.1]), np.sqrt).round(3).tolist()
    [0.949, 0.632, 0.316]
    """
    low, high = light.min(-1, keepdims=True), light.max(-1, keepdims=True)
    dark, bright = curve(low), curve(high)
    share = (light - low) / np.maximum(high - low, MIN_RANGE)
    return np.asarray(dark + share * (bright - dark))


def decode_srgb(code: Array) -> Array:
    """Convert sRGB codes (...), 0..1, to linear light (IEC 61966-2-1)."""
    light: Float = np.maximum(code, 0.04045)
    return np.where(code <= 0.04045, code / 12.92, ((light + 0.055) / 1.055) ** 2.4)


def encode_srgb(light: Array) -> Array:
    """Convert linear light (...), 0..1, to sRGB codes (IEC 61966-2-1)."""
    bright = np.maximum(light, 0.0031308)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * bright ** (1 / 2.4) - 0.055)
