"""The mu-law of the HDR literature, for tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labelgen.core.response import MU


def mu_law(radiance: Tensor) -> Tensor:
    """Range compression log(1 + 5000 H) / log(5001), mirrored below 0 so that it is defined there.

    Kalantari and Ramamoorthi 2017, doi:10.1145/3072959.3073609.

    Parameters
    ----------
    radiance : (...) float32
        Linear, 1.0 where the shortest frame clips.
    """
    return radiance.sign() * torch.log1p(MU * radiance.abs()) / math.log1p(MU)


def inverse_mu_law(compressed: Tensor) -> Tensor:
    """Radiance of `mu_law` values: its inverse, on both sides of 0."""
    return compressed.sign() * torch.expm1(compressed.abs() * math.log1p(MU)) / MU
