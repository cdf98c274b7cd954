"""A sample: one row of a dataset; and the patch that it was taken from."""

from __future__ import annotations

from dataclasses import dataclass

from labelgen.core.arrays import Array, Bytes, Codes


@dataclass(frozen=True)
class Sample:
    """One row of a dataset."""

    inputs: Codes
    """Codes (F, P, P, 3) uint8 or uint16, shortest exposure first."""
    label: Array
    """Radiance (P, P, 3) float16, 1.0 where the shortest frame clips."""
    weight: Bytes
    """Trust in the label (P, P) uint8."""
    patch: Patch
    variant: int
    """Number of the sample among those of its patch, from 0."""


@dataclass(frozen=True)
class Patch:
    """A square of the reference frame."""

    index: int
    """Number of its cell, row by row; patches between cells are numbered after the cells."""
    y: int
    x: int
    """Upper left pixel."""
    branch: int
    """Index into BRANCHES."""
    hard: bool = False
    """Whether it is a difficult patch, which gives more samples."""
