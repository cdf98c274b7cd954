"""Flat folders are split into brackets; files with the EXIF of cameras are made here."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from labelgen.core.errors import UserError
from labelgen.discovery.groups_file import brackets_as_json, read_groups
from labelgen.discovery.scan import scan
from labelgen.photos.header import read_photo_header
from labelgen.pipeline.build import build
from labelgen.pipeline.label_bracket import label
from labelgen.simulate import write_bracket
from tests.conftest import EV, make_scene

START = datetime(2024, 5, 1, 9, 0, tzinfo=timezone.utc)
TAGS = {
    "time": 0x829A,
    "fnumber": 0x829D,
    "iso": 0x8827,
    "bias": 0x9204,
    "mode": 0xA402,
    "lens": 0xA434,
    "serial": 0xA431,
    "focal": 0x920A,
    "note": 0x927C,
}


def exif_of(at: float | None = None, *, digits: int = 0, **tags: object) -> Image.Exif:
    """EXIF of a photo taken `at` seconds after nine, its clock with so many digits of a second."""
    exif = Image.Exif()
    exif.endian = "<"
    exif[0x010F], exif[0x0110] = str(tags.get("make", "Maker")), str(tags.get("camera", "C-1"))
    detail = exif.get_ifd(0x8769)
    detail.update({TAGS[name]: value for name, value in tags.items() if name in TAGS})
    if at is not None:
        detail[0x9003] = (START + timedelta(seconds=int(at))).strftime("%Y:%m:%d %H:%M:%S")
        if digits:
            detail[0x9291] = f"{at % 1:.{digits}f}"[2:]
    exif[0x8769] = detail
    return exif


def photo(
    path: Path, at: float | None = None, size: tuple[int, int] = (12, 8), **tags: object
) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"fnumber": 5.6, "iso": 100} | tags
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(
        path, exif=exif_of(at, **settings)
    )
    return path.name


def roll(
    folder: Path,
    shots: Sequence[tuple[float, float]],
    first: int = 1,
    **tags: object,
) -> list[str]:
    """Photos (seconds, EV relative to 1/64 s) with numbered names as a camera gives them."""
    return [
        photo(folder / f"IMG_{i:04d}.JPG", at, time=2.0 ** (ev - 6), **tags)
        for i, (at, ev) in enumerate(shots, first)
    ]


def found(folder: Path) -> list[list[int]]:
    """Numbers of the files of each group, in order of their names."""
    groups = [sorted(int(f.path.stem[-4:]) for f in b.frames) for b in scan(folder)]
    assert sorted(n for g in groups for n in g) == list(
        range(1, len(list(folder.glob("*.JPG"))) + 1)
    )
    return sorted(groups)


def burst(at: float, evs: Sequence[float], pause: float = 0.3) -> list[tuple[float, float]]:
    """Frames that follow each other by a pause after the end of the exposure before."""
    shots = []
    for ev in evs:
        shots.append((at, ev))
        at += 2.0 ** (ev - 6) + pause
    return shots


def test_a_memory_card_is_split_and_nothing_is_lost(tmp_path: Path) -> None:
    shots = [
        *burst(0, (0, -2, 2)),
        (40, 0.0),
        *burst(60, (0, -2, 2)),
        *burst(75, (1, -1, 3)),
        (120, 1.0),
        (150, 1.0),
        *burst(170, (0, -2, 2)),
    ]
    roll(tmp_path / "DCIM" / "100", shots)
    brackets = scan(tmp_path)
    assert found(tmp_path / "DCIM" / "100") == [
        [1, 2, 3], [4], [5, 6, 7], [8, 9, 10], [11], [12], [13, 14, 15],
    ]  # fmt: skip
    assert [b.name for b in brackets][:2] == ["DCIM/100/IMG_0001", "DCIM/100/IMG_0004"]
    assert [b.evs for b in brackets if len(b.frames) > 1] == [pytest.approx([0, 2, 4])] * 4
    assert all(b.problems == () for b in brackets if len(b.frames) > 1)
    assert all("single photo" in b.problems[0] for b in brackets if len(b.frames) == 1)


@pytest.mark.parametrize(
    "pattern", [(0, -1, 1), (-1, 0, 1), (0, -3, 3), (0, -1, 1, -2, 2), (-3, -2, -1, 0, 1, 2, 3)]
)
@pytest.mark.parametrize("digits", [0, 2, 3])
def test_any_order_and_number_of_frames(
    tmp_path: Path, pattern: tuple[int, ...], digits: int
) -> None:
    shots, n = list[tuple[float, float]](), len(pattern)
    for k, base in enumerate((0.0, 0.0, 1 / 3, -1.0)):
        shots += burst(60 * k, [base + e for e in pattern])
    roll(tmp_path, shots, digits=digits)
    assert found(tmp_path) == [[*range(k * n + 1, k * n + n + 1)] for k in range(4)]


def test_bursts_within_one_second_of_a_whole_second_clock(tmp_path: Path) -> None:
    shots = [(float(at), ev) for at in (0, 0, 1, 7) for ev in (0.0, -2.0, 2.0)]
    roll(tmp_path, shots, camera="Phone")
    assert found(tmp_path) == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]


def test_parts_of_seconds_order_renamed_files(tmp_path: Path) -> None:
    for k in range(2):
        for j, ev in enumerate((0, -2, 2)):
            name = f"IMG_{(5, 1, 3, 2, 6, 4)[3 * k + j]:04d}.JPG"
            photo(tmp_path / name, 60 * k + 0.25 * j, digits=3, time=2.0 ** (ev - 6))
    assert found(tmp_path) == [[1, 3, 5], [2, 4, 6]]


def test_two_runs_of_one_scene_with_another_base(tmp_path: Path) -> None:
    roll(tmp_path / "clock", burst(0, (0, -2, 2)) + burst(9, (0.7, -1.3, 2.7)))
    assert found(tmp_path / "clock") == [[1, 2, 3], [4, 5, 6]]
    roll(tmp_path / "rising", burst(0, (-2, 0, 2)) + burst(9, (2.7, 4.7, 6.7)))
    assert found(tmp_path / "rising") == [[1, 2, 3], [4, 5, 6]]


def test_the_bracket_tags_of_the_camera_tell_runs_and_singles(tmp_path: Path) -> None:
    for i, (at, bias, auto) in enumerate(
        [(0, 0, 1), (1, -2, 1), (2, 2, 1), (3, 0, 1), (4, -2, 1), (5, 2, 1), (6, 0, 0)], 1
    ):
        base = 0 if i < 4 else 1 / 3 if i < 7 else 0.9
        photo(
            tmp_path / f"IMG_{i:04d}.JPG",
            at,
            time=2.0 ** (base + bias - 6),
            bias=float(bias),
            mode=2 if auto else 0,
        )
    assert found(tmp_path) == [[1, 2, 3], [4, 5, 6], [7]]


def test_repeated_exposures_in_one_set_stay_in_it(tmp_path: Path) -> None:
    roll(tmp_path, burst(0, (-2, 0, 0, 2)) + burst(60, (-2, 0, 0, 2)))
    assert found(tmp_path) == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert all("1 of 4 frames repeat an exposure" in b.problems for b in scan(tmp_path))


@pytest.mark.parametrize("what", ["iso", "fnumber"])
def test_the_shutter_may_stay_and_iso_or_aperture_change(tmp_path: Path, what: str) -> None:
    values = {"iso": (100, 400, 1600), "fnumber": (11.0, 5.6, 2.8)}[what]
    n = 0
    for k in range(3):
        for j, value in enumerate(values):
            n += 1
            photo(tmp_path / f"IMG_{n:04d}.JPG", 30 * k + j, time=1 / 60, **{what: value})
    assert found(tmp_path) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert all(b.evs == pytest.approx([0, 2, 4], abs=0.1) for b in scan(tmp_path))


def test_pauses_are_measured_from_the_end_of_long_exposures(tmp_path: Path) -> None:
    """Starts are up to 33 s apart, ends and starts at most 3 s; sets follow after 20 s."""
    shots, at = list[tuple[float, float]](), 0.0
    for base in (9.0, 9.0, 8.0):
        for ev in (base + 2, base, base - 2):
            shots.append((float(int(at)), ev))
            at += 2.0 ** (ev - 6) + 1
        at += 20
    roll(tmp_path, shots)
    assert found(tmp_path) == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize("fnumber", [0.0, IFDRational(0, 0)])
def test_manual_lenses_and_empty_fractions(tmp_path: Path, fnumber: object) -> None:
    roll(tmp_path, burst(0, (0, -2, 2)) + burst(60, (0, -2, 2)), fnumber=fnumber)
    assert found(tmp_path) == [[1, 2, 3], [4, 5, 6]]
    assert all(b.evs == pytest.approx([0, 2, 4]) for b in scan(tmp_path))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"camera": "A"}, {"camera": "B"}),
        ({"serial": "1"}, {"serial": "2"}),
        ({"lens": "35mm"}, {"lens": "50mm"}),
        ({"focal": 24.0}, {"focal": 70.0}),
        ({"size": (12, 8)}, {"size": (8, 12)}),
    ],
)
def test_cameras_lenses_and_sizes_are_told_apart(
    tmp_path: Path, one: dict[str, object], other: dict[str, object]
) -> None:
    """Two of them, both photographing at the same time."""
    for i, (at, ev) in enumerate(burst(0, (0, -2, 2)) + burst(60, (0, -2, 2))):
        photo(tmp_path / f"IMG_{2 * i + 1:04d}.JPG", at, time=2.0 ** (ev - 6), **one)
        photo(tmp_path / f"IMG_{2 * i + 2:04d}.JPG", at, time=2.0 ** (ev - 6), **other)
    assert found(tmp_path) == [[1, 3, 5], [2, 4, 6], [7, 9, 11], [8, 10, 12]]


def test_without_clock_the_names_and_exposures_tell(tmp_path: Path) -> None:
    names = [f"{scene}_{j}.jpg" for scene in ("hall", "pier", "yard") for j in range(3)]
    for name, ev in zip(names, [0, -2, 2, 1, -1, 3, -1, -3, 1], strict=True):
        photo(tmp_path / name, time=2.0 ** (ev - 6))
    assert [b.name for b in scan(tmp_path)] == [
        f"{tmp_path.name}/{scene}_0" for scene in ("hall", "pier", "yard")
    ]


def test_the_vote_settles_which_of_two_sets_a_doubtful_photo_belongs_to(tmp_path: Path) -> None:
    """A photo 2 s before a set, its exposure new: alone it could be its fourth frame."""
    shots = [s for k in range(6) for s in burst(60 * k, (0, -2, 2))]
    roll(tmp_path, [*shots[:9], (118 + 60, 0.7), *[(t + 1, e) for t, e in shots[9:]]])
    assert [10] in found(tmp_path)
    assert sum(len(g) == 3 for g in found(tmp_path)) == 6


def test_an_incomplete_set_is_named(tmp_path: Path) -> None:
    roll(
        tmp_path, [*(s for k in range(4) for s in burst(60 * k, (0, -2, 2))), *burst(300, (0, -2))]
    )
    last = scan(tmp_path)[-1]
    assert len(last.frames) == 2
    assert last.problems == ("incomplete? 2 frames, most brackets here have 3",)


def test_a_folder_of_different_exposures_is_one_bracket_however_slowly_taken(
    tmp_path: Path,
) -> None:
    roll(tmp_path, [(0, 0), (13, -1), (389, -8), (536, -5), (576, -7)])
    (bracket,) = scan(tmp_path)
    assert (bracket.name, len(bracket.frames), bracket.problems) == (tmp_path.name, 5, ())


def test_a_raw_file_or_another_kind_of_file_is_no_second_frame(tmp_path: Path) -> None:
    for i, (at, ev) in enumerate(burst(0, (0, -2, 2)), 1):
        for suffix in (".JPG", ".tif"):
            photo(tmp_path / f"IMG_{i:04d}{suffix}", at, time=2.0 ** (ev - 6))
    brackets = scan(tmp_path)
    assert [b.name.split("/")[1] for b in brackets] == ["IMG_0001.JPG", "IMG_0001.tif"]
    assert [len(b.frames) for b in brackets] == [3, 3]


def test_files_that_a_list_names_are_one_bracket_and_the_rest_is_split(tmp_path: Path) -> None:
    roll(tmp_path, burst(0, (0, -2, 2)) + burst(60, (0, -2, 2)) + burst(120, (0, -2, 2)))
    (tmp_path / "image_list.txt").write_text("IMG_0002.JPG 1\nIMG_0005.JPG 4\n")
    groups = {b.name.split("/")[1]: b for b in scan(tmp_path)}
    assert [f.path.stem for f in groups["IMG_0002"].frames] == ["IMG_0002", "IMG_0005"]
    assert [f.path.stem for f in groups["IMG_0007"].frames] == ["IMG_0008", "IMG_0007", "IMG_0009"]
    assert sum(len(b.frames) for b in groups.values()) == 9


def test_groups_of_a_flat_folder_can_be_corrected_and_built(tmp_path: Path) -> None:
    """Two brackets in one folder, told by nothing but groups.json; one has its truth."""
    raw, frames = tmp_path / "raw", []
    for k in range(2):
        write_bracket(tmp_path / str(k), make_scene(60 + k, (160, 200), shake=0.0), EV)
        for i, path in enumerate(sorted((tmp_path / str(k)).glob("*.tif"))):
            raw.mkdir(exist_ok=True)
            frames.append(shutil.copy(path, raw / f"{k}{i}.tif"))
    shutil.copy(tmp_path / "0" / "HDRImg.hdr", raw / "zero.hdr")
    groups = [
        {
            "name": f"raw/{k}",
            "frames": [{"file": f"{k}{i}.tif", "ev": 2 * i, "origin": "hand"} for i in range(3)],
            "truth": "zero.hdr" if k == 0 else None,
        }
        for k in range(2)
    ]
    listed = tmp_path / "groups.json"
    listed.write_text(json.dumps(groups))
    first, second = read_groups(listed, raw)
    assert (first.truth, second.truth) == (raw / "zero.hdr", None)
    assert {f.origin for f in first.frames} == {"hand"}
    listed.write_text(json.dumps(brackets_as_json([first, second], raw)))
    assert read_groups(listed, raw) == [first, second]
    summary = build(raw, tmp_path / "out.h5", groups=listed, jobs=1, labels="truth")
    assert summary.used == 1
    assert "HDRImg.hdr" in summary.rejected["raw/1"]


def test_what_scan_writes_reads_back_as_it_was(tmp_path: Path) -> None:
    roll(tmp_path, [*burst(0, (0, -2, 2)), *burst(60, (0, -2, 2)), (100, 0.0)])
    (tmp_path / "groups.json").write_text(json.dumps(brackets_as_json(scan(tmp_path), tmp_path)))
    again = read_groups(tmp_path / "groups.json", tmp_path)
    for a, b in zip(again, scan(tmp_path), strict=True):
        assert (a.name, a.evs, a.size, a.camera) == (b.name, b.evs, b.size, b.camera)
        assert [f.origin for f in a.frames] == [f.origin for f in b.frames]
        exact = [[f.exact_ev for f in x.frames] for x in (a, b)]
        assert exact[0] == exact[1]
        assert None not in exact[0]


def test_label_wants_the_folder_of_one_bracket(tmp_path: Path) -> None:
    roll(tmp_path / "roll", burst(0, (0, -2, 2)) + burst(60, (0, -2, 2)))
    with pytest.raises(UserError, match="holds 2 brackets or single photos"):
        label(tmp_path / "roll", tmp_path / "look")


def directory(order: str, entries: Sequence[tuple[int, int, int, bytes]]) -> bytes:
    """A TIFF directory of (tag, type, count, value of 4 bytes)."""
    packed = (struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return struct.pack(order + "H", len(entries)) + b"".join(packed) + bytes(4)


def sony(mode: int, number: int) -> bytes:
    values = [
        (tag, 3, 1, struct.pack("<HH", v, 0)) for tag, v in ((0xB049, mode), (0xB04A, number))
    ]
    return b"SONY DSC \0\0\0" + directory("<", values)


def fuji(on: int, number: int) -> bytes:
    values = [(tag, 3, 1, struct.pack("<HH", v, 0)) for tag, v in ((0x1100, on), (0x1101, number))]
    return b"FUJIFILM" + struct.pack("<I", 12) + directory("<", values)


def nikon(mode: int, step: Fraction) -> bytes:
    head = b"MM\0*" + struct.pack(">I", 8)
    values = [(0x0019, 10, 1, struct.pack(">I", 38)), (0x0089, 3, 1, struct.pack(">HH", mode, 0))]
    tail = struct.pack(">ii", step.numerator, step.denominator)
    return b"Nikon\0\x02\x10\0\0" + head + directory(">", values) + tail


def canon(step: float) -> bytes:
    shot = [68] + [0] * 33
    shot[17] = round(step * 32) & 0xFFFF
    values = [(0x0004, 3, 34, struct.pack("<I", 5000))]  # counts from elsewhere
    return directory("<", values) + struct.pack("<34H", *shot)


@pytest.mark.parametrize(
    ("make", "note", "auto", "number", "bias"),
    [
        ("SONY", sony(5, 2), True, 2, None),
        ("SONY", sony(2, 2), False, None, None),
        ("FUJIFILM", fuji(1, 3), True, 3, None),
        ("NIKON CORPORATION", nikon(0x11, Fraction(-2, 3)), True, None, -2 / 3),
        ("NIKON CORPORATION", nikon(0, Fraction(0, 6)), False, None, 0.0),
        ("Canon", canon(-2), True, None, -2.0),
        ("Canon", canon(0), False, None, 0.0),
        ("Canon", b"\xff" * 40, False, None, 0.0),
        ("SONY", b"SONY DSC \0\0\0\xff\xff", False, None, 0.0),
    ],
)
def test_maker_notes(
    tmp_path: Path, make: str, note: bytes, auto: bool, number: int | None, bias: float | None
) -> None:
    path = tmp_path / "a.jpg"
    photo(path, make=make, note=note, mode=0, bias=0.0)
    header = read_photo_header(path)
    assert (header.auto_bracket, header.sequence) == (auto, number)
    assert header.bias_ev == pytest.approx(bias or 0.0)


def test_the_count_of_a_maker_note_tells_runs_without_pause(tmp_path: Path) -> None:
    """All exposures differ, and there is no other sign of a new set."""
    for i, ev in enumerate((0, -1, 1, 2.7, 1.7, 3.7, 5.3), 1):
        note = sony(5, (i - 1) % 3 + 1)
        photo(tmp_path / f"IMG_{i:04d}.JPG", 0.3 * i, digits=2, time=2 ** (ev - 6), note=note)
    assert found(tmp_path)[:2] == [[1, 2, 3], [4, 5, 6]]
    last = scan(tmp_path)[-1]
    assert "automatic bracket" in last.problems[0]


def test_five_hundred_photos_in_one_folder(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shots, expected, at = list[tuple[float, float]](), list[list[int]](), 0.0
    while len(shots) < 500:
        base = float(rng.integers(-9, 6)) / 3
        evs = [base, base - 2, base + 2] if rng.random() < 0.7 else [base]
        expected.append([*range(len(shots) + 1, len(shots) + len(evs) + 1)])
        shots += burst(at, evs)
        at = shots[-1][0] + float(rng.uniform(15, 200))
    roll(tmp_path, shots)
    groups = found(tmp_path)
    right = sum(g in groups for g in expected)
    assert right / len(expected) > 0.95
