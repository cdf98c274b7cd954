from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from labelgen.alignment.chroma_upsampling import chroma_uncertainty, upsample_chroma
from labelgen.core.arrays import full_region
from labelgen.core.recipe import DEFAULT
from labelgen.core.response import encode
from labelgen.labels.label import make_label
from labelgen.photos.decode import decode_photo
from labelgen.photos.stack import load_stack

SAMPLINGS = {"4:2:0": (2, 2), "4:2:2": (1, 2)}


def painting(height: int = 120, width: int = 160, seed: int = 0) -> NDArray[np.float32]:
    """Linear light of patches in many colours with sharp borders, which stay below clipping."""
    rng = np.random.default_rng(seed)
    light = np.full((height, width, 3), 0.2, np.float32)
    for _ in range(60):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(4, 24)), int(rng.integers(4, 24)))
        colour = tuple(float(c) for c in rng.uniform(0.02, 0.7, 3))
        cv2.ellipse(light, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
    return cv2.GaussianBlur(light, (0, 0), 0.6)


def jpeg(codes: NDArray[np.uint8], subsampling: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(codes).save(file, "JPEG", quality=95, subsampling=subsampling)
    return file.getvalue()


@pytest.mark.parametrize("subsampling", SAMPLINGS)
def test_colour_comes_closer_to_what_was_photographed(tmp_path: Path, subsampling: str) -> None:
    want = encode(painting(), 8)
    (tmp_path / "a.jpg").write_bytes(jpeg(want, subsampling))
    photo = decode_photo(tmp_path / "a.jpg")
    assert photo.sampling == SAMPLINGS[subsampling]
    found = upsample_chroma(photo.codes, full_region(want.shape[:2]), photo.sampling, 3)
    before, after = (
        np.abs(codes - want.astype(np.float64)) for codes in (photo.codes, found / 257)
    )
    for channel in (0, 2):
        assert after[..., channel].mean() < 0.85 * before[..., channel].mean()
        assert (after[..., channel] > 13).mean() < 0.7 * (before[..., channel] > 13).mean()
    luma = np.array([0.299, 0.587, 0.114])
    middle = np.all((found > 0) & (found < 65535), -1)
    np.testing.assert_allclose(
        (found / 257 @ luma)[middle], (photo.codes @ luma)[middle], atol=0.01
    )


def test_a_piece_is_that_of_the_whole() -> None:
    codes, at = encode(painting(), 8), (slice(31, 77), slice(45, 102))
    whole_frame = upsample_chroma(codes, full_region(codes.shape[:2]), (2, 2), 3)
    piece = upsample_chroma(codes, at, (2, 2), 3)
    assert np.abs(piece.astype(int) - whole_frame[at]).max() <= 1


def test_odd_sizes_and_borders_are_taken() -> None:
    codes = encode(painting(33, 47), 8)
    assert upsample_chroma(codes, full_region((33, 47)), (2, 2), 3).shape == (33, 47, 3)
    assert upsample_chroma(codes, (slice(32, 33), slice(46, 47)), (2, 2), 3).shape == (1, 1, 3)


def test_grey_and_what_clips_stay_as_they_are() -> None:
    grey = encode(painting()[..., :1].repeat(3, -1), 8)
    found = upsample_chroma(grey, full_region(grey.shape[:2]), (2, 2), 3)
    assert np.abs(found / 257 - grey).max() < 0.02
    bright = encode(np.minimum(3 * painting(), 1), 8)
    clips = (bright == 255).any(-1)
    found = upsample_chroma(bright, full_region(bright.shape[:2]), (2, 2), 3)
    assert 0.05 < clips.mean() < 0.95
    np.testing.assert_array_equal(found[clips], bright[clips].astype(np.uint16) * 257)


def test_doubt_is_where_colour_is_wrong(tmp_path: Path) -> None:
    want = encode(painting(), 8)
    (tmp_path / "a.jpg").write_bytes(jpeg(want, "4:2:0"))
    photo = decode_photo(tmp_path / "a.jpg")
    found = upsample_chroma(
        photo.codes, full_region(want.shape[:2]), photo.sampling, 3
    ) / np.float32(65535)
    wrong = np.abs(found - want / np.float32(255)).max(-1)
    doubted = chroma_uncertainty(found, photo.sampling).max(-1)
    sure = doubted <= np.quantile(doubted, 0.7)
    assert (wrong[sure] > 0.05).mean() < 0.2 * (wrong[~sure] > 0.05).mean()
    assert (wrong[~sure] > 0.05).mean() > 0.05


@pytest.mark.parametrize(
    ("kind", "options", "sampling"),
    [
        ("JPEG", {"subsampling": "4:4:4"}, (1, 1)),
        ("MPO", {"subsampling": "4:2:0", "save_all": True}, (2, 2)),
        ("WEBP", {}, (2, 2)),
        ("WEBP", {"lossless": True}, (1, 1)),
        ("PNG", {}, (1, 1)),
    ],
)
def test_files_tell_how_they_store_colour(
    tmp_path: Path, kind: str, options: dict[str, object], sampling: tuple[int, int]
) -> None:
    path = tmp_path / f"a.{kind.lower()}"
    Image.fromarray(encode(painting(), 8)).save(path, kind, **options)
    assert decode_photo(path).sampling == sampling


def test_grey_jpegs_share_no_colour(tmp_path: Path) -> None:
    Image.fromarray(encode(painting()[..., 0], 8)).save(tmp_path / "a.jpg")
    assert decode_photo(tmp_path / "a.jpg").sampling == (1, 1)


def test_a_turned_photo_turns_what_shares_a_colour(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, gain in (("a.jpg", 0.25), ("b.jpg", 1.0)):
        image = Image.fromarray(encode(gain * painting(), 8))
        image.save(tmp_path / name, quality=95, subsampling="4:2:2", exif=exif)
    paths = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert load_stack(paths, (0.0, 2.0), 1).source_format.sampling == (2, 1)
    Image.fromarray(encode(painting(), 8)).save(paths[1], quality=95, subsampling="4:4:4")
    Image.fromarray(encode(painting(), 8)).save(paths[0], quality=95, subsampling="4:2:2")
    assert load_stack(paths, (0.0, 2.0), 1).source_format.sampling == (1, 2)


def test_labels_of_jpegs_have_finer_colour_and_inputs_have_not(tmp_path: Path) -> None:
    light = painting()
    paths = [tmp_path / f"{i}.jpg" for i in range(3)]
    for path, stops in zip(paths, (4, 2, 0), strict=True):
        code = encode(light * np.float32(2.0 ** (1 - stops)), 8)
        path.write_bytes(jpeg(code, "4:2:0"))
    stack = load_stack(paths, (0.0, 2.0, 4.0), 1)
    label = make_label(stack, DEFAULT)
    np.testing.assert_array_equal(stack.codes[1], decode_photo(paths[1]).codes)
    blue = np.abs(label.radiance - light / 8)[..., 2]
    own = np.abs(stack.radiance(1) - light / 8)[..., 2]
    seen = label.weight > 204
    assert seen.mean() > 0.3
    assert blue.mean() < 0.85 * own.mean()
    assert blue[seen].mean() < 0.6 * own.mean()
