"""Look at every bracket once before anything is built: which frames, are they whole, do they fit.

What the survey finds is frozen and part of the fingerprint of the dataset; afterwards brackets
are made independently of each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import labelgen
from labelgen.arrays import Float, highest
from labelgen.bracket import TRUTH, Bracket, Frame, distinct_exposures, used_frames, window
from labelgen.errors import Rejected, UserError
from labelgen.files import read_image, sha256, write_json
from labelgen.response import GAMMA, bit_depth, decode

PREVIEW = 8
"""Pixels are looked at reduced by this factor: noise and small motion average out."""
MIDTONES = 0.08, 0.9
"""Codes of the shorter frame between which a pixel tells how much longer the other one is."""
LEAST_MIDTONES = 0.02
"""Share of the frame that has to be there to tell it."""
STEP_LOW, STEP_HIGH = 0.5, 1.7
STEP_LOW_SLACK, STEP_HIGH_SLACK = 0.1, 0.5
"""A pixel bears out a step if it brightens by a stated step times low minus slack to a stated step
times high plus slack (stops): camera tone curves make 1 EV read as 1.25 EV and up to 2 EV."""
LEAST_AGREEMENT = 0.2
"""Exposures are wrong where fewer of the midtones bear them out; what moves does not."""
BLACK = 0.03
"""A bracket whose longest frame nowhere rises above this code is black."""


@dataclass(frozen=True)
class Selection:
    """Which frames of a bracket a dataset takes, and what it needs of them.

    `reference` is an index among the frames used, or None for "auto": the best exposed frame
    that has enough neighbours. `patch` is the least side of a frame in pixels.
    """

    frames: int = 3
    reference: int | None = 1
    patch: int = 128
    truth: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.frames <= 16:
            raise UserError(f"--frames is {self.frames}, expected 2 to 16")
        if not 0 <= self.position < self.frames:
            raise UserError(
                f"--reference is {self.reference}, expected 0 to {self.frames - 1}, or auto"
            )

    @staticmethod
    def of(frames: int, reference: int | str | None, patch: int, truth: bool = False) -> Selection:
        """A selection from the options of a command: `reference` an index, "auto", or None."""
        if reference is None:
            reference = frames // 2
        if not isinstance(reference, int) and reference != "auto":
            raise UserError(f"--reference is {reference}, expected 0 to {frames - 1}, or auto")
        return Selection(frames, None if reference == "auto" else int(reference), patch, truth)

    @property
    def position(self) -> int:
        """Index of the reference among the frames used."""
        return self.frames // 2 if self.reference is None else self.reference


@dataclass(frozen=True)
class Survey:
    """What was found of one bracket; `rejected` is the reason, empty if it can be used.

    `paths` are the frames used, shortest first; `ev` their exposures in stops relative to the
    shortest used, `darker` how many stops that one is above the shortest of the bracket, to
    which a truth refers. `depth` is the bits of the codes, `size` height and width in pixels.
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


def survey(bracket: Bracket, selection: Selection) -> Survey:
    """Look at one bracket; whatever is wrong with it becomes the reason of its rejection.

    Parameters
    ----------
    bracket : Bracket
        As found by `labelgen.discover.scan`.
    selection : Selection
        What the dataset takes.
    """
    try:
        return _survey(bracket, selection)
    except Rejected as e:
        return Survey(bracket.name, problems=bracket.problems, rejected=str(e))


def survey_cached(bracket: Bracket, selection: Selection, folder: Path) -> Survey:
    """`survey`, remembered in a folder for as long as no file of the bracket changes."""
    stats = [f.path.stat() for f in bracket.frames if f.path.exists()]
    if selection.truth and bracket.truth and bracket.truth.exists():
        stats.append(bracket.truth.stat())
    facts = [
        repr(bracket),
        repr(selection),
        labelgen.__version__,
        *(f"{s.st_size} {s.st_mtime_ns}" for s in stats),
    ]
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:24]
    memory = folder / f"survey-{key}.json"
    if memory.exists():
        return from_json(json.loads(memory.read_text()))
    found = survey(bracket, selection)
    write_json(memory, to_json(found))
    return found


