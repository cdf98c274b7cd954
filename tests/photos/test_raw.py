from __future__ import annotations

import contextlib
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from labelgen.calibration.survey import Selection, survey
from labelgen.cli import main
from labelgen.core.errors import Rejected
from labelgen.discovery.folder import prefer_raw
from labelgen.discovery.scan import scan
from labelgen.photos.header import read_photo_header
from labelgen.photos.limits import MAX_PIXELS
from labelgen.photos.orientation import apply_orientation
from labelgen.photos.pictures import read_hdr
from labelgen.photos.raw import develop
from labelgen.photos.stack import load_stack
from tests.conftest import make_scene, psnr_mu
from tests.helpers.dng import NEUTRAL, WHITE, mosaic, seen, write_dng

SIZE = 96, 160


@pytest.fixture(autouse=True)
def _libraries() -> None:
    pytest.importorskip("rawpy", reason="rawpy is not installed")
    pytest.importorskip("tifffile", reason="tifffile is not installed")


def grey(radiance: np.ndarray) -> np.ndarray:
    """What the sensor sees of (H, W) grey radiance, 1.0 where its greens clip."""
    return seen(np.repeat(radiance[..., None], 3, -1))


def ramp(top: float) -> np.ndarray:
    return np.broadcast_to(np.linspace(0.01, top, SIZE[1]), SIZE)


def write_raw_bracket(folder: Path, radiance: np.ndarray, **settings: object) -> list[Path]:
    """Three frames 2 EV apart, the shortest of which just does not clip."""
    folder.mkdir(exist_ok=True)
    paths = []
    for i in range(3):
        paths.append(folder / f"IMG_{i}.dng")
        codes = mosaic(grey(radiance * 4.0**i), noise=4, seed=i)
        write_dng(paths[-1], codes, time=Fraction(4**i, 1000), **settings)  # type: ignore[arg-type]
    return paths


