from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageCms, ImageOps, features

from labelgen.calibration.survey import Selection, survey
from labelgen.cli import main
from labelgen.core.errors import Rejected
from labelgen.core.response import decode
from labelgen.discovery.layouts import find_truth
from labelgen.discovery.scan import scan
from labelgen.photos.formats import FORMATS, IMAGE_SUFFIXES, RAW_SUFFIXES, image_format
from labelgen.photos.frames import BAYER, read_frames, read_image, to_rgb
from labelgen.photos.header import read_photo_header
from labelgen.photos.limits import MAX_PIXELS
from labelgen.photos.orientation import apply_orientation
from labelgen.photos.pictures import read_hdr, write_png
from labelgen.photos.stack import load_stack
from labelgen.pipeline.check_brackets import check_brackets
from labelgen.simulate import write_bracket
from tests.conftest import make_scene

rng = np.random.default_rng(5)
SMOOTH = cv2.resize(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8), (72, 48))
"""(48, 72, 3) RGB that lossy formats can keep."""
CORNER = np.zeros((48, 72, 3), np.uint8)
CORNER[:24, :36, 0] = 200
CORNER[24:, :36, 1] = 100
"""Every orientation of it is another picture."""


def save(path: Path, rgb: np.ndarray, **settings: object) -> Path:
    Image.fromarray(rgb).save(path, **settings)  # type: ignore[arg-type]
    return path


def save_tiff(path: Path, array: np.ndarray, **settings: object) -> Path:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, array, **{"photometric": "rgb"} | settings)
    return path


def oriented(path: Path, rgb: np.ndarray, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(path, rgb, exif=exif.tobytes(), quality=95)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".jpg", ".webp", ".avif"])
def test_images_are_read_as_rgb_whatever_the_name(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    path = save(tmp_path / f"Straße 2 {suffix}", SMOOTH, quality=95)
    read = read_image(path)
    assert read.shape == (48, 72, 3)
    exact = suffix in (".png", ".tif", ".bmp")
    assert np.abs(read.astype(int) - SMOOTH).mean() <= (0 if exact else 3)
    assert read_photo_header(path).size == (48, 72)


def test_the_content_decides_not_the_suffix(tmp_path: Path) -> None:
    save(tmp_path / "a.png", SMOOTH).rename(tmp_path / "a.jpg")
    assert np.array_equal(read_image(tmp_path / "a.jpg"), SMOOTH)
    save(tmp_path / "b.jpg", SMOOTH).rename(tmp_path / "b.heic")
    assert read_photo_header(tmp_path / "b.heic").size == (48, 72)


def test_every_suffix_has_a_format_and_every_format_is_told_by_its_first_bytes() -> None:
    assert len(IMAGE_SUFFIXES) == len(RAW_SUFFIXES) + sum(len(f.suffixes) for f in FORMATS)
    heads = {
        "JPEG": b"\xff\xd8\xff\xe1", "PNG": b"\x89PNG\r\n\x1a\n", "BMP": b"BM6", "TIFF": b"MM\0*",
        "WEBP": b"RIFF1234WEBPVP8 ", "AVIF": b"\0\0\0 ftypavif", "HEIF": b"\0\0\0 ftypheic",
    }  # fmt: skip
    assert {f.name for f in FORMATS} == heads.keys()
    assert all(image_format(head) == name for name, head in heads.items())


def test_grey_alpha_and_16_bits(tmp_path: Path) -> None:
    grey = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.repeat(grey[..., None], 3, -1))
    rgba = np.dstack([grey, grey + 1, grey + 2, np.full_like(grey, 5)])
    cv2.imwrite(str(tmp_path / "alpha.png"), rgba)
    assert np.array_equal(read_image(tmp_path / "alpha.png"), rgba[..., 2::-1])


@pytest.mark.parametrize("depth", [np.uint8, np.uint16, np.float32])
def test_alpha_of_a_tiff_is_dropped_not_applied(tmp_path: Path, depth: type) -> None:
    full = {np.uint8: 1, np.uint16: 257, np.float32: np.float32(1 / 255)}[depth]
    rgba = np.dstack([SMOOTH, np.full(SMOOTH.shape[:2], 100, np.uint8)]).astype(depth) * full
    path = save_tiff(tmp_path / "a.tif", rgba.astype(depth), extrasamples=["unassalpha"])
    scale = 1 if depth == np.uint8 else 257
    assert np.array_equal(read_image(path), SMOOTH.astype(int) * scale)


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    picture = Image.fromarray(CORNER).quantize(16)
    for name in ("a.png", "a.tif", "a.bmp"):
        picture.save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name), np.array(picture.convert("RGB")))