def to_json(found: Survey) -> dict[str, Any]:
    """A survey as JSON values."""
    values = asdict(found) | {"paths": [str(p) for p in found.paths]}
    return values | {"truth": str(found.truth) if found.truth else None}


def from_json(values: dict[str, Any]) -> Survey:
    """The inverse of `to_json`."""
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    paths = tuple(Path(p) for p in values["paths"])
    truth = Path(values["truth"]) if values["truth"] else None
    return Survey(**lists | {"paths": paths, "truth": truth})


def _survey(bracket: Bracket, selection: Selection) -> Survey:
    if len(bracket.frames) < 2:
        raise Rejected(
            "; ".join(bracket.problems) or f"{len(bracket.frames)} frame, at least 2 needed"
        )
    if selection.reference is None:
        distinct = distinct_exposures(bracket)
        used_frames(bracket, selection.frames, selection.position)  # enough of them?
        frames = best_exposed(distinct, selection)
    else:
        frames = used_frames(bracket, selection.frames, selection.position)
    truth = bracket.truth
    if selection.truth and (truth is None or not truth.is_file()):
        raise Rejected(f"no {TRUTH} beside its frames, which --labels truth needs")
    previews, sizes, depth = list[Float](), list[tuple[int, int]](), 8
    for frame in frames:
        codes = read_image(frame.path)
        sizes.append((codes.shape[0], codes.shape[1]))
        depth = max(depth, bit_depth(codes))
        previews.append(preview(decode(codes)))
    _check_sizes(frames, sizes, selection.patch)
    evs = [f.ev or 0.0 for f in frames]
    check_pixels([f.path.name for f in frames], evs, previews)
    shortest = min(f.ev or 0.0 for f in bracket.frames)
    return Survey(
        bracket.name,
        tuple(f.path for f in frames),
        tuple(ev - evs[0] for ev in evs),
        tuple(f.origin for f in frames),
        tuple(sha256(f.path) for f in frames),
        truth if selection.truth else None,
        sha256(truth) if selection.truth and truth else "",
        evs[0] - shortest,
        sizes[0],
        depth,
        bracket.camera,
        bracket.problems,
    )


