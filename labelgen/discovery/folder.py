"""The brackets in one folder: folder and file names in, brackets out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePath

from labelgen.core.bracket import MAX_EV, SAME_EXPOSURE_EV, TO_BE_ESTIMATED, Bracket, Frame
from labelgen.core.files import natural_key
from labelgen.discovery.exposures import read_exif, read_exposures
from labelgen.discovery.grouping import Group, Shot, split_roll
from labelgen.discovery.layouts import find_truth, input_files
from labelgen.discovery.names import printable, rename_request
from labelgen.photos.formats import is_raw
from labelgen.photos.header import PhotoHeader, read_photo_header
from labelgen.photos.raw import RAWPY_MISSING, is_raw_readable

Headers = Mapping[Path, PhotoHeader]


def read_folder(folder: Path, names: Sequence[str], name: str) -> list[Bracket]:
    """Find the brackets in one folder, from names, headers and lists alone.

    Parameters
    ----------
    folder : Path
        A folder.
    names : sequence of str
        Names of the files in it.
    name : str
        Name of the bracket if the folder is one. If it holds several, each is named
        ``name/stem-of-its-first-file``.

    Returns
    -------
    list of Bracket
        Every image is in one of them, or named in a problem; empty if there is no image.
    """
    inputs, remark = prefer_raw(input_files(folder, names), is_raw_readable())
    if not inputs:
        return []
    brackets = _read_inputs(folder, inputs, name)
    if remark:
        brackets[0] = replace(brackets[0], problems=(remark, *brackets[0].problems))
    return brackets


def prefer_raw(names: Sequence[str], raw_readable: bool) -> tuple[list[str], str]:
    """Keep one file of each photo that a camera stored both as RAW and as a picture.

    Parameters
    ----------
    names : sequence of str
        File names of a folder. Files of one photo differ only in their suffix.
    raw_readable : bool
        Whether camera RAW can be read; if not, the pictures are kept.

    Returns
    -------
    names : list of str
        The files that are kept, in the same order.
    remark : str
        The files that are left out, in one line; "" if there are none.
    """
    stems = [PurePath(name).stem.casefold() for name in names]
    raw_stems = {stem for stem, name in zip(stems, names, strict=True) if is_raw(name)}
    picture_stems = {stem for stem, name in zip(stems, names, strict=True) if not is_raw(name)}
    twice = raw_stems & picture_stems
    left_out = [
        name
        for stem, name in zip(stems, names, strict=True)
        if stem in twice and is_raw(name) != raw_readable
    ]
    if not left_out:
        return list(names), ""
    more = f" and {len(left_out) - 1} more" if len(left_out) > 1 else ""
    verb = "are" if more else "is"
    reason = "the camera RAW of the same name is taken" if raw_readable else RAWPY_MISSING
    remark = f"{left_out[0]}{more} {verb} left out: {reason}"
    out = set(left_out)
    return [name for name in names if name not in out], remark


def _read_inputs(folder: Path, inputs: Sequence[str], name: str) -> list[Bracket]:
    """Brackets of all inputs of a folder; names that cannot be stored are problems."""
    unprintable = [n for n in inputs if printable(n) != n]
    if printable(name) != name:
        return [Bracket(printable(name), folder, (), problems=(rename_request(name),))]
    if unprintable and len(inputs) - len(unprintable) < 2:
        return [Bracket(name, folder, (), problems=(rename_request(unprintable[0]),))]
    brackets = _read_images([folder / n for n in inputs if n not in unprintable], name)
    for n in unprintable:
        problems = (rename_request(n),)
        brackets.append(Bracket(f"{name}/{printable(n)}", folder, (), problems=problems))
    return brackets


def _read_images(images: Sequence[Path], name: str) -> list[Bracket]:
    """One bracket of all images of a folder, or several if it is a flat roll.

    Frames of a list are one bracket, and the rest is split by its headers.
    """
    headers = {path: read_photo_header(path) for path in images}
    exposed, problems = read_exposures(images, list(headers.values()))
    damaged = [p for p in images if headers[p].size is None]
    frames = [f for f in exposed if headers[f.path].size is not None]
    listed = [f for f in frames if f.origin not in ("", "EXIF")]
    in_list = {f.path for f in listed}
    roll = [p for p in images if p not in in_list and p not in damaged]
    groups = _split(roll, headers) if roll else []
    if not _is_flat(groups, listed):
        left_out = "; left out" if frames else ""
        problems += [f"{p.name}: {_damage(headers[p])}{left_out}" for p in damaged]
        truth = find_truth(images[0].parent)
        return [_make_bracket(frames or exposed, headers, name, problems, truth)]
    brackets = [_make_bracket(listed, headers, "", problems)] if listed else []
    brackets += [_bracket_of_group(group, headers) for group in groups]
    brackets += [_single(p, _damage(headers[p])) for p in damaged]
    if not listed:
        unused_lists = [p for p in problems if p.endswith("not used")]
        brackets[0] = replace(brackets[0], problems=(*unused_lists, *brackets[0].problems))
    return _name_brackets(brackets, name)


def _split(images: Sequence[Path], headers: Headers) -> list[Group]:
    frames, _ = read_exif(images, [headers[p] for p in images])
    return split_roll(
        [Shot(f.path, headers[f.path], f.ev if f.exact_ev is None else f.exact_ev) for f in frames]
    )


def _is_flat(groups: Sequence[Group], listed: Sequence[Frame]) -> bool:
    """Whether a folder holds more than one bracket.

    Beside a list, images that form no bracket are taken for other pictures, not for a roll.
    """
    if not listed:
        return len(groups) > 1
    return any(len(g.photos) > 1 and all(p.ev is not None for p in g.photos) for g in groups)


def _damage(header: PhotoHeader) -> str:
    return header.problem or "not a readable image"


def _bracket_of_group(group: Group, headers: Headers) -> Bracket:
    paths = sorted((p.path for p in group.photos), key=lambda p: natural_key(p.name))
    frames, problems = read_exif(paths, [headers[p] for p in paths])
    if len(paths) > 1:
        return _make_bracket(frames, headers, "", problems + [group.reason] * bool(group.reason))
    header = headers[paths[0]]
    single = _single(paths[0], group.reason)
    return replace(single, frames=tuple(frames), size=header.size, camera=header.camera)


def _single(path: Path, reason: str) -> Bracket:
    return Bracket("", path.parent, (Frame(path),), problems=(reason,))


def _name_brackets(brackets: Sequence[Bracket], folder: str) -> list[Bracket]:
    """Name brackets after the folder and the stem of their first file, or its name if need be."""
    firsts = [min((f.path for f in b.frames), key=lambda p: natural_key(p.name)) for b in brackets]
    stems = Counter(p.stem for p in firsts)
    return [
        replace(b, name=f"{folder}/{p.stem if stems[p.stem] == 1 else p.name}")
        for b, p in zip(brackets, firsts, strict=True)
    ]


def _make_bracket(
    frames: Sequence[Frame],
    headers: Headers,
    name: str,
    problems: Sequence[str],
    truth: Path | None = None,
) -> Bracket:
    """A bracket of frames in natural order, with the problems that their headers show."""
    used = [headers[f.path] for f in frames]
    problems = list(problems)
    profiles = {h.profile for h in used if h.profile and "srgb" not in h.profile.lower()}
    if profiles:
        listed = ", ".join(sorted(profiles))
        problems.append(f"colour profile {listed}: kept, not converted to sRGB")
    sizes = {h.stored for h in used if h.stored}  # stored: frames get the reference's orientation
    if len(sizes) > 1:
        problems.append("sizes differ: " + ", ".join(f"{w}x{h}" for h, w in sorted(sizes)))
    cameras = sorted({h.camera for h in used if h.camera})
    if len(cameras) > 1:
        problems.append(f"several cameras: {', '.join(cameras)}")
    bracket = Bracket(
        name,
        frames[0].path.parent,
        tuple(frames),
        used[len(used) // 2].size if len(sizes) == 1 else None,
        ", ".join(cameras),
        truth=truth,
    )
    return sort_by_exposure(bracket, problems)


def sort_by_exposure(bracket: Bracket, problems: Sequence[str]) -> Bracket:
    """Sort the frames of a bracket, shortest first, and add the problems of its exposures.

    Parameters
    ----------
    bracket : Bracket
        With frames in natural order, which frames of equal exposure keep.
    problems : sequence of str
        Problems that are known already; those of `bracket` are replaced.
    """
    frames, problems = bracket.frames, list(problems)
    unknown = [f.path.name for f in frames if f.ev is None]
    if len(frames) < 2:
        problems.append(f"{len(frames)} frame; a bracket has at least 2")
    elif replace(bracket, problems=tuple(problems)).lacks_exposures:
        problems.append(TO_BE_ESTIMATED)
    elif unknown:
        problems.append(f"no exposure known for {len(unknown)} of {len(frames)} frames")
    else:
        frames = tuple(sorted(frames, key=lambda f: f.ev or 0.0))
        evs = replace(bracket, frames=frames).evs
        if evs[-1] > MAX_EV:
            problems.append(f"exposures span {evs[-1]:.0f} EV; no bracket does, so none is known")
            frames = tuple(replace(f, ev=None, exact_ev=None) for f in frames)
        repeats = sum(b - a < SAME_EXPOSURE_EV for a, b in pairwise(evs))
        if repeats:
            problems.append(f"{repeats} of {len(frames)} frames repeat an exposure")
    return replace(bracket, frames=frames, problems=tuple(problems))
