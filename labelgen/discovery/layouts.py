"""Layouts: how published datasets name the files in the folder of a bracket.

To add a dataset, add a `Layout` to `LAYOUTS` with the names of its lists of exposures, of its
ground truth and of pictures that are no inputs. All layouts apply to every folder, since people
copy and rename files. If a folder holds several lists or truths, the first in `LAYOUTS` is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

from labelgen.core.bracket import TRUTH_NAME
from labelgen.core.files import natural_key
from labelgen.discovery.exposure_lists import (
    ListReader,
    read_ev_list,
    read_file_list,
    read_npy_list,
    read_time_list,
)
from labelgen.photos.formats import IMAGE_SUFFIXES
from labelgen.photos.masks import is_mask


@dataclass(frozen=True)
class Layout:
    """How one dataset names the files of a bracket; names match without regard to case."""

    dataset: str
    exposure_lists: Mapping[str, ListReader] = field(default_factory=dict)
    """File name of each list of exposures, in lower case, and the function that reads it."""
    truths: tuple[str, ...] = ()
    """Files of ground truth (`labelgen.photos.pictures.read_hdr` reads them)."""
    truth_folders: tuple[str, ...] = ()
    """Folders in that of the bracket, in lower case, that may hold the truth, and no inputs."""
    inputs: str = ""
    """Pattern of the inputs, if `other_pictures` lie beside them."""
    other_pictures: tuple[str, ...] = ()
    """Patterns of pictures that are no inputs where files match `inputs`."""
    after_exif: bool = False
    """Whether the lists are used only if EXIF does not state all exposures."""


LAYOUTS = (
    Layout(
        "SIGGRAPH'17 (Kalantari), Tel, SCT, Challenge123, Tursun",
        {"exposure.txt": read_ev_list},
        truths=(TRUTH_NAME, "HDRImg.exr"),
        truth_folders=("ref", "truth"),
    ),
    Layout("Sen 2012", {"exposures.txt": read_ev_list}),
    Layout("Gallo 2009, Karaduzovic-Hadziabdic 2014", {"ev.txt": read_ev_list}),
    Layout(
        "Hu 2020, and SIGGRAPH'17 as re-packed by Wu",
        {"input_exp.txt": read_ev_list},
        truths=("ref_hdr_aligned_linear.hdr", "ref_hdr_aligned.hdr"),
        inputs="input_*",
        other_pictures=("ref_*", "ldr_visualize*"),
    ),
    Layout("Prabhakar", {"expobias.txt": read_ev_list}),
    Layout("Challenge123", truths=("hdr_img.hdr",)),
    Layout("NTIRE 2021", {"exposures.npy": read_npy_list}, truth_folders=("ref",)),
    Layout("Debevec 1997", {"image_list.txt": read_file_list}),
    Layout("Tutorial of OpenCV", {"list.txt": partial(read_file_list, inverse=True)}),
    Layout(
        "Lists of times without a name for each image",
        dict.fromkeys(
            ("shutterspeed.txt", "shutterspeeds.txt", "exposure_times.txt", "times.txt"),
            read_time_list,
        ),
        after_exif=True,
    ),
)

TRUTHS = tuple(name for layout in LAYOUTS for name in layout.truths)
TRUTH_FOLDERS = tuple(dict.fromkeys(name for layout in LAYOUTS for name in layout.truth_folders))
LABEL_PICTURES = {"label.png", "weight.png", "cues.png"}
"""Pictures that ``labelgen label`` writes beside its ``label.json``."""


def list_readers(*, after_exif: bool) -> dict[str, ListReader]:
    """Lists of exposures to look for before or after EXIF: reader by file name in lower case."""
    return {
        name: read
        for layout in LAYOUTS
        if layout.after_exif == after_exif
        for name, read in layout.exposure_lists.items()
    }


def input_files(folder: Path, names: Sequence[str]) -> list[str]:
    """Files of a folder that may be frames of a bracket.

    Masks, ground truth and the pictures of ``labelgen label`` are left out, and so are the other
    pictures of a layout.

    Parameters
    ----------
    folder : Path
        The folder.
    names : sequence of str
        Names of its files.

    Returns
    -------
    list of str
        Names in natural order.
    """
    no_inputs = {name.lower() for name in TRUTHS}
    if "label.json" in names:
        no_inputs |= LABEL_PICTURES
    inputs = [
        name
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES
        and not name.startswith(".")
        and name.lower() not in no_inputs
        and not is_mask(name)
        # A broken link is kept, so that its user is told of it.
        and ((folder / name).is_file() or (folder / name).is_symlink())
        and not (folder / name).is_dir()
    ]
    for layout in LAYOUTS:
        if any(fnmatchcase(name.lower(), layout.inputs) for name in inputs):
            others = layout.other_pictures
            inputs = [n for n in inputs if not any(fnmatchcase(n.lower(), o) for o in others)]
    return sorted(inputs, key=natural_key)


def find_truth(folder: Path) -> Path | None:
    """Ground truth of a bracket, in its folder or in one of its `TRUTH_FOLDERS`."""
    places = (folder, *(folder / name for name in TRUTH_FOLDERS))
    candidates = [place / name for name in TRUTHS for place in places]
    return next((path for path in candidates if path.is_file()), None)