def preview(linear: Float) -> Float:
    """Linear light (H, W, 3) float32, reduced by averaging to an eighth of the size."""
    h, w = (max(1, n // PREVIEW) for n in linear.shape[:2])
    return np.asarray(cv2.resize(linear, (w, h), interpolation=cv2.INTER_AREA), np.float32)


def best_exposed(frames: Sequence[Frame], selection: Selection) -> tuple[Frame, ...]:
    """The frames around the one that has most pixels neither clipped nor dark."""
    position = selection.position
    low, high = position, len(frames) - selection.frames + position

    def well_exposed(frame: Frame) -> float:
        code = highest(preview(decode(read_image(frame.path)))) ** np.float32(1 / GAMMA)
        return float(((code > MIDTONES[0]) & (code < MIDTONES[1])).mean())

    centre = max(range(low, high + 1), key=lambda i: well_exposed(frames[i]))
    return window(frames, selection.frames, position, centre)


def _check_sizes(frames: Sequence[Frame], sizes: Sequence[tuple[int, int]], patch: int) -> None:
    if len(set(sizes)) > 1:
        listed = ", ".join(
            f"{f.path.name} {s[1]}x{s[0]}" for f, s in zip(frames, sizes, strict=True)
        )
        raise Rejected(f"frames differ in size: {listed}")
    if min(sizes[0]) < patch:
        raise Rejected(f"{sizes[0][1]}x{sizes[0][0]} px, smaller than a patch of {patch} px")


def check_pixels(names: Sequence[str], evs: Sequence[float], previews: Sequence[Float]) -> None:
    """See whether the pixels bear out the exposures.

    Parameters
    ----------
    names : sequence of str
        Of the frames, for the message.
    evs : sequence of float
        Stated exposures in stops, rising.
    previews : sequence of (h, w, 3) float32
        The frames in linear light, reduced.

    Raises
    ------
    Rejected
        All frames are black or all clipped, or the brightness of neighbours does not change as
        their exposures say.
    """
    codes = [p ** np.float32(1 / GAMMA) for p in previews]
    if np.quantile(codes[-1].max(-1), 0.999) < BLACK:
        raise Rejected(
            f"black: nothing in {names[-1]}, the longest frame, is above a code of {BLACK:g}"
        )
    if np.quantile(codes[0].min(-1), 0.01) > 0.98:
        raise Rejected(f"white: all of {names[0]}, the shortest frame, is clipped")
    for (i, a), (j, b) in pairwise(enumerate(codes)):
        stated = evs[j] - evs[i]
        agreement, measured = measured_step(a, b, stated)
        if agreement < LEAST_AGREEMENT:
            raise Rejected(
                f"exposures contradict the pixels: {names[i]} to {names[j]} is {stated:.2f} EV by "
                f"the metadata and reads as {measured:.2f} EV; write the true EVs to exposure.txt"
            )


def measured_step(a: Float, b: Float, stated: float) -> tuple[float, float]:
    """Exposure step between two frames as their pixels show it.

    Parameters
    ----------
    a, b : (h, w, 3) float32
        Codes, 0 to 1, of the shorter and the longer frame.
    stated : float
        The step by the metadata, in stops.

    Returns
    -------
    agreement : float
        Share of the midtones of the shorter frame that bear out the stated step; a pixel that
        is nearly clipped in the longer one needs to brighten by no least amount. 1 where there
        are too few midtones to tell.
    measured : float
        Median of their steps in stops.
    """
    shorter, longer = highest(a), highest(b)
    midtones = (shorter > MIDTONES[0]) & (shorter < MIDTONES[1])
    if midtones.mean() < LEAST_MIDTONES:
        return 1.0, stated
    shorter, longer = shorter[midtones], np.maximum(longer[midtones], 1e-3)
    step = GAMMA * np.log2(longer / shorter)
    enough = (step >= STEP_LOW * stated - STEP_LOW_SLACK) | (longer > MIDTONES[1])
    agrees = enough & (step <= STEP_HIGH * stated + STEP_HIGH_SLACK)
    return float(agrees.mean()), float(np.median(step))


def as_record(found: Survey, relative: Sequence[str]) -> dict[str, Any]:
    """A survey for the dataset: JSON, with files by their path relative to RAW."""
    if found.rejected:
        return {"rejected": found.rejected} | (
            {"problems": list(found.problems)} if found.problems else {}
        )
    frames = [
        {"file": file, "ev": round(ev, 6), "origin": origin, "sha256": digest}
        for file, ev, origin, digest in zip(
            relative, found.ev, found.origins, found.sha256, strict=True
        )
    ]
    record: dict[str, Any] = {"frames": frames, "size": list(found.size), "depth": found.depth}
    record |= {"camera": found.camera, "response": "gamma2.2 (assumed)"}
    if found.truth_sha256:
        record |= {"truth_sha256": found.truth_sha256, "truth_ev": round(found.darker, 6)}
    if found.problems:
        record["problems"] = list(found.problems)
    return record


def checked(brackets: Sequence[Bracket]) -> list[Bracket]:
    """Brackets with what their pixels say against them added to `problems`.

    All frames are looked at, reduced to an eighth.
    """
    found = []
    for bracket in brackets:
        problems = list(bracket.problems)
        try:
            frames = distinct_exposures(bracket)
            previews = [preview(decode(read_image(f.path))) for f in frames]
            if len({p.shape for p in previews}) == 1:
                check_pixels([f.path.name for f in frames], [f.ev or 0.0 for f in frames], previews)
        except Rejected as e:
            problems.append(str(e))
        found.append(replace(bracket, problems=tuple(dict.fromkeys(problems))))
    return found
