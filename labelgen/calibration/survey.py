"""Survey a bracket: read its pixels once, before anything is built from it.

A survey chooses the frames, checks that they are undamaged and that their brightness agrees with
their exposures, and gathers the evidence for calibration. Its result is part of the fingerprint of
a dataset. `labelgen.calibration.cameras` then calibrates all surveys together.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np

import labelgen
from labelgen.calibration.estimate_exposures import estimate_bracket
from labelgen.calibration.evidence import evidence_frames, gather_evidence, measure_frame
from labelgen.calibration.exposure_check import check_pixels, well_exposed_share
from labelgen.calibration.list_check import check_list, decide_reading
from labelgen.calibration.survey_records import (
    HashedFile,
    Survey,
    SurveyedFrame,
    from_json,
    to_json,
)
from labelgen.core.arrays import Float
from labelgen.core.bracket import (
    EXPOSURE_ADVICE,
    TRUTH_NAME,
    Bracket,
    Frame,
    Stack,
    distinct_exposures,
    exposure_values,
    frame_window,
    used_frames,
)
from labelgen.core.errors import Rejected, UserError
from labelgen.core.files import sha256, short_hash, write_bytes
from labelgen.core.versions import installed_version
from labelgen.photos.frame_cache import MIN_DECODE_TIME, store_frames
from labelgen.photos.frames import Frames, read_frames
from labelgen.photos.masks import read_masks
from labelgen.photos.pictures import read_hdr
from labelgen.photos.raw import check_readable
from labelgen.photos.stack import load_stack

MAX_FRAMES = 16
"""Frames of a sample. Masks of static pixels have one bit per frame in 16-bit numbers."""
DECODERS = ("pillow", "pillow-heif", "rawpy")
"""Libraries whose version decides which codes a photo is decoded to."""


@dataclass(frozen=True)
class Selection:
    """Which frames of a bracket a dataset takes, and what they must satisfy."""

    frames: int = 3
    reference: int | None = 1
    """Index among the frames taken; None ("auto") is the best exposed frame."""
    patch: int = 128
    """Side of a patch in pixels. A bracket with smaller frames is rejected."""
    truth: bool = False
    """Whether a bracket without ground truth is rejected."""
    bayer: str = ""
    """Colour filters of images with a single channel, such as "RGGB"."""
    estimate: bool = True
    """Whether exposures that nothing states are estimated from the pixels."""

    def __post_init__(self) -> None:
        if not 2 <= self.frames <= MAX_FRAMES:
            raise UserError(f"--frames is {self.frames}, expected 2 to {MAX_FRAMES}")
        if not 0 <= self.position < self.frames:
            raise UserError(
                f"--reference is {self.reference}, expected 0 to {self.frames - 1}, or auto"
            )

    @staticmethod
    def of(
        frames: int,
        reference: int | str | None,
        patch: int,
        truth: bool = False,
        bayer: str = "",
        estimate: bool = True,
    ) -> Selection:
        """Return the selection by options of a command.

        `reference` is an index, "auto", or None for the middle frame.
        """
        if reference is None:
            reference = frames // 2
        if not isinstance(reference, int) and reference != "auto":
            raise UserError(f"--reference is {reference}, expected 0 to {frames - 1}, or auto")
        return Selection(
            frames,
            None if reference == "auto" else int(reference),
            patch,
            truth,
            bayer,
            estimate,
        )

    @property
    def position(self) -> int:
        """Index of the reference among the frames taken."""
        return self.frames // 2 if self.reference is None else self.reference


def survey(bracket: Bracket, selection: Selection, cache: Path | None = None) -> Survey:
    """Survey one bracket.

    Parameters
    ----------
    bracket : Bracket
        As found by `labelgen.discovery.scan.scan`.
    selection : Selection
        Which frames the dataset takes.
    cache : Path, optional
        File to store the decoded frames in, if decoding them takes long.

    Returns
    -------
    Survey
        If the bracket cannot be used, only its name, its problems and the reason.
    """
    try:
        return _survey(bracket, selection, cache)
    except Rejected as e:
        return Survey(bracket.name, str(e), bracket.problems)


def survey_cached(
    bracket: Bracket, selection: Selection, folder: Path, cache: Path | None = None
) -> Survey:
    """Return the survey of a bracket, from a file in a folder if there is one.

    The file is valid for as long as no file of the bracket changes its size or modification time.
    """
    files = [frame.path for frame in bracket.frames]
    files += [bracket.truth] if selection.truth and bracket.truth else []
    stats = [path.stat() for path in (*files, *bracket.masks) if path.exists()]
    facts = [
        repr(bracket),
        repr(selection),
        labelgen.__version__,
        *map(installed_version, DECODERS),
        *(f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats),
    ]
    stored = folder / f"survey-{short_hash(chr(10).join(facts))}.json"
    with contextlib.suppress(OSError, msgspec.MsgspecError, UserError):
        return from_json(stored.read_bytes())
    result = survey(bracket, selection, cache)
    write_bytes(stored, to_json(result))
    return result


def _survey(bracket: Bracket, selection: Selection, cache: Path | None) -> Survey:
    """Survey one bracket, or raise `Rejected`."""
    if len(bracket.frames) < 2:
        raise Rejected(
            "; ".join(bracket.problems) or f"{len(bracket.frames)} frame, at least 2 needed"
        )
    check_readable([f.path for f in bracket.frames])
    if bracket.lacks_exposures:
        if not selection.estimate:
            raise Rejected(f"no exposures, and --strict estimates none; {EXPOSURE_ADVICE}")
        bracket = estimate_bracket(bracket, selection.bayer)
    bracket = decide_reading(bracket, selection.bayer)
    frames = used_frames(bracket, selection.frames, selection.position)
    if selection.truth and (bracket.truth is None or not bracket.truth.is_file()):
        raise Rejected(f"no {TRUTH_NAME} beside its frames")
    if selection.reference is None:
        frames = _best_exposed(distinct_exposures(bracket), selection)
    began = time.thread_time()
    read = read_frames([f.path for f in frames], selection.position, selection.bayer)
    seconds = time.thread_time() - began
    statistics = [measure_frame(codes, read) for codes in read.codes]
    size = statistics[0].size
    _check_sizes(frames, [s.size for s in statistics], selection.patch)
    black = [mask.name for mask in bracket.masks if not np.any(read_masks([mask], size))]
    ev_of = dict(zip(bracket.frames, exposure_values(bracket.frames), strict=True))
    evs = [ev_of[f] for f in frames]
    check_pixels([f.path.name for f in frames], evs, [s.preview for s in statistics])
    if cache and seconds > MIN_DECODE_TIME * sum(codes.nbytes for codes in read.codes):
        store_frames(read, cache)
    taken = dict(zip(frames, statistics, strict=True))
    order = evidence_frames(bracket, taken, read, selection.bayer)
    evidence, typo = check_list(list(order), gather_evidence(bracket, order, frames, read.linear))
    truth = bracket.truth if selection.truth else None
    remarks = [*(f"{name}: all black, masks nothing" for name in black), *read.remarks, *typo]
    return Survey(
        bracket.name,
        problems=(*bracket.problems, *remarks),
        frames=tuple(
            SurveyedFrame(f.path, sha256(f.path), f.origin, ev - evs[0], ev - evs[0])
            for f, ev in zip(frames, evs, strict=True)
        ),
        reference=selection.position,
        offset_ev=evs[0] - min(ev_of.values()),
        size=size,
        bits=max(s.bits for s in statistics),
        linear=read.linear,
        bayer=selection.bayer,
        camera=bracket.camera,
        truth=HashedFile(truth, sha256(truth)) if truth else None,
        masks=tuple(HashedFile(mask, sha256(mask)) for mask in bracket.masks),
        evidence=evidence,
    )


def _best_exposed(frames: Sequence[Frame], selection: Selection) -> tuple[Frame, ...]:
    """Return the frames around the one with most pixels that are neither clipped nor dark."""
    position = selection.position
    low, high = position, len(frames) - selection.frames + position

    def share(i: int) -> float:
        read = read_frames([frames[i].path], 0, selection.bayer)
        return well_exposed_share(measure_frame(read.codes[0], read).preview)

    centre = max(range(low, high + 1), key=share)
    return frame_window(frames, selection.frames, position, centre)


def _check_sizes(frames: Sequence[Frame], sizes: Sequence[tuple[int, int]], patch: int) -> None:
    if len(set(sizes)) > 1:
        listed = ", ".join(
            f"{f.path.name} {s[1]}x{s[0]}" for f, s in zip(frames, sizes, strict=True)
        )
        raise Rejected(f"frames differ in size: {listed}")
    if min(sizes[0]) < patch:
        raise Rejected(f"{sizes[0][1]}x{sizes[0][0]} px, smaller than a patch of {patch} px")


def load_surveyed(survey: Survey, decoded: Frames | None = None) -> Stack:
    """Load the frames of a surveyed bracket (`labelgen.photos.stack.load_stack`).

    Parameters
    ----------
    survey : Survey
        A calibrated survey.
    decoded : Frames, optional
        The frames, if they were decoded before.

    Raises
    ------
    Rejected
        A frame or a mask is damaged, or sizes differ.
    """
    stack = load_stack(
        survey.paths,
        survey.ev,
        survey.reference,
        survey.model.response,
        survey.bayer,
        survey.model.noise,
        [mask.path for mask in survey.masks],
        decoded,
    )
    # The survey aligned frames without masks, and masked pixels may not influence the others.
    if survey.evidence is None or survey.masks:
        return stack
    return replace(stack, homographies=survey.evidence.homographies(survey.reference))


def read_truth(survey: Survey) -> Float:
    """Read the ground truth of a bracket, (H, W, 3) float32.

    1.0 is where the shortest frame taken clips; larger values are clipped to it.

    Raises
    ------
    Rejected
        The file cannot be read, or its size is not that of the frames.
    """
    assert survey.truth is not None
    path = survey.truth.path
    radiance = read_hdr(path) * np.float32(2.0**survey.offset_ev)
    if radiance.shape[:2] != survey.size:
        (h, w), (height, width) = radiance.shape[:2], survey.size
        raise Rejected(f"{path.name}: {w}x{h} px, its frames {width}x{height}")
    return np.clip(radiance, 0, 1)
