"""The mu-law of the HDR literature, for tensors."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labelgen.core.response import MU


def mu_law(radiance: Tensor) -> Tensor:
    """Compress radiance H to log(1 + 5000 H) / log(5001); negative values are mirrored.

    Kalantari and Ramamoorthi 2017, doi:10.1145/3072959.3073609.

    Parameters
    ----------
    radiance : (...) float32
        Linear, 1.0 where the shortest frame clips.

    Returns
    -------
    (...) float32
        0 to 1 for radiance of 0 to 1.
    """
    return radiance.sign() * torch.log1p(MU * radiance.abs()) / math.log1p(MU)


def inverse_mu_law(compressed: Tensor) -> Tensor:
    """Return the radiance of `mu_law` values."""
    return compressed.sign() * torch.expm1(compressed.abs() * math.log1p(MU)) / MU
