"""Gather from the frames of a bracket what calibration needs to know of its pixels."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labelgen.calibration.comparagram import compare_neighbours, downsample_codes
from labelgen.calibration.exposure_check import preview
from labelgen.calibration.noise import observe_noise
from labelgen.calibration.survey_records import PixelEvidence
from labelgen.core.arrays import Codes, Float, PackedRows, pack_rows
from labelgen.core.bracket import (
    ESTIMATED,
    Bracket,
    Frame,
    black_out,
    distinct_exposures,
    exposure_values,
)
from labelgen.core.errors import Rejected
from labelgen.core.response import Response, bit_depth
from labelgen.photos.formats import file_kind
from labelgen.photos.frames import Frames, read_frames

UNKNOWN_CAMERA = "unknown camera"
"""Start of the key of a camera that no header names."""


@dataclass(frozen=True)
class FrameStatistics:
    """Small summary of a frame, computed in one pass while its pixels are in memory."""

    size: tuple[int, int]
    """Height and width of the frame in pixels."""
    bits: int
    """Bits of a code."""
    preview: Float
    """Linear light at an eighth of the size."""
    codes: Codes
    """Codes at the working size of comparagrams."""
    noise: PackedRows
    """Rows of `observe_noise`."""


def measure_frame(codes: Codes, read: Frames) -> FrameStatistics:
    """Measure a frame.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        The frame, as decoded.
    read : Frames
        Frames of its bracket that were read together; the frame may be another one.
    """
    if read.linear:
        codes = Response("linear").recode(codes)
    if read.no_data is not None and read.no_data.shape == codes.shape[:2]:
        codes = black_out(codes, read.no_data)
    size = codes.shape[0], codes.shape[1]
    noise = pack_rows(observe_noise(codes))
    return FrameStatistics(size, bit_depth(codes), preview(codes), downsample_codes(codes), noise)


def evidence_frames(
    bracket: Bracket, used: Mapping[Frame, FrameStatistics], read: Frames, bayer: str
) -> dict[Frame, FrameStatistics]:
    """Measure the frames that give evidence: those taken, and the others if codes have 8 bits.

    Parameters
    ----------
    bracket : Bracket
        The bracket.
    used : mapping of Frame to FrameStatistics
        The frames taken.
    read : Frames
        The frames taken, as decoded; the others are stretched to the same full scale.
    bayer : str
        Colour filters of images with a single channel.

    Returns
    -------
    dict of Frame to FrameStatistics
        Shortest first.
    """
    first = next(iter(used.values()))
    statistics = dict(used)
    # Codes of 16 bits were written by programs with a well-known response, so the frames taken
    # are enough to recognise it.
    others = [f for f in distinct_exposures(bracket) if f not in used and first.bits == 8]
    for frame in others:
        with contextlib.suppress(Rejected):  # it is not taken, so it may be damaged
            codes = read_frames([frame.path], 0, bayer, read.levels).codes[0]
            statistics[frame] = measure_frame(codes, read)
    return {
        f: statistics[f]
        for f in distinct_exposures(bracket)
        if f in statistics and statistics[f].size == first.size
    }


def gather_evidence(
    bracket: Bracket,
    statistics: Mapping[Frame, FrameStatistics],
    used: Sequence[Frame],
    linear: bool,
) -> PixelEvidence:
    """Gather the evidence for calibration from frames.

    Parameters
    ----------
    bracket : Bracket
        The bracket.
    statistics : mapping of Frame to FrameStatistics
        Result of `evidence_frames`.
    used : sequence of Frame
        The frames taken.
    linear : bool
        Whether codes were linear light.
    """
    order, first = list(statistics), statistics[used[0]]
    ev = exposure_values(order)
    compared = compare_neighbours([statistics[f].codes for f in order], ev)
    return PixelEvidence(
        camera_key(bracket, first.size, first.bits) + (", linear" if linear else ""),
        tuple(e - ev[0] for e in ev),
        tuple(order.index(f) for f in used),
        pack_rows(compared.ridge.rows()),
        tuple(f.iso or 0.0 for f in order),
        tuple(statistics[f].noise for f in order),
        tuple(pack_rows([] if step is None else step) for step in compared.steps),
        compared.places,
    )


def camera_key(bracket: Bracket, size: tuple[int, int], bits: int) -> str:
    """Return the name of camera and processing of a bracket with frames (height, width)."""
    kind = file_kind(bracket.frames[0].path)
    camera = bracket.camera or f"{UNKNOWN_CAMERA} {max(size)}x{min(size)}"
    # Estimated exposures follow an assumed response: they may not bend that of stated ones.
    estimated = any(f.origin == ESTIMATED for f in bracket.frames)
    return f"{camera}, {kind}, {bits} bit{', estimated exposures' * estimated}"
