"""Frames that clip below the top code: found by what several exposures share, and only then."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from labelgen.calibration.survey import Selection, load_surveyed, survey
from labelgen.core.files import sha256
from labelgen.core.response import GAMMA
from labelgen.discovery.scan import scan
from labelgen.photos.levels import Levels, find_levels, to_full_scale
from labelgen.pipeline.build import build
from labelgen.pipeline.check_brackets import check_brackets
from labelgen.pipeline.label_bracket import label
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, make_scene

SIZE = (240, 336)


def codes_of(simulated: SimulatedBracket, black: int, white: int, top: int) -> list[np.ndarray]:
    """Frames (H, W, 3) whose light of 0 has the code `black`, and that clip at `white`."""
    dtype = np.uint8 if top == 255 else np.uint16
    return [np.rint(black + c / 65535 * (white - black)).astype(dtype) for c in simulated.codes]


def jpeg(codes: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(codes).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file))


def write(folder: Path, frames: list[np.ndarray], ev: tuple[float, ...] = EV) -> Path:
    folder.mkdir(parents=True)
    for i, codes in enumerate(frames):
        cv2.imwrite(str(folder / f"{i}.png"), codes[..., ::-1])
    (folder / "exposure.txt").write_text("\n".join(map(str, ev)))
    return folder


@pytest.fixture(scope="module")
def bright() -> SimulatedBracket:
    """Parts of it clip in all frames, and parts are black in the shortest."""
    scene = make_scene(41, SIZE, pieces=0, shake=0.0)
    light = [(c / 65535.0) ** GAMMA for c in scene.codes]
    # The light above the clip is lost, so the brightest and the darkest parts are made up.
    sun, shade = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    sun[20:60, 40:90], shade[150:230, 200:300] = True, True
    for frame in light:
        frame[sun] = 1
    for i, frame in enumerate(light):
        frame[shade] = 4.0**i * np.tile(np.logspace(-8, -2, 100), 80)[:, None]
    codes = tuple(np.rint(65535 * f ** (1 / GAMMA)).astype(np.uint16) for f in light)
    return SimulatedBracket(codes, scene.truth, scene.moving)


@pytest.mark.parametrize(
    ("white", "top"),
    [(250, 255), (248, 255), (235, 255), (200, 255), (60000, 65535), (15800, 65535)],
)
def test_a_white_below_the_top_code_is_found(
    bright: SimulatedBracket, white: int, top: int
) -> None:
    found = find_levels(codes_of(bright, 0, white, top))
    assert found is not None
    assert (set(found.black), set(found.white)) == ({0}, {white})
    assert str(white) in found.remark


@pytest.mark.parametrize("top", [255, 65535])
def test_the_top_code_itself_is_no_finding(bright: SimulatedBracket, top: int) -> None:
    assert find_levels(codes_of(bright, 0, top, top)) is None


@pytest.mark.parametrize("quality", [95, 85, 75])
@pytest.mark.parametrize("white", [235, 245])
def test_a_white_is_found_though_compression_spreads_it(
    bright: SimulatedBracket, white: int, quality: int
) -> None:
    found = find_levels([jpeg(c, quality) for c in codes_of(bright, 0, white, 255)])
    assert found is not None
    assert max(abs(w - white) for w in found.white) <= 1
    assert find_levels([jpeg(c, quality) for c in codes_of(bright, 0, 255, 255)]) is None


def test_a_pedestal_is_found_where_dark_codes_pile_up(bright: SimulatedBracket) -> None:
    assert find_levels(codes_of(bright, 16, 235, 255)) == Levels((16,) * 3, (235,) * 3, 255)
    assert find_levels(codes_of(bright, 16, 255, 255)) == Levels((16,) * 3, (255,) * 3, 255)


def test_channels_may_clip_at_codes_of_their_own(bright: SimulatedBracket) -> None:
    frames = codes_of(bright, 0, 255, 255)
    for codes in frames:
        codes[..., 0] = np.rint(codes[..., 0] * (240 / 255))
        codes[..., 2] = np.rint(codes[..., 2] * (230 / 255))
    found = find_levels(frames)
    assert found is not None
    assert found.white == (240, 255, 230)
    assert to_full_scale(frames[1], found).max(axis=(0, 1)).tolist() == [255, 255, 255]


def test_a_channel_that_is_never_bright_shares_the_white_of_the_others(
    bright: SimulatedBracket,
) -> None:
    frames = codes_of(bright, 0, 248, 255)
    for i, codes in enumerate(frames):
        dim = (bright.codes[0][..., 1] / 65535) ** GAMMA * 0.04 * 4**i
        codes[..., 1] = np.rint(248 * dim ** (1 / GAMMA))
    found = find_levels(frames)
    assert found is not None
    assert found.white == (248, 248, 248)


def test_a_black_of_one_channel_alone_moves_none(bright: SimulatedBracket) -> None:
    """The base of a film has another code in each channel, and piles up in some of them."""
    frames = codes_of(bright, 0, 255, 255)
    for codes in frames:
        codes[..., 0] = np.rint(13 + codes[..., 0] * (242 / 255))
        codes[..., 1:] = np.maximum(codes[..., 1:], 13 + codes[..., 1:] // 2)
        codes[150:230, 200:300, 1:] += np.arange(100, dtype=np.uint8)[:, None] % 7
    assert find_levels(frames) is None


def without_clip(scene: SimulatedBracket) -> list[np.ndarray]:
    """Three exposures of the darker half of a scene, as light."""
    dark = np.minimum((scene.codes[0] / 65535.0) ** GAMMA, 0.8) * 0.04
    return [dark * 4.0**i for i in range(3)]


def as_codes(light: list[np.ndarray]) -> list[np.ndarray]:
    return [np.rint(255 * np.clip(f, 0, 1) ** (1 / GAMMA)).astype(np.uint8) for f in light]


def test_dark_scenes_painted_walls_and_captions_are_no_clips(bright: SimulatedBracket) -> None:
    light = without_clip(bright)
    assert find_levels(as_codes(light)) is None
    for frame in light:  # the brightest thing of the scene, of one colour
        frame[100:140, 100:180] = frame.max()
    wall = as_codes(light)
    assert find_levels(wall) is None
    for codes in wall:
        codes[:20, :60] = 240
    assert find_levels(wall) is None


def test_one_frame_proves_nothing(bright: SimulatedBracket) -> None:
    frames = codes_of(bright, 0, 235, 255)
    assert find_levels(frames[2:]) is None
    assert find_levels([frames[2], frames[2]]) is None


def test_frames_of_another_depth_are_left(bright: SimulatedBracket) -> None:
    frames = codes_of(bright, 0, 235, 255)
    deep = bright.codes[0]
    assert find_levels([frames[0], deep]) is None
    assert to_full_scale(deep, Levels((0,) * 3, (235,) * 3, 255)) is deep


@pytest.mark.parametrize(
    ("black", "white", "top"), [(0, 235, 255), (16, 235, 255), (0, 15800, 65535)]
)
def test_labels_are_those_of_frames_of_full_scale(
    tmp_path: Path, bright: SimulatedBracket, black: int, white: int, top: int
) -> None:
    """What clips in all frames is 1.0, and the others have the radiance that they have."""
    full = write(tmp_path / "full", codes_of(bright, 0, top, top))
    low = write(tmp_path / "low", codes_of(bright, black, white, top))
    record = label(low, tmp_path / "out")
    assert any("white at" in p for p in record["problems"])
    other = label(full, tmp_path / "other")
    assert not other["problems"]
    assert record["clipped"] == pytest.approx(other["clipped"], abs=0.002)
    ours, theirs = (cv2.imread(str(tmp_path / d / "label.hdr"), -1) for d in ("out", "other"))
    assert (ours[25:55, 45:85] == 1).all()
    sure = (theirs > 0.01) & (theirs < 0.9)
    error = np.abs(np.log2(ours[sure] / theirs[sure]))
    assert np.quantile(error, 0.9) < 0.08


def test_survey_and_making_see_the_same_codes(tmp_path: Path, bright: SimulatedBracket) -> None:
    """So do the frames that are read one by one, for calibration alone."""
    frames = [*codes_of(bright, 0, 235, 255)]
    light = (bright.codes[0] / 65535.0) ** GAMMA
    darker = [np.rint(235 * (light / 4**i) ** (1 / GAMMA)).astype(np.uint8) for i in (2, 1)]
    folder = write(tmp_path / "five", [*darker, *frames], (-4, -2, 0, 2, 4))
    [bracket] = scan(folder)
    found = survey(bracket, Selection(3, 1, 64))
    assert "white at 235 of 255: taken as the clip" in found.problems
    assert load_surveyed(found).codes[2].max() == 255
    plain = write(
        tmp_path / "plain",
        [to_full_scale(c, Levels((0,), (235,), 255)) for c in (*darker, *frames)],
        (-4, -2, 0, 2, 4),
    )
    [bracket] = scan(plain)
    other = survey(bracket, Selection(3, 1, 64))
    assert other.problems == ()
    assert found.evidence is not None
    assert other.evidence is not None
    assert found.evidence.ridges == other.evidence.ridges
    assert found.evidence.noise == other.evidence.noise


def test_kept_frames_are_stretched_too(
    tmp_path: Path, bright: SimulatedBracket, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "raw" / "a", codes_of(bright, 0, 235, 255))
    for name, seconds in (("kept", -1.0), ("read", np.inf)):
        monkeypatch.setattr("labelgen.calibration.survey.MIN_DECODE_TIME", seconds)
        build(tmp_path / "raw", tmp_path / f"{name}.h5", jobs=1)
    assert sha256(tmp_path / "kept.h5") == sha256(tmp_path / "read.h5")


def test_a_check_names_the_white(tmp_path: Path, bright: SimulatedBracket) -> None:
    write(tmp_path / "a", codes_of(bright, 0, 250, 255))
    [checked], _ = check_brackets(scan(tmp_path), jobs=1)
    assert checked.problems == ("white at 250 of 255: taken as the clip",)
