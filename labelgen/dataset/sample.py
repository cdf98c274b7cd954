"""A sample: the unit of a dataset."""

from __future__ import annotations

from dataclasses import dataclass

from labelgen.core.arrays import Array, Bytes, Codes


@dataclass(frozen=True)
class Sample:
    """One row of a dataset.

    `inputs` (F, P, P, 3) uint8 or uint16 codes, shortest first; `label` (P, P, 3) float16
    radiance, 1.0 where the shortest frame clips; `weight` (P, P) uint8; `patch` is where it was
    taken, with the branch; `variant` counts the samples of that patch.
    """

    inputs: Codes
    label: Array
    weight: Bytes
    patch: Patch
    variant: int


@dataclass(frozen=True)
class Patch:
    """A square of the reference frame.

    `index` is the number of its cell, row by row, then of those between cells; `y`, `x` the upper
    left pixel; `branch` an index into BRANCHES; a `hard` patch teaches more than others and gives
    more samples.
    """

    index: int
    y: int
    x: int
    branch: int
    hard: bool = False