def test_layouts_that_would_be_read_wrongly_are_refused(tmp_path: Path) -> None:
    deep = SMOOTH.astype(np.uint16) * 257
    planes = np.ascontiguousarray(np.moveaxis(deep, -1, 0))
    four = np.dstack([SMOOTH, SMOOTH[..., :1]])
    files = {
        "planes": save_tiff(tmp_path / "planes.tif", planes, planarconfig="separate"),
        "inverse": save_tiff(tmp_path / "inverse.tif", deep[..., 0], photometric="miniswhite"),
        "cmyk": save_tiff(tmp_path / "cmyk.tif", four, photometric="separated"),
        "32 bits": save_tiff(tmp_path / "deep.tif", SMOOTH.astype(np.uint32)),
        "half": save_tiff(tmp_path / "half.tif", SMOOTH.astype(np.float16)),
        "nan": save_tiff(tmp_path / "nan.tif", np.full((8, 8, 3), np.nan, np.float32)),
    }
    Image.fromarray(SMOOTH).convert("CMYK").save(tmp_path / "cmyk.jpg")
    for path in (*files.values(), tmp_path / "cmyk.jpg"):
        with pytest.raises(Rejected, match=path.name):
            read_image(path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow, of big-endian BigTIFF
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_every_kind_of_tiff(tmp_path: Path, bigtiff: bool, byteorder: str) -> None:
    deep = SMOOTH.astype(np.uint16) * 257
    turned = [(274, "H", 1, 6, True)]
    path = save_tiff(
        tmp_path / "a.tif", deep, bigtiff=bigtiff, byteorder=byteorder, extratags=turned
    )
    assert np.array_equal(read_image(path), np.rot90(deep, -1))
    assert read_photo_header(path).size == (72, 48)


def test_damaged_files_are_rejected_with_their_name(tmp_path: Path) -> None:
    write_png(tmp_path / "whole.png", np.zeros((32, 32, 3), np.uint8))
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "short.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:40])
    for name in ("empty.jpg", "text.jpg", "short.tif", "cut.png", "absent.png"):
        with pytest.raises(Rejected, match=name):
            read_image(tmp_path / name)


def whole_files(folder: Path) -> list[Path]:
    large = cv2.resize(rng.integers(0, 256, (50, 80, 3), dtype=np.uint8), (800, 500))
    files = [save(folder / f"a{s}", large) for s in (".png", ".bmp", ".jpg", ".webp", ".tif")]
    files.append(save(folder / "lzw.tif", large, compression="tiff_lzw"))
    files.append(save(folder / "progressive.jpg", large, progressive=True))
    files.append(save_tiff(folder / "deep.tif", large.astype(np.uint16) * 257))
    files.append(save_tiff(folder / "tiled.tif", large.astype(np.float32) / 255, tile=(64, 64)))
    return files


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.98])
def test_files_that_end_early_are_rejected_not_half_grey(tmp_path: Path, kept: float) -> None:
    for path in whole_files(tmp_path):
        data = path.read_bytes()
        assert read_image(path).shape == (500, 800, 3)
        path.write_bytes(data[: int(kept * len(data))])
        with pytest.raises(Rejected, match=path.name):
            read_image(path)


def test_a_jpeg_whose_end_is_zeros_is_rejected(tmp_path: Path) -> None:
    path = whole_files(tmp_path)[2]
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2].ljust(len(data), b"\0"))
    with pytest.raises(Rejected, match=path.name):
        read_image(path)


