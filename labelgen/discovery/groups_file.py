"""``groups.json``: brackets as a scan listed them and a person may have edited them."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelgen.core.bracket import Bracket, Frame
from labelgen.core.errors import UserError
from labelgen.core.validation import PARSE_ERRORS, read_json, short_repr
from labelgen.discovery.folder import attach_masks, find_truth, sort_by_exposure
from labelgen.discovery.nominal_exposures import exact_ev
from labelgen.discovery.scan import _is_name
from labelgen.photos.header import PhotoHeader, read_photo_header


def brackets_as_json(brackets: list[Bracket], raw: Path) -> list[dict[str, Any]]:
    """The brackets in the form of ``scan --json`` and ``groups.json``; files relative to `raw`."""
    return [
        {
            "name": b.name,
            "frames": [
                {
                    "file": Path(os.path.relpath(f.path, raw)).as_posix(),
                    "ev": None if f.ev is None else round(f.ev, 6),
                    "time_s": f.time_s,
                    "fnumber": f.fnumber,
                    "iso": f.iso,
                    "origin": f.origin,
                }
                for f in b.frames
            ],
            "problems": list(b.problems),
            "truth": Path(os.path.relpath(b.truth, raw)).as_posix() if b.truth else None,
            "masks": [Path(os.path.relpath(m, raw)).as_posix() for m in b.masks],
        }
        for b in brackets
    ]


def read_groups(path: Path, raw: Path) -> list[Bracket]:
    """Brackets as a ``groups.json`` lists them, in place of what a scan would find.

    Parameters
    ----------
    path : Path
        JSON as written by ``labelgen scan -o`` and perhaps edited: a list of objects with
        "name" and "frames", each frame with "file" (relative to `raw`) and "ev" (stops); where it
        has "truth", that is the file of ground truth, or null; where it has "masks", those are
        the images of what must not be used.
    raw : Path
        The folder that the files are relative to.

    Raises
    ------
    UserError
        Not of that form, a name occurs twice, or a file is missing or outside of `raw`.
    """
    try:
        groups = read_json(path)
        if not isinstance(groups, list):
            raise ValueError("not a list")
        entries = [
            (g["name"], [(f["file"], f.get("ev"), f.get("origin")) for f in g["frames"]], g)
            for g in groups
        ]
    except PARSE_ERRORS as e:
        raise UserError(
            f"{path}: expected a list of groups with name and frames, as 'labelgen scan -o' writes"
        ) from e
    brackets: dict[str, Bracket] = {}
    for name, listed, group in entries:
        if not _is_name(name) or name in brackets:
            raise UserError(
                f"{path}: every group needs a name of its own, found {short_repr(name)}"
            )
        frames = []
        for file, ev, origin in listed:
            _check_file(path, raw, file)
            if ev is not None and (isinstance(ev, bool) or not _is_ev(ev)):
                raise UserError(
                    f"{path}: {file}: ev is {short_repr(ev)}, expected a number of stops"
                )
            origin = origin if _is_name(origin) else path.name
            frames.append(Frame(raw / file, ev, origin=origin))
        headers = [read_photo_header(f.path) for f in frames]
        frames = [_completed(f, h) for f, h in zip(frames, headers, strict=True)]
        sizes = {h.stored for h in headers}
        cameras = ", ".join(sorted({h.camera for h in headers if h.camera}))
        size = headers[len(headers) // 2].size if len(sizes) == 1 else None
        folder = frames[0].path.parent if frames else raw
        truth = find_truth(folder)
        if "truth" in group:
            truth = None if group["truth"] is None else _listed(path, raw, group["truth"])
        bracket = Bracket(name, folder, tuple(frames), size, cameras, truth=truth)
        problems = [
            f"{f.path.name}: {h.problem or 'not a readable image'}"
            for f, h in zip(frames, headers, strict=True)
            if h.size is None
        ]
        brackets[name] = sort_by_exposure(bracket, problems)
    found = {b.name: b for b in attach_masks(list(brackets.values()))}
    for name, _, group in entries:
        if "masks" in group:
            if not isinstance(group["masks"], list):
                odd = short_repr(group["masks"])
                raise UserError(f"{path}: {name}: masks is {odd}, expected a list of files")
            masks = tuple(_listed(path, raw, file) for file in group["masks"])
            found[name] = replace(found[name], masks=masks)
    return list(found.values())


def _listed(groups: Path, raw: Path, file: object) -> Path:
    """A file that `groups.json` names beside the frames."""
    _check_file(groups, raw, file)
    return raw / str(file)


def _check_file(groups: Path, raw: Path, file: object) -> None:
    """Refuse a file of `groups.json` that is outside of RAW or not there."""
    if not isinstance(file, str) or not file or not _is_below(file):
        raise UserError(f"{groups}: {short_repr(file)} is not inside {raw}")
    try:
        there = (raw / file).is_file() or (raw / file).is_symlink()
    except OSError:  # its name is longer than any
        there = False
    if not there:
        raise UserError(
            f"{groups}: {short_repr(file)} does not exist in {raw}; edit or make it anew"
        )


def _completed(frame: Frame, header: PhotoHeader) -> Frame:
    """A listed frame with what its header says, and exact exposure if its EV is that of EXIF."""
    time, fnumber, iso = header.time_s, header.fnumber, header.iso
    frame = replace(frame, time_s=time, fnumber=fnumber, iso=iso)
    if frame.origin != "EXIF" or frame.ev is None or time is None or not fnumber or not iso:
        return frame
    stated = math.log2(time * iso / fnumber**2)
    return (
        replace(frame, exact_ev=exact_ev(time, fnumber, iso))
        if abs(frame.ev - stated) < 1e-5
        else frame
    )


def _is_below(file: str) -> bool:
    """Whether a relative path stays inside the folder that it is relative to."""
    normal = Path(os.path.normpath(file))
    return "\0" not in file and not normal.is_absolute() and ".." not in normal.parts


def _is_ev(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
