"""Look at every bracket once before anything is built: which frames, are they whole, do they fit.

What the survey finds is frozen and part of the fingerprint of the dataset; afterwards brackets
are made independently of each other. `survey` looks at one bracket; `cameras` at what was
seen of all.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from labelgen.alignment.homography import chain_homographies
from labelgen.calibration.calibrate import View
from labelgen.calibration.comparagram import Ridge, downsample_codes, find_ridge
from labelgen.calibration.exposure_check import check_pixels, preview, well_exposed_share
from labelgen.calibration.noise import observe_noise
from labelgen.core.arrays import Array, Codes, Float, PackedRows, pack_rows
from labelgen.core.bracket import (
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
from labelgen.core.files import sha256
from labelgen.core.response import GAMMA22, Response, bit_depth
from labelgen.photos import raw
from labelgen.photos.formats import file_kind
from labelgen.photos.frame_cache import MIN_DECODE_TIME, store_frames
from labelgen.photos.frames import Frames, read_frames
from labelgen.photos.masks import read_masks
from labelgen.photos.pictures import read_hdr
from labelgen.photos.stack import load_stack

MAX_FRAMES = 16
UNKNOWN_CAMERA = "unknown camera"


@dataclass(frozen=True)
class Selection:
    """Which frames of a bracket a dataset takes, and what it needs of them.

    `reference` is an index among the frames used, or None for "auto": the best exposed frame
    that has enough neighbours. `patch` is the least side of a frame in pixels, `bayer` the colour
    filters of images with a single channel.
    """

    frames: int = 3
    reference: int | None = 1
    patch: int = 128
    truth: bool = False
    bayer: str = ""

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
    ) -> Selection:
        """A selection from the options of a command: `reference` an index, "auto", or None."""
        if reference is None:
            reference = frames // 2
        if not isinstance(reference, int) and reference != "auto":
            raise UserError(f"--reference is {reference}, expected 0 to {frames - 1}, or auto")
        return Selection(
            frames, None if reference == "auto" else int(reference), patch, truth, bayer
        )

    @property
    def position(self) -> int:
        """Index of the reference among the frames used."""
        return self.frames // 2 if self.reference is None else self.reference


@dataclass(frozen=True)
class Seen:
    """What calibration needs of the pixels of a bracket.

    `key` names camera and processing; `ev` are the stated exposures (stops) of the frames that
    were looked at, shortest first; `used` their indices that a dataset takes; `rows` the ridges
    (`rows`) of neighbours. `iso` and `noise` (`observe_noise`)
    are those of the same frames; an ISO is 0 where nothing says it. `steps` are the homographies
    between neighbours (`find_ridge`), empty where unknown. Rows are packed: a
    build remembers those of all brackets.
    """

    key: str
    ev: tuple[float, ...]
    used: tuple[int, ...]
    rows: PackedRows
    iso: tuple[float, ...] = ()
    noise: tuple[PackedRows, ...] = ()
    steps: tuple[PackedRows, ...] = ()

    def homographies(self, reference: int) -> tuple[Array | None, ...]:
        """From the reference, an index of those used, to each frame used (`Stack.homographies`)."""
        steps = [np.array(s).reshape(3, 3) if s else None for s in self.steps]
        return tuple(chain_homographies(steps, self.used[reference], i) for i in self.used)

    def view(self) -> View:
        """As `labelgen.calibration.calibrate` takes it."""
        return View(self.key, self.ev, Ridge.of(self.rows))


@dataclass(frozen=True)
class Survey:
    """What was found of one bracket; `rejected` is the reason, empty if it can be used.

    `paths` are the frames used, shortest first; `ev` their exposures in stops relative to what
    is stated of the shortest used, corrected by pixels once calibrated, and `stated` as stated;
    `darker` how many stops that one is above the shortest of the bracket, to which a truth
    refers. `depth` is the bits of the codes as stored, `size` height and width in pixels.
    `reference` is an index among the frames used.
    `response` is gamma 2.2 by assumption (`assumed`) until calibrated; `misfit` how far codes
    are off it (median, of 255); `measured` are the exposures as pixels say, None where they can't.
    `linear` codes are light itself (camera RAW, floating-point TIFF). `noise` is the full well and
    the read noise in electrons, of the camera at the ISO of the reference, or None. `masks` are
    images of what must not be used.
    """

    name: str
    paths: tuple[Path, ...] = ()
    ev: tuple[float, ...] = ()
    origins: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    truth: Path | None = None
    truth_sha256: str = ""
    darker: float = 0.0
    size: tuple[int, int] = (0, 0)
    depth: int = 8
    camera: str = ""
    problems: tuple[str, ...] = ()
    rejected: str = ""
    reference: int = 1
    seen: Seen | None = None
    stated: tuple[float, ...] = ()
    response: Response = GAMMA22
    assumed: bool = True
    misfit: float | None = None
    measured: tuple[float | None, ...] = ()
    linear: bool = False
    bayer: str = ""
    noise: tuple[float, float] | None = None
    masks: tuple[Path, ...] = ()
    masks_sha256: tuple[str, ...] = ()

    @property
    def codes_depth(self) -> int:
        """Bits of the codes as a dataset stores them: 16 where they have to be recoded."""
        return self.depth if self.response.name == GAMMA22.name else 16


def survey(bracket: Bracket, selection: Selection, kept: Path | None = None) -> Survey:
    """Look at one bracket; whatever is wrong with it becomes the reason of its rejection.

    Parameters
    ----------
    bracket : Bracket
        As found by `labelgen.discovery.scan.scan`.
    selection : Selection
        What the dataset takes.
    kept : Path, optional
        A file to keep the frames in.
    """
    try:
        return _survey(bracket, selection, kept)
    except Rejected as e:
        return Survey(bracket.name, problems=bracket.problems, rejected=str(e))


@dataclass(frozen=True)
class _Look:
    """One frame, looked at: size, bits of its codes, light at an eighth, codes at working size.

    `noise` is what its flat blocks show of it.
    """

    size: tuple[int, int]
    depth: int
    preview: Float
    codes: Codes
    noise: PackedRows


def _look(codes: Codes, linear: bool) -> _Look:
    if linear:
        codes = Response("linear").recode(codes)
    size = codes.shape[0], codes.shape[1]
    noise = pack_rows(observe_noise(codes))
    return _Look(size, bit_depth(codes), preview(codes), downsample_codes(codes), noise)


def _survey(bracket: Bracket, selection: Selection, kept: Path | None) -> Survey:
    if len(bracket.frames) < 2:
        raise Rejected(
            "; ".join(bracket.problems) or f"{len(bracket.frames)} frame, at least 2 needed"
        )
    raw.check_readable([f.path for f in bracket.frames])
    frames = used_frames(bracket, selection.frames, selection.position)
    truth = bracket.truth
    if selection.truth and (truth is None or not truth.is_file()):
        raise Rejected(f"no {TRUTH_NAME} beside its frames")
    if selection.reference is None:
        frames = _best_exposed(distinct_exposures(bracket), selection)
    began = time.thread_time()
    read = read_frames([f.path for f in frames], selection.position, selection.bayer)
    spent = time.thread_time() - began
    looks = [_look(codes, read.linear) for codes in read.codes]
    _check_sizes(frames, [look.size for look in looks], selection.patch)
    idle = [m.name for m in bracket.masks if not np.any(read_masks([m], looks[0].size))]
    ev_of = dict(zip(bracket.frames, exposure_values(bracket.frames), strict=True))
    evs = [ev_of[f] for f in frames]
    check_pixels([f.path.name for f in frames], evs, [look.preview for look in looks])
    if kept and spent > MIN_DECODE_TIME * sum(codes.nbytes for codes in read.codes):
        store_frames(read, kept)
    shortest = min(ev_of.values())
    stated = tuple(ev - evs[0] for ev in evs)
    depth = max(look.depth for look in looks)
    return Survey(
        bracket.name,
        tuple(f.path for f in frames),
        stated,
        tuple(f.origin for f in frames),
        tuple(sha256(f.path) for f in frames),
        truth if selection.truth else None,
        sha256(truth) if selection.truth and truth else "",
        evs[0] - shortest,
        looks[0].size,
        depth,
        bracket.camera,
        (*bracket.problems, *(f"{name}: all black, masks nothing" for name in idle)),
        reference=selection.position,
        seen=_seen(bracket, dict(zip(frames, looks, strict=True)), read.linear, selection.bayer),
        stated=stated,
        linear=read.linear,
        bayer=selection.bayer,
        masks=bracket.masks,
        masks_sha256=tuple(sha256(mask) for mask in bracket.masks),
    )


def _seen(bracket: Bracket, used: Mapping[Frame, _Look], linear: bool, bayer: str) -> Seen:
    """The ridges of the frames used, and of all others where the response is to be found."""
    like = next(iter(used.values()))
    looks = dict(used)
    # Codes of 16 bits are of programs, which know what they write; more frames would tell little.
    others = [f for f in distinct_exposures(bracket) if f not in used and like.depth == 8]
    for frame in others:
        with contextlib.suppress(Rejected):  # it is not used, so it may be damaged
            looks[frame] = _look(read_frames([frame.path], 0, bayer).codes[0], linear)
    order = [f for f in distinct_exposures(bracket) if f in looks and looks[f].size == like.size]
    ev = exposure_values(order)
    ridges, steps = find_ridge([looks[f].codes for f in order], ev)
    return Seen(
        camera_key(bracket, like.size, like.depth) + (", linear" if linear else ""),
        tuple(e - ev[0] for e in ev),
        tuple(order.index(f) for f in used),
        pack_rows(ridges.rows()),
        tuple(f.iso or 0.0 for f in order),
        tuple(looks[f].noise for f in order),
        tuple(pack_rows([] if step is None else step) for step in steps),
    )


def camera_key(bracket: Bracket, size: tuple[int, int], depth: int) -> str:
    """Name of camera and processing: brackets that share it are taken to share a response."""
    kind = file_kind(bracket.frames[0].path)
    whose = bracket.camera or f"{UNKNOWN_CAMERA} {max(size)}x{min(size)}"
    return f"{whose}, {kind}, {depth} bit"


def _best_exposed(frames: Sequence[Frame], selection: Selection) -> tuple[Frame, ...]:
    """The frames around the one that has most pixels neither clipped nor dark."""
    position = selection.position
    low, high = position, len(frames) - selection.frames + position

    def share(i: int) -> float:
        read = read_frames([frames[i].path], 0, selection.bayer)
        return well_exposed_share(_look(read.codes[0], read.linear).preview)

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


def response_name(response: Response, assumed: bool) -> str:
    """The response of a bracket in words."""
    return f"{response.name} (assumed)" if assumed else response.name


def load_surveyed(found: Survey, reference: int, read: Frames | None = None) -> Stack:
    """The pixels of the frames used, as `load_stack` has them; decoded, or as `read`.

    Raises
    ------
    Rejected
        A frame or a mask is damaged, or sizes differ.
    """
    how = found.response, found.bayer, found.noise, found.masks, read
    stack = load_stack(found.paths, found.ev, reference, *how)
    # What is masked was in sight of the survey, and may not bear on any pixel.
    if found.seen is None or found.masks:
        return stack
    return replace(stack, homographies=found.seen.homographies(reference))


def read_truth(found: Survey) -> Float:
    """The ground truth of a bracket, (H, W, 3) float32, 1.0 where the shortest frame used clips.

    Raises
    ------
    Rejected
        It cannot be read, or its size is not that of the frames.
    """
    assert found.truth is not None
    radiance = read_hdr(found.truth) * np.float32(2.0**found.darker)
    if radiance.shape[:2] != found.size:
        (h, w), (height, width) = radiance.shape[:2], found.size
        raise Rejected(f"{found.truth.name}: {w}x{h} px, its frames {width}x{height}")
    return np.clip(radiance, 0, 1)
