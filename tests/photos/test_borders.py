"""Borders of one colour without light are found, and dark or clipped parts of a scene are not."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from labelgen.photos.borders import find_borders
from labelgen.photos.frames import read_frames
from labelgen.pipeline.label_bracket import label
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, make_scene

SIZE = 288, 400


def frames_of(simulated: SimulatedBracket) -> list[np.ndarray]:
    """(H, W, 3) uint8."""
    return [np.rint(c / 257).astype(np.uint8) for c in simulated.codes]


def moved(
    codes: np.ndarray, angle: float, shift: tuple[float, float], fill: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A frame that was turned (degrees) and shifted (px), and where nothing is left of it."""
    (h, w), flags = codes.shape[:2], cv2.INTER_NEAREST
    matrix = cv2.getRotationMatrix2D((w / 2, h / 2), angle, 1)
    matrix[:, 2] += shift
    there = cv2.warpAffine(np.ones((h, w), np.uint8), matrix, (w, h), flags=flags)
    warped = cv2.warpAffine(codes, matrix, (w, h), flags=flags, borderValue=fill)
    return np.asarray(warped), there == 0


def jpeg(codes: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(codes).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


@pytest.mark.parametrize("fill", [(0, 0, 0), (0, 0, 255), (255, 0, 255)])
@pytest.mark.parametrize("frame", [0, 1, 2])
@pytest.mark.parametrize(("angle", "shift"), [(0, (20, -12)), (3, (0, 0)), (-2, (9, 14))])
def test_borders_of_moved_frames_are_found(
    tripod: SimulatedBracket,
    fill: tuple[int, int, int],
    frame: int,
    angle: float,
    shift: tuple[float, float],
) -> None:
    frames = frames_of(tripod)
    frames[frame], lost = moved(frames[frame], angle, shift, fill)
    found = find_borders(frames)
    assert [mask is not None for mask in found] == [i == frame for i in range(3)]
    mask = found[frame]
    assert mask is not None
    assert not (mask & ~lost).any()
    # A wedge of a few px is left, within the margin that masks have anyway.
    kernel = np.ones((9, 9), np.uint8)
    assert (cv2.dilate(mask.astype(np.uint8), kernel)[lost] > 0).mean() > 0.98


@pytest.mark.parametrize("quality", [95, 80])
def test_borders_are_found_though_compression_blurs_their_end(
    tripod: SimulatedBracket, quality: int
) -> None:
    frames = frames_of(tripod)
    frames[1], lost = moved(frames[1], 0, (41, -37), (0, 0, 0))
    _, mask, _ = find_borders([jpeg(c, quality) for c in frames], lossy=True)
    assert mask is not None
    assert not (mask & ~lost).any()
    assert mask[lost].mean() > 0.75  # the blocks at its end are lost, less than the margin


def test_frames_as_they_were_taken_have_none() -> None:
    for seed in range(12):
        frames = frames_of(make_scene(300 + seed, SIZE))
        assert find_borders(frames) == [None] * 3
        assert find_borders([jpeg(c, 85) for c in frames], lossy=True) == [None] * 3


def test_a_dark_wall_and_a_clipped_sky_are_no_borders(tripod: SimulatedBracket) -> None:
    """They end in a straight line, and have one code in a frame, but the light of the others."""
    frames = frames_of(tripod)
    for i, codes in enumerate(frames):
        codes[:30] = (0, 0, 8 * i)
        codes[-30:] = 255
        codes[:, :20] = min(255, 120 * 2**i)
    assert find_borders(frames) == [None] * 3


def test_things_that_come_into_sight_are_no_borders(tripod: SimulatedBracket) -> None:
    """Black or white, from an edge, in one frame alone: but nobody is that straight."""
    for colour in (0, 255):
        for frame in range(3):
            frames = frames_of(tripod)
            cv2.ellipse(frames[frame], (200, 288), (110, 60), 0, 0, 360, (colour,) * 3, -1)
            cv2.circle(frames[frame], (200, 215), 25, (colour,) * 3, -1)
            assert find_borders(frames) == [None] * 3


def test_frames_of_other_sizes_or_grey_or_alone_have_none(tripod: SimulatedBracket) -> None:
    frames = frames_of(tripod)
    frames[1][:20] = 0
    assert find_borders([frames[0], frames[1][:-1]]) == [None] * 2
    assert find_borders([codes[..., 0] for codes in frames]) == [None] * 3
    assert find_borders(frames[1:2]) == [None]
    assert find_borders([codes[:3, :3] for codes in frames]) == [None] * 3


def test_a_label_has_no_weight_in_a_border(tmp_path: Path, tripod: SimulatedBracket) -> None:
    """The border of the reference itself was a trusted black before, and one of 240 a clip."""
    for fill in (0, 240):
        folder = tmp_path / str(fill)
        folder.mkdir()
        frames = frames_of(tripod)
        frames[1], lost = moved(frames[1], 0, (24, 10), (fill,) * 3)
        for i, codes in enumerate(frames):
            cv2.imwrite(str(folder / f"{i}.png"), codes[..., ::-1])
        (folder / "exposure.txt").write_text("\n".join(map(str, EV)))
        read = read_frames(sorted(folder.glob("*.png")), 1)
        assert read.levels is None
        record = label(folder, tmp_path / f"out{fill}")
        weight = cv2.imread(str(tmp_path / f"out{fill}" / "weight.png"), -1)
        if fill == 0:
            assert any("no data in a frame" in p for p in record["problems"])
            assert weight[lost].max() == 0
        assert weight.max() == 255