def test_a_header_tells_size_camera_and_exposure(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", mosaic(grey(ramp(1))), time=Fraction(1, 40), iso=200)
    header = read_photo_header(tmp_path / "a.dng")
    assert header.size == SIZE
    assert (header.camera, header.time_s) == ("Maker Model 1", 1 / 40)
    assert (header.fnumber, header.iso) == (8, 200)


def test_frames_are_linear_and_keep_their_ratios(tmp_path: Path) -> None:
    radiance = ramp(0.9)
    stack = load_stack(write_raw_bracket(tmp_path, radiance), [0, 2, 4], 1)
    for i in range(3):
        for channel in range(3):
            # The outermost pixels are extrapolated.
            light = stack.linear(i)[8:-8, 8:-8, channel]
            expected = radiance[8:-8, 8:-8] * 4.0**i
            usable = (expected > 0.02) & (expected < 0.95)
            ratio = light[usable] / expected[usable]
            assert ratio.mean() == pytest.approx(1, abs=0.003), (i, channel)
            assert ratio.std() < 0.03, (i, channel)


def test_white_balance_is_that_of_the_reference_for_all_frames(tmp_path: Path) -> None:
    codes = mosaic(grey(ramp(0.9)))
    neutrals = (NEUTRAL, (0.8, 1.0, 0.4), (0.4, 1.0, 0.9))
    paths = [tmp_path / f"{i}.dng" for i in range(3)]
    for path, neutral in zip(paths, neutrals, strict=True):
        write_dng(path, codes, neutral=neutral)
    first, second = (develop(paths, reference)[0] for reference in (0, 1))
    for developed in (first, second):
        assert np.array_equal(developed[0], developed[1])
        assert np.array_equal(developed[0], developed[2])
    middle = first[0][20:-20, 20:-20].reshape(-1, 3).astype(float)
    assert middle.mean(0) == pytest.approx(np.repeat(middle[:, 1].mean(), 3), rel=1e-3)  # grey
    assert second[0][48, 80, 2] > 1.2 * second[0][48, 80, 0]  # not grey by another white


def test_brightness_is_fixed(tmp_path: Path) -> None:
    """A dark frame stays dark: LibRaw would scale it to its own brightest pixels."""
    paths = [tmp_path / "a.dng", tmp_path / "b.dng"]
    write_dng(paths[0], mosaic(grey(ramp(0.9))))
    write_dng(paths[1], mosaic(grey(ramp(0.9) / 16)))
    bright, dark = develop(paths, 0)[0]
    assert bright[48, 80].mean() / dark[48, 80].mean() == pytest.approx(16, rel=0.01)
    assert bright[48, 80] == pytest.approx(65535 * ramp(0.9)[48, 80], rel=0.01)


@pytest.mark.parametrize("clip", [WHITE, 15_000])
def test_what_clips_in_the_sensor_is_white(tmp_path: Path, clip: int) -> None:
    """Also where the sensor clips below the white level that the file states."""
    radiance = ramp(3.0)
    write_dng(tmp_path / "a.dng", mosaic(grey(radiance), noise=4, clip=clip))
    codes = develop([tmp_path / "a.dng"], 0)[0][0]
    clipped = (radiance * min(NEUTRAL) > 1.05) & (np.arange(SIZE[1]) < SIZE[1] - 4)
    assert clipped.any()
    assert (codes[clipped] == 65535).all()
    assert codes[radiance < 0.8].max() < 65535


def test_one_full_scale_for_the_bracket(tmp_path: Path) -> None:
    """Where only the longest frame shows where the sensor clips, that holds for all of them."""
    radiance = ramp(0.9)
    paths = [tmp_path / "a.dng", tmp_path / "b.dng"]
    for i, path in enumerate(paths):
        write_dng(path, mosaic(grey(radiance * 4.0**i), clip=15_000))
    stack = load_stack(paths, [0, 2], 0)
    usable = (radiance > 0.02) & (radiance < 0.2)
    ratio = stack.radiance(1)[usable] / stack.radiance(0)[usable]
    assert ratio.mean() == pytest.approx(1, abs=0.003)


def test_orientation_is_that_of_the_reference(tmp_path: Path) -> None:
    radiance = np.outer(np.linspace(0.1, 1, SIZE[0]), np.linspace(0.1, 0.9, SIZE[1]))
    paths = [tmp_path / f"{i}.dng" for i in range(4)]
    orientations = (1, 3, 6, 8)
    for path, orientation in zip(paths, orientations, strict=True):
        write_dng(path, mosaic(grey(radiance)), orientation=orientation)
        shown = apply_orientation(np.zeros((*SIZE, 3), np.uint8), orientation).shape[:2]
        assert read_photo_header(path).size == shown
    for reference, orientation in enumerate(orientations):
        expected = apply_orientation((65535 * radiance).astype(np.uint16), orientation)
        for codes in load_stack(paths, [0, 1, 2, 3], reference).codes:
            from_linear = 65535 * (codes[..., 1] / 65535.0) ** 2.2
            assert from_linear.shape == expected.shape
            assert np.abs(from_linear - expected)[8:-8, 8:-8].max() < 700


def test_a_bracket_of_raw_files_is_found_and_surveyed(tmp_path: Path) -> None:
    smooth = np.broadcast_to(np.linspace(0.02, 0.9, SIZE[1]), SIZE)
    write_raw_bracket(tmp_path / "one", smooth)
    (bracket,) = scan(tmp_path)
    assert bracket.problems == ()
    assert bracket.evs == pytest.approx([0, 2, 4])
    found = survey(bracket, Selection(patch=64))
    assert found.rejected == ""
    assert (found.bits, found.size) == (16, SIZE)


def test_without_rawpy_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_raw_bracket(tmp_path / "one", ramp(0.9))
    monkeypatch.setitem(sys.modules, "rawpy", None)
    (bracket,) = scan(tmp_path)
    assert any("pip install 'labelgen[raw]'" in p for p in bracket.problems)
    assert bracket.evs == pytest.approx([0, 2, 4])  # EXIF needs no rawpy
    assert "pip install 'labelgen[raw]'" in survey(bracket, Selection(patch=64)).rejected
    out = str(tmp_path / "out.h5")
    result = CliRunner().invoke(main, ["build", str(tmp_path), out, "--backend", "threading"])
    assert result.exit_code == 2
    assert "labelgen[raw]" in result.output


def test_damaged_raw_files_are_rejected_with_their_name(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", mosaic(grey(ramp(0.9))))
    (tmp_path / "cut.dng").write_bytes((tmp_path / "a.dng").read_bytes()[:9000])
    (tmp_path / "text.cr2").write_text("not a photo")
    (tmp_path / "empty.nef").touch()
    for name in ("cut.dng", "text.cr2", "empty.nef", "absent.arw"):
        with pytest.raises(Rejected, match=name):
            load_stack([tmp_path / "a.dng", tmp_path / name], [0, 1], 0)
    for name in ("text.cr2", "empty.nef", "absent.arw"):
        assert read_photo_header(tmp_path / name).size is None


@pytest.mark.filterwarnings("ignore:Tag data", "ignore:Corrupt EXIF", "ignore:Metadata Warning")
def test_broken_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", mosaic(grey(ramp(0.9))))
    whole, rng = (tmp_path / "a.dng").read_bytes(), np.random.default_rng(3)
    sound = 0
    for _ in range(60):
        broken = bytearray(whole)
        broken[rng.integers(0, 400)] = rng.integers(0, 256)
        (tmp_path / "a.dng").write_bytes(broken)
        sound += read_photo_header(tmp_path / "a.dng").size == SIZE
        with contextlib.suppress(Rejected):
            develop([tmp_path / "a.dng"], 0)
    assert 0 < sound < 60


def test_raw_and_pictures_do_not_mix(tmp_path: Path) -> None:
    write_dng(tmp_path / "a.dng", mosaic(grey(ramp(0.9))))
    with pytest.raises(Rejected, match=r"a\.dng is camera RAW, b\.jpg is not"):
        load_stack([tmp_path / "a.dng", tmp_path / "b.jpg"], [0, 1], 0)


def test_a_raw_file_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_dng(tmp_path / "a.dng", mosaic(grey(ramp(0.9))))
    assert MAX_PIXELS > 200e6  # phones have that many
    monkeypatch.setattr("labelgen.photos.limits.MAX_PIXELS", SIZE[0] * SIZE[1] - 1)
    with pytest.raises(Rejected, match=r"a\.dng: claims 160x96 px"):
        develop([tmp_path / "a.dng"], 0)


def test_raw_and_jpeg_of_one_photo_are_one_frame() -> None:
    names = ["IMG_1.CR2", "img_1.JPG", "IMG_2.CR2", "IMG_3.jpg"]
    kept, remark = prefer_raw(names, True)
    assert kept == ["IMG_1.CR2", "IMG_2.CR2", "IMG_3.jpg"]
    assert "img_1.JPG" in remark
    assert "RAW" in remark
    kept, remark = prefer_raw(names, False)
    assert kept == ["img_1.JPG", "IMG_2.CR2", "IMG_3.jpg"]
    assert "IMG_1.CR2" in remark
    assert "labelgen[raw]" in remark
    for alone in (["a.jpg", "b.png", "a.png"], ["a.cr2", "b.dng"], []):
        assert prefer_raw(alone, True) == (alone, "")


def test_a_folder_of_raw_and_jpeg_has_one_frame_a_photo(tmp_path: Path) -> None:
    from PIL import Image

    for path in write_raw_bracket(tmp_path, ramp(0.9)):
        Image.new("RGB", (160, 96)).save(path.with_suffix(".JPG"))
    (bracket,) = scan(tmp_path)
    assert [f.path.suffix for f in bracket.frames] == [".dng"] * 3
    assert any("IMG_0.JPG and 2 more are left out" in p for p in bracket.problems)


def test_colours_are_linear_srgb(tmp_path: Path) -> None:
    patches = np.array([[0.5, 0.2, 0.2], [0.2, 0.5, 0.3], [0.2, 0.3, 0.6], [0.7, 0.6, 0.3]])
    for patch in patches:
        write_dng(tmp_path / "a.dng", mosaic(seen(np.broadcast_to(patch, (64, 64, 3)))))
        developed = develop([tmp_path / "a.dng"], 0)[0][0][8:-8, 8:-8] / 65535
        assert developed.mean((0, 1)) == pytest.approx(patch, rel=0.005)


@pytest.mark.parametrize("channel", range(3))
def test_where_one_colour_of_the_sensor_clips_its_channel_is_at_the_top(
    tmp_path: Path, channel: int
) -> None:
    sensor = np.full((64, 64, 3), 0.6) * NEUTRAL
    sensor[..., channel] = 1.2
    write_dng(tmp_path / "a.dng", mosaic(sensor, noise=4))
    developed = develop([tmp_path / "a.dng"], 0)[0][0][8:-8, 8:-8]
    assert (developed[..., channel] == 65535).all()


def test_a_scene_through_a_camera_is_the_scene(tmp_path: Path) -> None:
    """Known radiance, three RAW files of it, and the label that a user gets."""
    scene = make_scene(11, (160, 200), shake=0.0, pieces=0)
    radiance = np.clip(scene.truth, 0, 1)
    (tmp_path / "one").mkdir()
    for i in range(3):
        codes = mosaic(seen(radiance * 4.0**i), noise=4, seed=i)
        write_dng(tmp_path / "one" / f"{i}.dng", codes, time=Fraction(4**i, 1000))
    args = ["label", str(tmp_path / "one"), "-o", str(tmp_path / "out"), "--json"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    label = read_hdr(tmp_path / "out" / "label.hdr")
    trusted = cv2.imread(str(tmp_path / "out" / "weight.png"), 0) > 128
    assert trusted.mean() > 0.5
    assert psnr_mu(label[trusted], radiance[trusted]) > 30
