"""Real brackets of real cameras, where LABELGEN_TEST_DATA says where they lie."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from labelgen.dataset.verify import verify
from labelgen.discovery.scan import scan
from labelgen.pipeline.build import build
from labelgen.pipeline.label_bracket import label


def test_exposures_are_those_checked_by_hand(real: Path) -> None:
    """Within 0.1 EV of the answer sheet, relative within the bracket."""
    sheet: dict[str, dict[str, float]] = {}
    with (real.parent / "exposures.tsv").open() as f:
        for row in csv.DictReader(f, delimiter="\t"):
            ev = math.log2(float(row["time_s"]))
            ev -= 2 * math.log2(float(row["fnumber"] or 1))
            ev += math.log2(float(row["iso"] or 1))
            sheet.setdefault(row["scene"], {})[row["file"]] = ev
    found = {b.name: b for b in scan(real)}
    assert set(found) == set(sheet)
    for name, expected in sheet.items():
        bracket = found[name]
        assert {f.path.name for f in bracket.frames} == set(expected)
        lowest = min(expected.values())
        for frame, ev in zip(bracket.frames, bracket.evs, strict=True):
            assert ev == pytest.approx(expected[frame.path.name] - lowest, abs=0.1), name


WITH_EXIF = (
    "static/window", "static/seven_eleven_night", "static/stack_room", "static/stlouis_night",
    "dynamic/pingpong", "dynamic/forest", "dynamic/venice_handheld", "odd/aperture_varies",
    "odd/iso_varies", "odd/out_of_time_order",
)  # fmt: skip


@pytest.mark.parametrize("naming", ["folder", "number", "shuffled"])
def test_mixed_in_one_folder_the_same_brackets_are_found(
    real: Path, tmp_path: Path, naming: str
) -> None:
    """All files of the brackets with EXIF, without their lists, and single photos."""
    expected, files = set(), list[Path]()
    for name in WITH_EXIF:
        images = [
            p for p in sorted((real / name).iterdir()) if p.suffix.lower() in (".jpg", ".tif")
        ]
        expected.add(frozenset(images))
        files += images
    singles = [
        real / "dynamic" / "sculpture_garden" / "2.tif",
        real / "dynamic" / "lady" / "Img1.jpg",
        real / "static" / "hdrps_507" / "_MDF0003.tif",
    ]
    files += singles
    if naming == "shuffled":
        np.random.default_rng(0).shuffle(files)  # type: ignore[arg-type]
    for i, path in enumerate(files):
        stem = f"{path.parent.name}_{path.stem}" if naming == "folder" else f"IMG_{i:04d}"
        (tmp_path / f"{stem}{path.suffix}").symlink_to(path)
    brackets = scan(tmp_path)
    found = {frozenset(f.path.resolve() for f in b.frames) for b in brackets}
    assert found == {frozenset(p.resolve() for p in e) for e in expected} | {
        frozenset([p.resolve()]) for p in singles
    }
    assert all("single photo" in b.problems[0] for b in brackets if len(b.frames) == 1)


@pytest.mark.parametrize("recipe", ["default", "sshdr", "selfhdr"])
def test_small_real_brackets_are_used_or_rejected_with_a_reason(
    real: Path, tmp_path: Path, recipe: str
) -> None:
    exclude = tmp_path / "large.txt"
    large = [b.name for b in scan(real) if b.size and math.prod(b.size) > 1e6]
    exclude.write_text("\n".join([*large, "static/hdrps_*"]))
    out = tmp_path / "out.h5"
    summary = build(real, out, recipe=recipe, exclude=exclude)
    assert summary.used >= 5
    assert "2 frames" in summary.rejected.get("dynamic/toy_train_pair", "")
    assert "contradict" in summary.rejected["odd/times_contradict_pixels"]
    assert verify(out) == []


def test_a_man_who_moves_is_not_trusted_as_static(real: Path, tmp_path: Path) -> None:
    """The man of a SIGGRAPH'17 test scene moves; the ground on the left does not."""
    import cv2

    label(real / "dynamic" / "sig17_002", tmp_path, recipe="default")
    cues = cv2.imread(str(tmp_path / "cues.png"))[..., ::-1].astype(int)
    red = (cues[..., 0] - cues[..., 2]) > 40
    man, ground = red[420:700, 700:900], red[800:960, 40:500]
    assert man.mean() > 0.5
    assert ground.mean() < 0.1
    assert np.isfinite(cues).all()
