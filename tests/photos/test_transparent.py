"""Alpha: what is transparent in a frame was not photographed there, and is not used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from labelgen.core.bracket import MASK_MARGIN, dilate_mask
from labelgen.core.errors import Rejected
from labelgen.core.files import sha256
from labelgen.dataset.reader import Dataset
from labelgen.photos.decode import decode_photo
from labelgen.photos.frames import read_frames
from labelgen.photos.stack import load_stack
from labelgen.pipeline.build import build
from labelgen.pipeline.label_bracket import label
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV

Write = Callable[[Path, np.ndarray, np.ndarray], None]


def write_png(path: Path, codes: np.ndarray, alpha: np.ndarray) -> None:
    cv2.imwrite(str(path), np.dstack([codes[..., ::-1], alpha]))


def write_webp(path: Path, codes: np.ndarray, alpha: np.ndarray) -> None:
    Image.fromarray(np.dstack([codes, alpha])).save(path, lossless=True, exact=True)


def write_tiff(kind: str = "unassalpha") -> Write:
    tifffile = pytest.importorskip("tifffile")

    def write(path: Path, codes: np.ndarray, alpha: np.ndarray) -> None:
        samples = np.dstack([codes, alpha])
        tifffile.imwrite(path, samples, photometric="rgb", extrasamples=[kind])

    return write


def shifted_borders(size: tuple[int, int]) -> list[np.ndarray]:
    """Opaque pixels of three frames that alignment moved by some px."""
    opaque = [np.ones(size, bool) for _ in range(3)]
    opaque[1][:, :24] = False
    opaque[2][-12:] = opaque[2][:, -20:] = False
    return opaque


def write_aligned(folder: Path, simulated: SimulatedBracket, fill: int) -> np.ndarray:
    """A bracket with transparent borders over a code; returns (H, W) bool, the union of them."""
    opaque = shifted_borders(simulated.truth.shape[:2])
    folder.mkdir(parents=True)
    for i, (codes, seen) in enumerate(zip(simulated.codes, opaque, strict=True)):
        filled = np.where(seen[..., None], codes, np.uint16(fill))
        write_png(folder / f"{i}.png", filled, np.where(seen, 65535, 0).astype(np.uint16))
    (folder / "exposure.txt").write_text("\n".join(map(str, EV)))
    return ~np.logical_and.reduce(opaque)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("a.png", np.uint8),
        ("a.png", np.uint16),
        ("a.webp", np.uint8),
        ("a.tif", np.uint8),
        ("a.tif", np.uint16),
        ("a.tif", np.float32),
    ],
)
def test_pixels_below_half_alpha_are_transparent(tmp_path: Path, name: str, dtype: type) -> None:
    full = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    codes, alpha = np.full((6, 8, 3), 100.0), np.full((6, 8), 255.0)
    alpha[0], alpha[1], alpha[2] = 0, 127, 128
    write = {"png": write_png, "webp": write_webp}.get(name[2:]) or write_tiff()
    write(tmp_path / name, (codes * full).astype(dtype), (alpha * full).astype(dtype))
    photo = decode_photo(tmp_path / name)
    assert photo.transparent is not None
    assert photo.transparent.all(1).tolist() == [True, True, False, False, False, False]
    assert not photo.transparent[2:].any()
    assert (photo.codes == (100 if dtype == np.uint8 else 25700)).all()


@pytest.mark.parametrize("value", [255, 128, 127, 0])
def test_alpha_that_is_the_same_everywhere_means_nothing(tmp_path: Path, value: int) -> None:
    """Opaque, or left at 0 by a program that does not use it."""
    codes, alpha = np.full((6, 8, 3), 100, np.uint8), np.full((6, 8), value, np.uint8)
    write_png(tmp_path / "a.png", codes, alpha)
    assert decode_photo(tmp_path / "a.png").transparent is None


def test_palettes_and_grey_have_alpha_too(tmp_path: Path) -> None:
    codes = np.full((6, 8, 3), 100, np.uint8)
    codes[0] = 7
    Image.fromarray(codes).quantize(4).save(tmp_path / "p.png")
    picture = Image.open(tmp_path / "p.png")
    picture.save(tmp_path / "a.png", transparency=np.array(picture)[0, 0].item())
    alpha = np.full((6, 8), 255, np.uint8)
    alpha[0] = 0
    Image.fromarray(np.dstack([codes[..., 0], alpha]), "LA").save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        transparent = decode_photo(tmp_path / name).transparent
        assert transparent is not None
        assert (transparent == (alpha == 0)).all()


def test_a_png_that_ends_within_its_header_is_damaged(tmp_path: Path) -> None:
    """The type of its colours is the last byte that is looked at."""
    codes, alpha = np.full((6, 8, 3), 100, np.uint8), np.full((6, 8), 9, np.uint8)
    write_png(tmp_path / "a.png", codes, alpha)
    whole = (tmp_path / "a.png").read_bytes()
    for length in range(8, 60):
        (tmp_path / "a.png").write_bytes(whole[:length])
        with pytest.raises(Rejected, match=r"damaged|claims"):
            decode_photo(tmp_path / "a.png")


def test_a_fourth_sample_that_is_no_alpha_hides_nothing(tmp_path: Path) -> None:
    for dtype in (np.uint8, np.uint16):
        codes, other = np.full((6, 8, 3), 100, dtype), np.full((6, 8), 255, dtype)
        other[0] = 0
        write_tiff("unspecified")(tmp_path / "a.tif", codes, other)
        assert decode_photo(tmp_path / "a.tif").transparent is None


def test_transparent_pixels_are_turned_as_the_frames(tmp_path: Path) -> None:
    codes, alpha = np.full((6, 8, 3), 100, np.uint8), np.full((6, 8), 255, np.uint8)
    alpha[0] = 0
    exif = Image.Exif()
    exif[0x0112] = 6  # the first row is shown at the right
    Image.fromarray(np.dstack([codes, alpha])).save(tmp_path / "0.png", exif=exif)
    Image.fromarray(codes).save(tmp_path / "1.png")
    read = read_frames([tmp_path / "0.png", tmp_path / "1.png"], 0)
    assert read.no_data is not None
    assert read.no_data.shape == (8, 6)
    assert read.no_data[:, -1].all()
    assert read.no_data.sum() == 8


@pytest.mark.parametrize("fill", [0, 40000])
def test_a_label_has_no_weight_where_a_frame_is_transparent(
    tmp_path: Path, tripod: SimulatedBracket, fill: int
) -> None:
    """Whatever colour is there; and it is the same elsewhere as without the borders."""
    lost = write_aligned(tmp_path / "a", tripod, fill)
    record = label(tmp_path / "a", tmp_path / "out")
    assert any("no data in a frame" in p for p in record["problems"])
    weight = cv2.imread(str(tmp_path / "out" / "weight.png"), -1)
    assert weight[lost].max() == 0
    far = ~dilate_mask(lost, MASK_MARGIN + 2)
    made = cv2.imread(str(tmp_path / "out" / "label.hdr"), -1)[..., ::-1]
    sure = far & (weight > 200) & (tripod.truth.min(-1) > 0.01)
    assert sure.mean() > 0.5
    error = np.abs(np.log2(made[sure] / np.clip(tripod.truth[sure], 0, 1)))
    assert np.median(error) < 0.03


def test_no_sample_has_a_transparent_pixel_and_kept_frames_change_nothing(
    tmp_path: Path, tripod: SimulatedBracket, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = write_aligned(tmp_path / "raw" / "a", tripod, 0)
    for name, seconds in (("kept", -1.0), ("read", np.inf)):
        monkeypatch.setattr("labelgen.calibration.survey.MIN_DECODE_TIME", seconds)
        build(tmp_path / "raw", tmp_path / f"{name}.h5", jobs=1)
    assert sha256(tmp_path / "kept.h5") == sha256(tmp_path / "read.h5")
    with Dataset(tmp_path / "kept.h5") as data:
        origins = data.column("origin")
    assert len(origins) > 0
    for y, x in origins:
        assert not lost[y : y + 128, x : x + 128].any()


def test_borders_of_one_colour_are_no_evidence_of_a_clip(
    tmp_path: Path, tripod: SimulatedBracket
) -> None:
    """They have the same code in all frames and differ in size, as what clips does."""
    light = np.minimum(tripod.codes[0] / 65535.0, 0.9) ** 2.2
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for clear in (False, True):
        for i, path in enumerate(paths):
            codes = np.rint(65535 * (light * 4**i / 64) ** (1 / 2.2)).astype(np.uint16)
            alpha = np.full(codes.shape[:2], 65535, np.uint16)
            codes[: 8 + 4 * i] = 60000
            if clear:
                alpha[: 8 + 4 * i] = 0
            write_png(path, codes, alpha)
        assert (read_frames(paths, 1).levels is None) == clear


def test_frames_to_predict_from_keep_what_only_another_one_lacks(
    tmp_path: Path, tripod: SimulatedBracket
) -> None:
    write_aligned(tmp_path / "a", tripod, 0)
    paths = sorted((tmp_path / "a").glob("*.png"))
    hidden, kept = load_stack(paths, EV, 1), load_stack(paths, EV, 1, mask_no_data=False)
    assert kept.masked is None
    assert np.array_equal(kept.codes[0], tripod.codes[0])
    assert hidden.codes[0][:, :24].max() == 0
