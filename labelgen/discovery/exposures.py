"""Exposures of the frames of one folder: from a list beside them, or from EXIF.

The first of these that covers the frames is used: the lists of `labelgen.discovery.layouts`, EXIF,
and last the lists that rank after EXIF. These come before EXIF if it states one exposure for all
frames, because whoever laid a list beside them knows better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from labelgen.core.bracket import SAME_EXPOSURE_EV, Frame
from labelgen.core.errors import UserError
from labelgen.core.validation import MAX_TEXT_BYTES, one_line
from labelgen.discovery.exposure_lists import ListReader
from labelgen.discovery.layouts import list_readers
from labelgen.discovery.nominal_exposures import exact_ev
from labelgen.photos.header import PhotoHeader

MAX_DISSENT_EV = 0.34
"""A list and EXIF may differ by a third of a stop, since shutter times are nominal."""


def read_exposures(
    files: Sequence[Path], headers: Sequence[PhotoHeader]
) -> tuple[list[Frame], list[str]]:
    """Read the exposures of the images in one folder.

    Parameters
    ----------
    files : sequence of Path
        The images of one folder, in natural order.
    headers : sequence of PhotoHeader
        Their headers.

    Returns
    -------
    frames : list of Frame
        In the order of the files. `Frame.ev` is None where it is unknown. Files without a line in
        a list of file names are dropped.
    problems : list of str
        Problems of the lists and of EXIF, one line each.
    """
    folder, problems = files[0].parent, list[str]()
    lists = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True)}
    frames = _frames_of(files, headers)
    listed = _read_first_list(lists, list_readers(after_exif=False), frames, problems)
    if listed:
        origin = _list_name(listed)
        named = {frame.path for frame in listed}
        left_out = [f.name for f in files if f not in named]
        if left_out:
            shown = ", ".join(left_out[:3]) + " ..." * (len(left_out) > 3)
            problems.append(f"{origin}: does not name {shown}; left out")
        return listed, problems + _contradiction(listed, frames)
    from_exif, exif_problems = read_exif(files, headers)
    passed_over = list[str]()
    timed = _read_first_list(lists, list_readers(after_exif=True), frames, passed_over)
    contradiction = _contradiction(timed, frames) if timed else []
    is_unknown = any(f.ev is None for f in from_exif)
    if is_unknown or _is_one_exposure(from_exif):
        problems += passed_over
        if timed:
            return timed, problems + contradiction
    elif contradiction:
        problems.append(f"{_list_name(timed)}: contradicts EXIF, which is used")
    return from_exif, problems + exif_problems


def read_exif(
    files: Sequence[Path], headers: Sequence[PhotoHeader]
) -> tuple[list[Frame], list[str]]:
    """Read exposures from EXIF alone: EV = log2(time * ISO / f-number^2).

    A missing f-number or ISO is taken from the first file that states it, or is 1 if none does.
    Parameters and results are those of `read_exposures`.
    """
    return _exposures_by_exif(_frames_of(files, headers))


def _frames_of(files: Sequence[Path], headers: Sequence[PhotoHeader]) -> list[Frame]:
    """Frames with time, f-number and ISO, but without EV."""
    return [Frame(f, None, h.time_s, h.fnumber, h.iso) for f, h in zip(files, headers, strict=True)]


def _read_first_list(
    lists: Mapping[str, Path],
    readers: Mapping[str, ListReader],
    frames: list[Frame],
    problems: list[str],
) -> list[Frame]:
    """Frames with the exposures of the first list that can be read; empty without such a list.

    Remarks, and errors of other lists, are appended to `problems`.
    """
    for name, read in readers.items():
        path = lists.get(name)
        if path is None or not path.is_file():
            continue
        try:
            if path.stat().st_size > MAX_TEXT_BYTES:
                raise UserError("larger than any list of exposures")
            listed, remarks = read(path, frames)
        except (UserError, OSError, ValueError, TypeError, EOFError, ArithmeticError) as e:
            problems.append(f"{path.name}: {one_line(e)}; not used")
            continue
        problems += [f"{path.name}: {remark}" for remark in remarks]
        return listed
    return []


def _is_one_exposure(frames: Sequence[Frame]) -> bool:
    """Whether two or more frames state the same exposure."""
    evs = [f.ev for f in frames if f.ev is not None]
    return len(evs) == len(frames) > 1 and max(evs) - min(evs) < SAME_EXPOSURE_EV


def _list_name(listed: Sequence[Frame]) -> str:
    """File name of the list that the frames come from."""
    return listed[0].origin.removesuffix(" (times)")


def _contradiction(listed: list[Frame], frames: list[Frame]) -> list[str]:
    """Return a problem if EXIF states other exposures than the list that is used, else none."""
    name = _list_name(listed)
    ev = {f.path: f.ev or 0.0 for f in listed}
    stated, _ = _exposures_by_exif([f for f in frames if f.path in ev])
    if any(f.ev is None for f in stated):
        return []
    differences = [ev[f.path] - (f.ev or 0.0) for f in stated]
    dissent = max(differences) - min(differences)
    if dissent <= MAX_DISSENT_EV:
        return []
    return [f"EXIF contradicts {name} by {dissent:.1f} EV; {name} is used"]


def _exposures_by_exif(frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    exposed, problems = [], []
    for setting in ("fnumber", "iso"):
        missing = [f.path.name for f in frames if getattr(f, setting) is None]
        if 0 < len(missing) < len(frames):
            files = ", ".join(missing[:3])
            problems.append(f"EXIF: no {setting} in {files}; taken as in the others")
    first_fnumber = next((f.fnumber for f in frames if f.fnumber is not None), 1.0)
    first_iso = next((f.iso for f in frames if f.iso is not None), 1.0)
    for frame in frames:
        if frame.time_s is None:
            exposed.append(frame)
            continue
        fnumber, iso = frame.fnumber or first_fnumber, frame.iso or first_iso
        ev = math.log2(frame.time_s * iso / fnumber**2)
        exact = exact_ev(frame.time_s, fnumber, iso)
        exposed.append(replace(frame, ev=ev, exact_ev=exact, origin="EXIF"))
    return exposed, problems