def huge_png(path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def huge_jpeg(path: Path) -> None:
    data = bytearray(save(path.with_suffix(".jpg"), SMOOTH).read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    path.write_bytes(data)


def huge_bmp(path: Path) -> None:
    data = bytearray(save(path.with_suffix(".bmp"), SMOOTH).read_bytes())
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    path.write_bytes(data)


def huge_tiff(path: Path) -> None:
    entries = [(256, 4, 60_000), (257, 4, 60_000), (258, 3, 16), (262, 3, 1), (273, 4, 200)]
    entries += [(277, 3, 1), (278, 4, 60_000), (279, 4, 10)]
    packed = b"".join(struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in entries)
    directory = struct.pack("<H", len(entries)) + packed + bytes(4)
    path.write_bytes((b"II*\0" + struct.pack("<I", 8) + directory).ljust(300, b"\0"))


@pytest.mark.parametrize("make", [huge_png, huge_jpeg, huge_bmp, huge_tiff])
@pytest.mark.filterwarnings("error")
def test_what_claims_to_be_huge_is_refused_by_its_header(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "huge")
    with pytest.raises(Rejected, match=f"huge: claims 60000x60000 px.*{MAX_PIXELS:,}"):
        read_image(tmp_path / "huge")
    assert read_photo_header(tmp_path / "huge").size is None


@pytest.mark.filterwarnings("error")
def test_what_pillow_takes_for_a_bomb_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.jpg", SMOOTH)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert read_image(path).shape == (48, 72, 3)
    assert read_photo_header(path).size == (48, 72)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_in_every_format(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(CORNER)
    image.info["exif"] = exif.tobytes()
    image.getexif()[0x0112] = orientation
    upright = np.array(ImageOps.exif_transpose(image))
    assert np.array_equal(apply_orientation(CORNER, orientation), upright)
    tag = [(274, "H", 1, orientation, True)]
    deep = CORNER.astype(np.uint16) * 257
    paths = [
        oriented(tmp_path / "a.png", CORNER, orientation),
        oriented(tmp_path / "a.jpg", CORNER, orientation),
        oriented(tmp_path / "a.webp", CORNER, orientation),
        save_tiff(tmp_path / "a.tif", CORNER, extratags=tag),
        save_tiff(tmp_path / "deep.tif", deep, extratags=tag),
        save_tiff(tmp_path / "float.tif", deep / np.float32(65535), extratags=tag),
    ]
    if features.check("avif"):
        paths.append(oriented(tmp_path / "a.avif", CORNER, orientation))
    for path in paths:
        read = read_image(path)
        shown = read.astype(float) / (257 if read.dtype == np.uint16 else 1)
        assert shown.shape == upright.shape, path.name
        assert np.abs(shown - upright).mean() < 5, path.name
        assert read_photo_header(path).size == upright.shape[:2], path.name


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic(tmp_path: Path, orientation: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112], exif[0x0110] = orientation, "Phone"
    exif.get_ifd(0x8769)[0x829A] = 0.01
    written = pillow_heif.from_pillow(Image.fromarray(CORNER))
    written.save(tmp_path / "a.heic", exif=exif.tobytes(), quality=95)
    header, read = read_photo_header(tmp_path / "a.heic"), read_image(tmp_path / "a.heic")
    upright = apply_orientation(CORNER, orientation)
    assert read.dtype == np.uint8
    assert header.size == read.shape[:2] == upright.shape[:2]
    assert (header.camera, header.time_s) == ("Phone", 0.01)
    assert np.abs(read.astype(int) - upright).mean() < 5
    data = (tmp_path / "a.heic").read_bytes()
    (tmp_path / "cut.heic").write_bytes(data[:-20])
    with pytest.raises(Rejected, match=r"cut\.heic"):
        read_image(tmp_path / "cut.heic")


def test_ten_bits_of_a_heic_reach_full_scale(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    codes = np.full((64, 64, 3), 65535, np.uint16)
    codes[:, :32] = 32768
    written = pillow_heif.from_bytes("RGB;16", (64, 64), codes.tobytes())
    written.save(tmp_path / "a.heic", quality=100)
    read = read_image(tmp_path / "a.heic")
    assert read.dtype == np.uint16
    assert read[32, 60].min() >= 65535 * 1022 / 1023
    assert read[32, 4].astype(int) == pytest.approx(32768, rel=0.01)


def test_without_pillow_heif_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(Rejected, match=r"a\.heic: .*pip install 'labelgen\[heif\]'"):
        read_image(tmp_path / "a.heic")
    assert "labelgen[heif]" in read_photo_header(tmp_path / "a.heic").problem


def test_all_frames_are_turned_as_the_reference_is(tmp_path: Path) -> None:
    paths = [oriented(tmp_path / f"{i}.jpg", CORNER, o) for i, o in enumerate((6, 1, 3))]
    for reference, upright in ((0, np.rot90(CORNER, -1)), (1, CORNER), (2, CORNER[::-1, ::-1])):
        stack = load_stack(paths, [0, 2, 4], reference)
        assert all(np.abs(c.astype(int) - upright).mean() < 5 for c in stack.codes)
    (tmp_path / "exposure.txt").write_text("0\n2\n4\n")
    bracket = scan(tmp_path)[0]
    assert bracket.problems == ()
    assert bracket.size == (48, 72)


def test_floating_point_is_linear_light_that_clips_at_1(tmp_path: Path) -> None:
    light = np.linspace(-0.1, 1.3, 48 * 72 * 3, dtype=np.float32).reshape(48, 72, 3)
    paths = [save_tiff(tmp_path / f"{i}.tif", light * np.float32(2.0**i)) for i in (0, 1)]
    assert read_frames(paths, 0).linear
    stack = load_stack(paths, [0, 1], 0)
    for i in (0, 1):
        assert stack.linear(i) == pytest.approx(np.clip(light * 2.0**i, 0, 1), abs=3e-5)
    assert read_photo_header(paths[0]).size == (48, 72)
    with pytest.raises(Rejected, match=r"c\.png is not linear light, unlike 0\.tif"):
        load_stack([paths[0], save(tmp_path / "c.png", SMOOTH)], [0, 1], 0)


@pytest.mark.parametrize("bayer", BAYER)
@pytest.mark.parametrize("depth", [8, 16])
def test_a_mosaic_is_demosaiced(tmp_path: Path, bayer: str, depth: int) -> None:
    colour = {"R": 200, "G": 120, "B": 40}
    codes = np.zeros((32, 40), np.uint16)
    for i, letter in enumerate(bayer):
        codes[i // 2 :: 2, i % 2 :: 2] = colour[letter]
    codes = codes.astype(np.uint8) if depth == 8 else codes * np.uint16(257)
    cv2.imwrite(str(tmp_path / "a.png"), codes)
    read = read_image(tmp_path / "a.png", bayer) // (1 if depth == 8 else 257)
    assert np.array_equal(read, np.broadcast_to(list(colour.values()), (32, 40, 3)))
    stack = load_stack([tmp_path / "a.png"] * 2, [0, 1], 0, bayer=bayer)
    assert np.array_equal(stack.codes[1], read_image(tmp_path / "a.png", bayer))


def test_an_unknown_mosaic_is_refused() -> None:
    with pytest.raises(Rejected, match="RGGB, BGGR"):
        to_rgb(np.zeros((4, 4), np.uint8), "RGBG")


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_codes_of_fewer_bits_reach_full_scale_where_they_clip(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    light = np.linspace(0, 0.9, 48 * 72).reshape(48, 72)
    paths = []
    for i in (0, 1):
        codes = np.rint(top * np.clip(light * 2**i, 0, 1) ** (1 / 2.2)).astype(np.uint16)
        paths.append(tmp_path / f"{i}.png")
        cv2.imwrite(str(paths[-1]), codes)
    stack = load_stack(paths, [0, 1], 0)
    assert stack.codes[1].max() == 65535
    assert stack.radiance(0)[..., 0] == pytest.approx(light, abs=3 / top)


def test_a_dark_bracket_of_16_bits_keeps_its_scale(tmp_path: Path) -> None:
    codes = np.arange(48 * 72, dtype=np.uint16).reshape(48, 72)
    codes[-1, -1] = 4095  # one sample: by chance
    cv2.imwrite(str(tmp_path / "a.png"), codes)
    assert read_image(tmp_path / "a.png").max() == 4095


def test_profiles_are_named_and_not_applied(tmp_path: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = icc.replace("sRGB built-in".encode("utf-16-be"), "Wide gamut 42".encode("utf-16-be"))
    assert wide != icc
    for i, suffix in enumerate((".png", ".jpg", ".tif")):
        for name, profile in (("srgb", icc), ("wide", wide)):
            folder = tmp_path / f"{name}{i}"
            folder.mkdir(exist_ok=True)
            for k in (1, 2):
                save(folder / f"{k}{suffix}", SMOOTH, icc_profile=profile, quality=95)
        assert read_photo_header(tmp_path / f"wide{i}" / f"1{suffix}").profile == "Wide gamut 42"
        plain = save(tmp_path / f"plain{suffix}", SMOOTH, quality=95)
        assert np.array_equal(read_image(tmp_path / f"wide{i}/1{suffix}"), read_image(plain))
        plain.unlink()
    for bracket in scan(tmp_path):
        said = any("colour profile Wide gamut 42" in p for p in bracket.problems)
        assert said == bracket.name.startswith("wide"), bracket


def test_truth_may_be_openexr(tmp_path: Path) -> None:
    openexr = pytest.importorskip("OpenEXR")
    radiance = rng.uniform(0, 3, (9, 14, 3)).astype(np.float32)
    openexr.File({"type": openexr.scanlineimage}, {"RGB": radiance}).write(
        str(tmp_path / "HDRImg.exr")
    )
    assert find_truth(tmp_path) == tmp_path / "HDRImg.exr"
    assert np.array_equal(read_hdr(find_truth(tmp_path)), radiance)
    write_bracket(tmp_path / "one", make_scene(8, (150, 160), pieces=0), (0.0, 2.0, 4.0))
    truth = tmp_path / "one" / "HDRImg.hdr"
    before = read_hdr(truth)
    openexr.File({"type": openexr.scanlineimage}, {"RGB": before}).write(
        str(truth.with_suffix(".exr"))
    )
    truth.unlink()
    (bracket,) = scan(tmp_path / "one")
    found = survey(bracket, Selection(truth=True))
    assert found.rejected == ""
    assert found.truth is not None
    assert found.truth.path == truth.with_suffix(".exr")
    data = (tmp_path / "HDRImg.exr").read_bytes()
    (tmp_path / "cut.exr").write_bytes(data[: len(data) // 2])
    with pytest.raises(Rejected, match=r"cut\.exr"):
        read_hdr(tmp_path / "cut.exr")


def test_scan_check_demosaics(tmp_path: Path) -> None:
    """A mosaic of saturated colours tells its exposure only in colour."""
    light = np.full((64, 64), 0.02)
    light[::2, ::2] = 0.3
    for i in (0, 1):
        codes = np.rint(65535 * np.clip(light * 2**i, 0, 1) ** (1 / 2.2)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / f"{i}.png"), codes)
    (tmp_path / "exposure.txt").write_text("0\n1\n")
    found, _ = check_brackets(scan(tmp_path), "RGGB")
    assert found[0].problems == ()
    linear = decode(read_image(tmp_path / "0.png", "RGGB"))[8:-8, 8:-8]
    assert linear.mean((0, 1)) == pytest.approx([0.3, 0.02, 0.02], rel=1e-3)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", SMOOTH)
    before = read_image(path)
    with io.FileIO(path, "a") as f:
        f.write(b"trailer of a phone" * 100)
    assert np.array_equal(read_image(path), before)


def test_label_demosaics(tmp_path: Path) -> None:
    light = np.full((160, 160), 0.05)
    light[1::2, 1::2] = 0.2  # blue
    light += np.random.default_rng(0).uniform(0, 0.01, light.shape)
    (tmp_path / "one").mkdir()
    for i in range(3):
        codes = np.rint(65535 * np.clip(light * 2.0**i, 0, 1) ** (1 / 2.2)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "one" / f"{i}.png"), codes)
    options = ["-o", str(tmp_path / "out"), "--ev", "0,1,2", "--bayer", "RGGB"]
    result = CliRunner().invoke(main, ["label", str(tmp_path / "one"), *options])
    assert result.exit_code == 0, result.output
    colour = read_hdr(tmp_path / "out" / "label.hdr")[8:-8, 8:-8].mean((0, 1))
    assert colour == pytest.approx([0.055, 0.055, 0.205], rel=0.02)


@pytest.mark.filterwarnings("ignore:Tag data", "ignore:Corrupt EXIF", "ignore:Metadata Warning")
def test_broken_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"a{s}", SMOOTH) for s in (".png", ".bmp", ".jpg", ".webp", ".tif")]
    deep = SMOOTH.astype(np.uint16)
    paths.append(save_tiff(tmp_path / "deep.tif", deep))
    paths.append(save_tiff(tmp_path / "big.tif", deep, bigtiff=True))
    choose = np.random.default_rng(4)
    for path in paths:
        whole, outcomes = path.read_bytes(), set[str]()
        for _ in range(40):
            broken = bytearray(whole)
            for at in choose.integers(0, min(300, len(whole)), 2):
                broken[at] = choose.integers(0, 256)
            path.write_bytes(broken)
            read_photo_header(path)
            try:
                read_image(path)
                outcomes.add("read")
            except Rejected as e:
                outcomes.add("rejected" if str(e).startswith(f"{path.name}: ") else str(e))
        assert "rejected" in outcomes
        assert outcomes <= {"read", "rejected"}
