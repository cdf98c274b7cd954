"""The brackets in one folder: inputs told from other pictures, exposures, truth, grouping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePath

from labelgen.core.bracket import MAX_EV, SAME_EXPOSURE_EV, TRUTH_NAME, Bracket, Frame
from labelgen.core.files import natural_key
from labelgen.core.lazy import Each
from labelgen.discovery.exposure_lists import read_exif, read_exposures
from labelgen.discovery.grouping import Group, Shot, split_roll
from labelgen.photos.formats import IMAGE_SUFFIXES, is_raw
from labelgen.photos.header import PhotoHeader, read_photo_header
from labelgen.photos.masks import is_mask, mask_target, possible_targets
from labelgen.photos.raw import RAWPY_MISSING

NO_INPUTS = ("ref", "truth")
"""Folders inside of a bracket that hold no inputs."""
OUR_PICTURES = {"label.png", "weight.png", "cues.png"}
TRUTHS = (
    TRUTH_NAME,
    "HDRImg.exr",
    "ref_hdr_aligned_linear.hdr",
    "ref_hdr_aligned.hdr",
    "hdr_img.hdr",
)
"""Files of ground truth: SIGGRAPH'17, Hu, the re-pack of SIGGRAPH'17 by Wu, Challenge123."""
BESIDE_INPUTS = ("ref_", "ldr_visualize")
"""What else lies beside ``input_*``: static frames, a picture of the truth."""


def input_files(folder: Path, names: Sequence[str]) -> list[str]:
    """The files of a folder that may be frames, in natural order.

    Not among them are masks, pictures that `labelgen label` wrote, truths, and beside ``input_*``
    the files of ``ref_*`` and ``ldr_visualize`` (Hu 2020, and re-packs of SIGGRAPH'17).
    """
    no_inputs = {t.lower() for t in TRUTHS} | (OUR_PICTURES if "label.json" in names else set())
    found = [
        name
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES
        and not name.startswith(".")
        and name.lower() not in no_inputs
        and not is_mask(name)
        # A link that leads nowhere is no file, but its user should be told.
        and ((folder / name).is_file() or (folder / name).is_symlink())
        and not (folder / name).is_dir()
    ]
    if any(name.lower().startswith("input_") for name in found):
        found = [name for name in found if not name.lower().startswith(BESIDE_INPUTS)]
    return sorted(found, key=natural_key)


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
    out = set(left_out)
    return [
        name for name in names if name not in out
    ], f"{left_out[0]}{more} {verb} left out: {reason}"


def find_truth(folder: Path) -> Path | None:
    """The ground truth that lies in a folder or in its ``ref`` or ``truth``, if any."""
    places = (folder, *(folder / name for name in NO_INPUTS))
    candidates = [place / name for name in TRUTHS for place in places]
    return next((path for path in candidates if path.is_file()), None)


def read_folder(images: Sequence[Path], name: str) -> list[Bracket]:
    """The brackets in one folder, from headers and the lists beside its images.

    Parameters
    ----------
    images : sequence of Path
        Inputs, all in one folder, in natural order.
    name : str
        Name of the folder; a bracket of a folder that holds several is called
        ``name/stem-of-its-first-file``.

    Returns
    -------
    list of Bracket
        Every image is in one of them, or named in `problems`.
    """
    headers = {path: read_photo_header(path) for path in images}
    every, problems = read_exposures(images, list(headers.values()))
    bad = [p for p in images if headers[p].size is None]
    frames = [f for f in every if headers[f.path].size is not None]
    explicit = [f for f in frames if f.origin not in ("", "EXIF")]
    if explicit:
        named = {f.path for f in explicit}
        rest = [p for p in images if p not in named and p not in bad]
    else:
        rest = [f.path for f in frames]
    groups = _read_brackets(rest, headers) if rest else []
    usable = any(len(g.photos) > 1 and not _is_odd(g) for g in groups)
    flat = len(groups) + bool(explicit) > 1 and (usable or not explicit)
    if not flat:
        whole = frames or every
        left_out = "; left out" if frames else ""
        problems += [f"{p.name}: {_why_bad(headers[p])}{left_out}" for p in bad]
        return [_bracket(whole, headers, name, problems, find_truth(images[0].parent))]
    found = [_bracket(explicit, headers, "", problems)] if explicit else []
    found += [_of_group(group, headers) for group in groups]
    found += [_left_over(p, _why_bad(headers[p])) for p in bad]
    if not explicit and problems:
        unused = [p for p in problems if p.endswith("not used")]
        found[0] = replace(found[0], problems=(*unused, *found[0].problems))
    return _named(found, name)


def attach_masks(brackets: Sequence[Bracket]) -> Sequence[Bracket]:
    """Brackets with the masks of their folders: rather one too many than one that is overlooked.

    A mask that is not called after a file of a bracket holds for all brackets of its folder.
    """
    masks, taken = dict[Path, list[str]](), dict[Path, set[str]]()
    with_none: Path | None = None  # that of the bracket before, as a rule
    for bracket in brackets:
        for path in (f.path for f in bracket.frames if len(bracket.frames) > 1):
            folder = path.parent
            if folder == with_none:
                continue
            if folder not in masks:
                if not (here := sorted(_masks_in(folder))):
                    with_none = folder
                    continue
                masks[folder] = here
            taken.setdefault(folder, set()).update(possible_targets([path.name]))

    def of(bracket: Bracket) -> Iterator[Path]:
        paths = [f.path for f in bracket.frames]
        own = possible_targets(path.name for path in paths)
        for folder in dict.fromkeys(path.parent for path in paths):
            for name in masks.get(folder, ()):
                if mask_target(name) in own or mask_target(name) not in taken[folder]:
                    yield folder / name

    def masked(bracket: Bracket) -> Bracket:
        return replace(bracket, masks=tuple(of(bracket)))

    return Each(masked, brackets) if masks else brackets


def _masks_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if is_mask(path.name)]
    except OSError:  # it is said of the bracket when its frames are read
        return []


def _read_brackets(images: Sequence[Path], headers: dict[Path, PhotoHeader]) -> list[Group]:
    frames, _ = read_exif(images, [headers[p] for p in images])
    return split_roll(
        [Shot(f.path, headers[f.path], f.ev if f.exact_ev is None else f.exact_ev) for f in frames]
    )


def _is_odd(group: Group) -> bool:
    return any(p.ev is None for p in group.photos)


def _why_bad(header: PhotoHeader) -> str:
    return header.problem or "not a readable image"


def _of_group(group: Group, headers: dict[Path, PhotoHeader]) -> Bracket:
    paths = sorted((p.path for p in group.photos), key=lambda p: natural_key(p.name))
    frames, problems = read_exif(paths, [headers[p] for p in paths])
    if len(paths) > 1:
        return _bracket(frames, headers, "", problems + [group.reason] * bool(group.reason))
    header = headers[paths[0]]
    return replace(
        _left_over(paths[0], group.reason),
        frames=tuple(frames),
        size=header.size,
        camera=header.camera,
    )


def _left_over(path: Path, reason: str) -> Bracket:
    return Bracket("", path.parent, (Frame(path),), problems=(reason,))


def _named(found: Sequence[Bracket], folder: str) -> list[Bracket]:
    """Brackets named after the folder and their first file, by its stem where that is unique."""
    firsts = [min((f.path for f in b.frames), key=lambda p: natural_key(p.name)) for b in found]
    stems = Counter(p.stem for p in firsts)
    return [
        replace(b, name=f"{folder}/{p.stem if stems[p.stem] == 1 else p.name}")
        for b, p in zip(found, firsts, strict=True)
    ]


def _bracket(
    frames: Sequence[Frame],
    headers: dict[Path, PhotoHeader],
    name: str,
    problems: Sequence[str],
    truth: Path | None = None,
) -> Bracket:
    """A bracket of frames in natural order, and what its headers say against it."""
    used = [headers[f.path] for f in frames]
    odd = list(problems)
    sizes = {h.stored for h in used if h.stored}  # all are turned as one of them is
    profiles = {h.profile for h in used if h.profile and "srgb" not in h.profile.lower()}
    if profiles:
        odd.append(f"colour profile {', '.join(sorted(profiles))}: kept, not converted to sRGB")
    if len(sizes) > 1:
        odd.append("sizes differ: " + ", ".join(f"{w}x{h}" for h, w in sorted(sizes)))
    cameras = sorted({h.camera for h in used if h.camera})
    if len(cameras) > 1:
        odd.append(f"several cameras: {', '.join(cameras)}")
    bracket = Bracket(
        name,
        frames[0].path.parent,
        tuple(frames),
        used[len(used) // 2].size if len(sizes) == 1 else None,
        ", ".join(cameras),
        truth=truth,
    )
    return sort_by_exposure(bracket, odd)


def sort_by_exposure(bracket: Bracket, problems: list[str]) -> Bracket:
    """Frames shortest first, and what is wrong with their exposures."""
    frames = bracket.frames
    unknown = [f.path.name for f in frames if f.ev is None]
    if len(frames) < 2:
        problems.append(f"{len(frames)} frame; a bracket has at least 2")
    elif unknown:
        problems.append(f"no exposure known for {len(unknown)} of {len(frames)} frames")
    else:
        frames = tuple(sorted(frames, key=lambda f: f.ev or 0.0))  # stable: equal ones by name
        evs = replace(bracket, frames=frames).evs
        if evs[-1] > MAX_EV:
            problems.append(f"exposures span {evs[-1]:.0f} EV; no bracket does, so none is known")
            frames = tuple(replace(f, ev=None, exact_ev=None) for f in frames)
        repeats = sum(b - a < SAME_EXPOSURE_EV for a, b in pairwise(evs))
        if repeats:
            problems.append(f"{repeats} of {len(frames)} frames repeat an exposure")
    return replace(bracket, frames=frames, problems=tuple(problems))
