from __future__ import annotations

import json
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelgen.core.bracket import used_frames
from labelgen.core.errors import Rejected, UserError
from labelgen.discovery.groups_file import brackets_as_json, read_groups
from labelgen.discovery.scan import scan
from labelgen.photos.header import read_photo_header


def photo(path: Path, *, size: tuple[int, int] = (32, 24), **exif: object) -> None:
    """A small image; time, fnumber, iso, camera and orientation go into its EXIF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = Image.Exif()
    if "camera" in exif:
        data[0x0110] = str(exif["camera"])
    if "orientation" in exif:
        data[0x0112] = exif["orientation"]
    tags = {"time": 0x829A, "fnumber": 0x829D, "iso": 0x8827}
    detail = {tag: exif[name] for name, tag in tags.items() if name in exif}
    if detail:
        data.get_ifd(0x8769).update(detail)
        data[0x8769] = data.get_ifd(0x8769)
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path, exif=data)


def photos(folder: Path, *names: str) -> None:
    for name in names:
        photo(folder / name)


def only(folder: Path) -> tuple[list[str], list[float]]:
    """Names and relative exposures of the one bracket in a folder."""
    (bracket,) = scan(folder)
    return [f.path.name for f in bracket.frames], bracket.evs


def test_brackets_are_found_at_any_depth_and_ref_and_truth_hold_no_inputs(tmp_path: Path) -> None:
    for folder in ("b10", "b2", "trip/day 1/c"):
        photos(tmp_path / folder, "1.png", "2.png")
        photos(tmp_path / folder / "ref", "gt.png")
        photos(tmp_path / folder / "truth", "moving.png")
    photos(tmp_path / ".thumbnails", "x.png")
    assert [b.name for b in scan(tmp_path)] == ["b2", "b10", "trip/day 1/c"]
    assert [len(b.frames) for b in scan(tmp_path)] == [2, 2, 2]


def test_a_folder_of_frames_is_one_bracket_named_after_it(tmp_path: Path) -> None:
    photos(tmp_path / "mine", "1.png", "2.png")
    assert [b.name for b in scan(tmp_path / "mine")] == ["mine"]


def test_ev_per_line_is_in_natural_file_order(tmp_path: Path) -> None:
    photos(tmp_path, "im10.tif", "im2.tif", "im1.tif")
    (tmp_path / "exposure.txt").write_text("4\n-1.5\n0\n")
    assert only(tmp_path) == (["im2.tif", "im10.tif", "im1.tif"], [0, 1.5, 5.5])


@pytest.mark.parametrize("name", ["exposure.txt", "exposures.txt", "ev.txt"])
def test_lists_win_over_exif(tmp_path: Path, name: str) -> None:
    photo(tmp_path / "a.jpg", time=1.0)
    photo(tmp_path / "b.jpg", time=0.5)
    (tmp_path / name).write_text("0\n3\n")
    assert only(tmp_path) == (["a.jpg", "b.jpg"], [0, 3])


def test_a_list_that_contradicts_exif_is_used_and_said(tmp_path: Path) -> None:
    for name, time in (("1.jpg", 0.05), ("2.jpg", 0.05), ("3.jpg", 0.05)):
        photo(tmp_path / name, time=time, fnumber=8.0, iso=100)
    (tmp_path / "ev.txt").write_text("-1\n0\n1\n")
    (bracket,) = scan(tmp_path)
    assert bracket.evs == [0, 1, 2]
    assert bracket.problems == ("EXIF contradicts ev.txt by 2.0 EV; ev.txt is used",)


def test_ev_list_with_denominators_before_it(tmp_path: Path) -> None:
    photos(tmp_path, "1.tif", "2.tif", "3.tif")
    (tmp_path / "ev.txt").write_text("320,160,80\r\n-2,-1,0")
    assert only(tmp_path)[1] == [0, 1, 2]


def test_a_list_of_linear_times_is_not_taken_as_ev(tmp_path: Path) -> None:
    photos(tmp_path, "1.tif", "2.tif", "3.tif")
    (tmp_path / "exposure.txt").write_text("0.01\n0.04\n0.16\n")
    (bracket,) = scan(tmp_path)
    assert bracket.evs == pytest.approx([0, 2, 4])
    assert bracket.frames[0].origin == "exposure.txt (times)"
    assert bracket.problems == ("exposure.txt: read as times, not as EV",)


def test_a_list_that_does_not_fit_is_named_and_passed_over(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", time=1.0)
    photo(tmp_path / "b.jpg", time=4.0)
    (tmp_path / "exposure.txt").write_text("0\n1\n2\n")
    (bracket,) = scan(tmp_path)
    assert bracket.evs == [0, 2]
    assert bracket.problems == ("exposure.txt: 3 values for 2 images; not used",)


@pytest.mark.parametrize(
    ("list_name", "text"),
    [
        ("image_list.txt", "# Filename exposure 1/shutter_speed\nb.png 0.25 4\na.png 1 1\n"),
        (
            "image_list.txt",
            "ALIGN=NONE # c\n# LDR filenames   exposure\na.png 4\nb.png 1\nz.png 9\n",
        ),
        (
            "image_list.txt",
            "# Filename   1/shutter_speed f/stop gain(db)\na.png 1 8 0\nb.png 4 8 0\n",
        ),
        ("list.txt", "a.png 0.25\nb.png 1\n"),
    ],
)
def test_lists_of_files_with_seconds_or_their_inverse(
    tmp_path: Path, list_name: str, text: str
) -> None:
    photos(tmp_path, "a.png", "b.png")
    (tmp_path / list_name).write_text(text)
    assert only(tmp_path) == (["b.png", "a.png"], [0, 2])


def test_files_that_a_list_leaves_out_are_left_out_and_named(tmp_path: Path) -> None:
    photos(tmp_path, "a.png", "b.png", "result.png")
    (tmp_path / "image_list.txt").write_text("a.png 1\nb.png 2\n")
    (bracket,) = scan(tmp_path)
    assert [f.path.name for f in bracket.frames] == ["a.png", "b.png"]
    assert bracket.problems == ("image_list.txt: does not name result.png; left out",)


def test_numpy_lists_are_read_without_pickle(tmp_path: Path) -> None:
    photos(tmp_path / "good", "0.png", "1.png")
    np.save(tmp_path / "good" / "exposures.npy", np.array([-3.0, -1.0]))
    photos(tmp_path / "evil", "0.png", "1.png")
    np.save(tmp_path / "evil" / "exposures.npy", np.array([{}, {}], dtype=object))
    evil, good = scan(tmp_path)
    assert good.evs == [0, 2]
    assert evil.evs == []
    assert any("exposures.npy" in p for p in evil.problems)


def test_exif_time_fnumber_and_iso_together(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", time=1.0, fnumber=2.0, iso=100)
    photo(tmp_path / "b.jpg", time=0.5, fnumber=4.0, iso=100)
    photo(tmp_path / "c.jpg", time=0.5, fnumber=4.0, iso=400)
    names, evs = only(tmp_path)
    assert names == ["b.jpg", "c.jpg", "a.jpg"]
    assert evs == pytest.approx([0, 2, 3], abs=1e-6)


def test_a_manual_lens_says_no_fnumber(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", time=0.01, fnumber=0.0, iso=100)
    photo(tmp_path / "b.jpg", time=0.04, fnumber=0.0, iso=100)
    assert only(tmp_path)[1] == pytest.approx([0, 2])


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    photos(tmp_path / "single", "a.png")
    photos(tmp_path / "silent", "a.png", "b.png")
    photo(tmp_path / "sizes" / "a.jpg", time=1.0)
    photo(tmp_path / "sizes" / "b.jpg", time=2.0, size=(16, 16))
    photo(tmp_path / "again" / "a.jpg", time=1.0)
    photo(tmp_path / "again" / "b.jpg", time=1.0)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.jpg").write_text("no")
    (tmp_path / "text" / "b.jpg").touch()
    said = {b.name: " ".join(b.problems) for b in scan(tmp_path)}
    assert "at least 2" in said["single"]
    assert "no exposure known for 2 of 2" in said["silent"]
    assert "sizes differ" in said["sizes"]
    assert "repeat an exposure" in said["again"]
    assert "a.jpg: not a readable image" in said["text"]


def test_nothing_to_find_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no images"):
        scan(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        scan(tmp_path / "absent")


def test_size_follows_exif_orientation(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", size=(40, 20), orientation=6)
    photo(tmp_path / "b.jpg", size=(40, 20), orientation=6)
    assert scan(tmp_path)[0].size == (40, 20)


@pytest.mark.parametrize(
    ("count", "reference", "expected"),
    [
        (3, 1, "345"),
        (2, 1, "34"),
        (2, 0, "45"),
        (5, 2, "23456"),
        (3, 0, "456"),
        (9, 4, "012345678"),
    ],
)
def test_the_frames_used_are_those_around_the_middle_one(
    tmp_path: Path, count: int, reference: int, expected: str
) -> None:
    photos(tmp_path, *(f"{i}.png" for i in range(9)))
    (tmp_path / "exposure.txt").write_text("\n".join(map(str, range(9))))
    (bracket,) = scan(tmp_path)
    used = used_frames(bracket, count, reference)
    assert "".join(f.path.stem for f in used) == expected


def test_repeats_of_an_exposure_are_not_used_and_too_few_is_said(tmp_path: Path) -> None:
    photos(tmp_path, "0.png", "1.png", "2.png", "3.png")
    (tmp_path / "exposure.txt").write_text("0\n2\n2.01\n4\n")
    (bracket,) = scan(tmp_path)
    assert [f.path.stem for f in used_frames(bracket, 3, 1)] == ["0", "1", "3"]
    with pytest.raises(
        Rejected, match=r"3 frames of different exposure \(4 with repeats\), 4 needed"
    ):
        used_frames(bracket, 4, 2)


def test_groups_round_trip_and_can_be_edited(tmp_path: Path) -> None:
    photos(tmp_path / "x", "1.png", "2.png")
    (tmp_path / "x" / "ev.txt").write_text("0\n2\n")
    listed = brackets_as_json(scan(tmp_path), tmp_path)
    assert listed[0]["frames"][1] == {
        "file": "x/2.png",
        "ev": 2.0,
        "time_s": None,
        "fnumber": None,
        "iso": None,
        "origin": "ev.txt",
    }
    listed[0]["name"] = "renamed"
    listed[0]["frames"][1]["ev"] = 3
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps(listed))
    (bracket,) = read_groups(groups, tmp_path)
    assert (bracket.name, bracket.evs) == ("renamed", [0, 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a list of groups"),
        ("[1]", "expected a list of groups"),
        ("not json", "expected a list of groups"),
        ('[{"name": "a", "frames": [{"file": "../x.png"}]}]', "is not inside"),
        ('[{"name": "a", "frames": [{"file": "/etc/passwd"}]}]', "is not inside"),
        ('[{"name": "a", "frames": [{"file": "x\\u0000.png"}]}]', "is not inside"),
        ('[{"name": "a", "frames": [{"file": "absent.png"}]}]', "does not exist"),
        ('[{"name": "a", "frames": []}, {"name": "a", "frames": []}]', "name of its own"),
    ],
)
def test_unusable_groups_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    groups = tmp_path / "groups.json"
    groups.write_text(text)
    with pytest.raises(UserError, match=message):
        read_groups(groups, tmp_path)


@pytest.mark.parametrize("text", ["1/100\n1/25\n1/6.25\n", "1/100, 1/25, 1/6.25"])
def test_fractions_are_times(tmp_path: Path, text: str) -> None:
    photos(tmp_path, "1.tif", "2.tif", "3.tif")
    (tmp_path / "exposure.txt").write_text(text)
    assert only(tmp_path)[1] == pytest.approx([0, 2, 4])


def test_whole_numbers_that_could_be_times_are_ev_and_the_doubt_is_said(tmp_path: Path) -> None:
    photos(tmp_path, "1.tif", "2.tif", "3.tif")
    (tmp_path / "exposure.txt").write_text("1\n2\n4\n")
    (bracket,) = scan(tmp_path)
    assert bracket.evs == [0, 1, 3]
    assert "read as EV; if these are times" in bracket.problems[0]


def test_list_and_exif_are_compared_whatever_the_list(tmp_path: Path) -> None:
    photo(tmp_path / "a 1.jpg", time=1.0)
    photo(tmp_path / "b 2.jpg", time=0.5)
    (tmp_path / "image_list.txt").write_text("a 1.jpg 1\nb 2.jpg 1/16\n")
    (bracket,) = scan(tmp_path)
    assert bracket.evs == [0, 4]
    assert "EXIF contradicts image_list.txt by 3.0 EV" in bracket.problems[0]


@pytest.mark.parametrize("values", [np.array([1j, 2j]), np.array(["a", "b"]), np.zeros(3)])
def test_numpy_lists_of_other_things_are_passed_over(tmp_path: Path, values: np.ndarray) -> None:
    photos(tmp_path, "0.png", "1.png")
    np.save(tmp_path / "exposures.npy", values)
    assert "exposures.npy" in scan(tmp_path)[0].problems[0]
    (tmp_path / "exposures.npy").write_bytes(b"")
    assert "exposures.npy" in scan(tmp_path)[0].problems[0]


def test_exposures_that_no_camera_has_are_not_believed(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", time=1e-9)
    photo(tmp_path / "b.jpg", time=1e9)
    (bracket,) = scan(tmp_path)
    assert bracket.evs == []
    assert "exposures span 60 EV" in bracket.problems[0]


@pytest.mark.parametrize(
    ("names", "lists", "expected", "truth"),
    [
        (  # SIGGRAPH'17 as published
            ["262A0898.tif", "262A0899.tif", "262A0900.tif"],
            {"exposure.txt": "-2.00\n0.00\n2.00\n", "HDRImg.hdr": ""},
            [0, 2, 4],
            "HDRImg.hdr",
        ),
        (  # its re-pack by Wu
            [*(f"input_{i}_aligned.tif" for i in (1, 2, 3)), "ref_1_aligned.tif", "ref_ldr.png"],
            {"input_exp.txt": "0\n2\n4\n", "ref_hdr_aligned.hdr": ""},
            [0, 2, 4],
            "ref_hdr_aligned.hdr",
        ),
        (  # Hu
            [
                *(f"input_{i}_aligned.tif" for i in (1, 2, 3)),
                "ref_1_aligned.tif",
                "ldr_visualize.png",
            ],
            {"input_exp.txt": "0\n2\n4\n\n", "ref_hdr_aligned_linear.hdr": ""},
            [0, 2, 4],
            "ref_hdr_aligned_linear.hdr",
        ),
        (  # Challenge123, one of the three moments of a scene
            [f"ldr_img_{i}.tif" for i in (1, 2, 3)],
            {"exposure.txt": "0\n3\n6\n", "hdr_img.hdr": ""},
            [0, 3, 6],
            "hdr_img.hdr",
        ),
        (  # Tel
            ["input_1.tif", "input_2.tif", "input_3.tif"],
            {"exposure.txt": "-3\n0\n3", "HDRImg.hdr": ""},
            [0, 3, 6],
            "HDRImg.hdr",
        ),
        (  # Prabhakar
            [f"input_ghosted_{i}.tif" for i in (1, 2, 3)],
            {"ExpoBias.txt": "-2\n0\n2\n", "truth/HDRImg.hdr": ""},
            [0, 2, 4],
            "truth/HDRImg.hdr",
        ),
        (["a1.tif", "a2.tif", "a3.tif"], {"exposures.txt": "0\n1.3\n2.6\n"}, [0, 1.3, 2.6], None),
        (  # Tursun, with the times that cameras mark
            [f"{i}.tiff" for i in range(1, 10)],
            {"exposure.txt": "0.001\n0.002\n0.004\n0.008\n0.0167\n0.0333\n0.0667\n.125\n.25"},
            [0, 1, 2, 3, 4.06, 5.06, 6.06, 6.97, 7.97],
            None,
        ),
        (
            ["1.png", "2.png"],
            {"exposure.txt": "0.004\n0.0333\n", "ref/HDRImg.hdr": ""},
            [0, 3.06],
            "ref/HDRImg.hdr",
        ),
        (["1.png", "2.png"], {"shutterspeed.txt": "0.25\n15"}, [0, 5.9], None),
        (["1.png", "2.png"], {"times.txt": "1/60\n1/15\n"}, [0, 2], None),
    ],
)
def test_datasets_as_published(
    tmp_path: Path,
    names: list[str],
    lists: dict[str, str],
    expected: list[float],
    truth: str | None,
) -> None:
    photos(tmp_path, *names)
    for name, text in lists.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (bracket,) = scan(tmp_path)
    assert bracket.evs == pytest.approx(expected, abs=0.02)
    assert bracket.truth == (tmp_path / truth if truth else None)
    assert not [f for f in bracket.frames if f.path.name.startswith("ref")]


def test_a_bare_list_of_times_is_the_last_resort(tmp_path: Path) -> None:
    for name, time in (("a.jpg", 1.0), ("b.jpg", 0.25)):
        photo(tmp_path / name, time=time)
    (tmp_path / "shutterspeed.txt").write_text("1\n8\n")
    assert only(tmp_path) == (["b.jpg", "a.jpg"], [0, 2])


def test_a_bare_list_of_times_wins_over_one_exposure_for_all(tmp_path: Path) -> None:
    """EXIF of a lens adapter or a scanner says the same of all frames; the user knows better."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(tmp_path / name, time=1.0, iso=1600)
    (tmp_path / "exposure_times.txt").write_text("1/4\n1\n4\n")
    assert only(tmp_path) == (["a.jpg", "b.jpg", "c.jpg"], [0, 2, 4])
    [bracket] = scan(tmp_path)
    said = "EXIF contradicts exposure_times.txt by 4.0 EV; exposure_times.txt is used"
    assert bracket.problems == (said,)


def test_a_bare_list_that_is_passed_over_for_exif_is_named(tmp_path: Path) -> None:
    for name, time in (("a.jpg", 1.0), ("b.jpg", 0.25)):
        photo(tmp_path / name, time=time)
    (tmp_path / "times.txt").write_text("1\n8\n")
    [bracket] = scan(tmp_path)
    assert bracket.problems == ("times.txt: contradicts EXIF, which is used",)
    (tmp_path / "times.txt").write_text("1\n0.25\n")  # it agrees
    [bracket] = scan(tmp_path)
    assert bracket.problems == ()


def test_numbers_that_may_be_seconds_have_both_readings(tmp_path: Path) -> None:
    photos(tmp_path / "a", "1.png", "2.png", "3.png")
    for text, expected in (
        ("1\n4\n16\n", [0, 2, 4]),
        ("1\n3\n10\n", [0, 1.585, 3.322]),
        ("0\n2\n4\n", None),
        ("1\n2\n3\n", None),
        ("-2\n0\n2\n", None),
    ):
        (tmp_path / "a" / "exposure.txt").write_text(text)
        [bracket] = scan(tmp_path)
        readings = [f.time_ev for f in bracket.frames]
        assert readings == (pytest.approx(expected, abs=1e-3) if expected else [None] * 3)


def test_exact_exposures_stand_beside_nominal_ones(tmp_path: Path) -> None:
    photo(tmp_path / "exif" / "a.jpg", time=1 / 60, fnumber=5.6, iso=100)
    photo(tmp_path / "exif" / "b.jpg", time=15.0, fnumber=8.0, iso=200)
    photo(tmp_path / "phone" / "a.jpg", time=1 / 117, fnumber=1.73, iso=50)
    photo(tmp_path / "phone" / "b.jpg", time=1 / 36, fnumber=1.73, iso=50)
    photos(tmp_path / "list", "a.png", "b.png")
    (tmp_path / "list" / "ev.txt").write_text("0\n2\n")
    exif, listed, phone = scan(tmp_path)
    a, b = exif.frames
    assert exif.evs[1] == pytest.approx(np.log2(15 * 60 * 2 * (5.6 / 8) ** 2))
    assert (b.exact_ev or 0) - (a.exact_ev or 0) == pytest.approx(4 + 6 + 1 - 1)
    assert [f.exact_ev for f in (*phone.frames, *listed.frames)] == [None] * 4


def damaged_jpeg(path: Path) -> None:
    photo(path, size=(640, 480), time=0.25)
    path.write_bytes(path.read_bytes()[:-1000])


def damaged_png(path: Path) -> None:
    photo(path, size=(64, 48))
    path.write_bytes(path.read_bytes()[:-20])


def huge_png(path: Path) -> None:
    """Header of a picture of 60,000 x 60,000 pixels, which holds none."""
    body = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    end = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + end)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("c.jpg", damaged_jpeg, r"c\.jpg: cannot be decoded \(truncated: copy it again\)"),
        ("c.png", damaged_png, r"c\.png: cannot be decoded \(truncated"),
        ("c.jpg", Path.touch, r"c\.jpg: not a readable image \(empty file\)"),
        ("c.jpg", lambda p: p.write_text("hello"), r"c\.jpg: .*no JPEG, PNG, TIFF or other"),
        ("c.jpg", lambda p: p.write_bytes(b"\xff\xd8\xff\xe1\xff\xff"), r"c\.jpg: .*damaged"),
        ("c.png", huge_png, r"c\.png: .*60000x60000 px"),
        ("c.jpg", lambda p: p.symlink_to(p), r"c\.jpg: .*cannot be read"),
        ("c.jpg", lambda p: p.symlink_to("absent"), r"c\.jpg: .*cannot be read: No such file"),
    ],
)
def test_a_bad_file_costs_itself(
    tmp_path: Path, name: str, make: Callable[[Path], object], message: str
) -> None:
    """In a bracket, in a bracket with a list for all files, alone, and in a flat folder."""
    for folder in ("bracket", "listed", "roll"):
        for i in range(6 if folder == "roll" else 3):
            photo(tmp_path / folder / f"{i}.jpg", time=2.0 ** (i % 3))
        make(tmp_path / folder / name)
    (tmp_path / "listed" / "exposure.txt").write_text("0\n1\n2\n9\n")
    (tmp_path / "alone").mkdir()
    make(tmp_path / "alone" / name)
    found = {b.name: b for b in scan(tmp_path)}
    json.dumps(brackets_as_json(list(found.values()), tmp_path))
    assert found["bracket"].evs == found["listed"].evs == [0, 1, 2]
    assert found["roll/0"].evs == found["roll/3"].evs == [0, 1, 2]
    for bracket in ("bracket", "listed", "alone"):
        assert re.search(message, " ".join(found[bracket].problems)), bracket
    assert re.search(message, f"{name}: {found['roll/c'].problems[0]}")
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps(brackets_as_json(list(found.values()), tmp_path)))
    again = {b.name: b for b in read_groups(groups, tmp_path)}
    assert again["bracket"].evs == [0, 1, 2]
    assert re.search(message, " ".join(again["alone"].problems))


def test_what_cameras_append_to_a_jpeg_does_not_make_it_truncated(tmp_path: Path) -> None:
    photo(tmp_path / "film.jpg", time=0.5)
    photo(tmp_path / "padded.jpg", time=0.25)
    for name in ("film.jpg", "padded.jpg"):
        with (tmp_path / name).open("ab") as f:
            f.write(bytes(20_000))
    assert only(tmp_path) == (["padded.jpg", "film.jpg"], [0, 1])


def test_large_images_of_real_cameras_are_read_without_a_warning(tmp_path: Path) -> None:
    """200 megapixels, of which Pillow would warn."""
    photo(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 16320, 12240)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_photo_header(tmp_path / "a.png").size == (12240, 16320)


def test_names_with_blanks_and_letters_of_all_kinds(tmp_path: Path) -> None:
    folder = tmp_path / "voyage à Zürich" / "写真 2"
    for i, time in enumerate((1.0, 4.0, 0.25)):
        photo(folder / f"ñ {i}.jpg", time=time)
    (bracket,) = scan(tmp_path)
    assert bracket.name == "voyage à Zürich/写真 2"
    assert [f.path.name for f in bracket.frames] == ["ñ 2.jpg", "ñ 0.jpg", "ñ 1.jpg"]


def test_a_folder_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "good", "1.png", "2.png")
    photos(tmp_path / "closed", "1.png")
    enter = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return enter(path)

    monkeypatch.setattr(os, "scandir", refuse)  # file modes do not keep out root
    found = {b.name: b.problems for b in scan(tmp_path)}
    assert found["closed"] == ("folder cannot be read",)
    assert "good" in found


def test_five_hundred_files_without_exif_are_one_folder_without_exposures(tmp_path: Path) -> None:
    photo(tmp_path / "0.png")
    data = (tmp_path / "0.png").read_bytes()
    for i in range(1, 500):
        (tmp_path / f"{i}.png").write_bytes(data)
    (bracket,) = scan(tmp_path)
    assert bracket.problems == ("no exposure known for 500 of 500 frames",)
    (tmp_path / "exposure.txt").write_text("\n".join(str(i % 9) for i in range(500)))
    assert scan(tmp_path)[0].problems == ("491 of 500 frames repeat an exposure",)


def test_links_are_followed_once(tmp_path: Path) -> None:
    photos(tmp_path / "elsewhere" / "b", "1.png", "2.png")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "linked").symlink_to(tmp_path / "elsewhere" / "b", target_is_directory=True)
    (raw / "loop").symlink_to(raw, target_is_directory=True)
    assert [b.name for b in scan(raw)] == ["linked"]
    groups = tmp_path / "groups.json"
    (tmp_path / "elsewhere" / "b" / "ev.txt").write_text("0\n2\n")
    groups.write_text(json.dumps(brackets_as_json(scan(raw), raw)))
    assert [b.evs for b in read_groups(groups, raw)] == [[0, 2]]


def test_names_are_unique_and_order_does_not_depend_on_the_file_system(tmp_path: Path) -> None:
    photos(tmp_path / "a", "01.png", "1.png", "A.png", "a.png")
    photos(tmp_path / "a" / "a", "1.png", "2.png")
    brackets = scan(tmp_path / "a")
    assert [b.name for b in brackets] == [".", "a"]
    assert [f.path.name for f in brackets[0].frames] == ["01.png", "1.png", "A.png", "a.png"]


def test_our_own_pictures_and_pipes_are_no_frames(tmp_path: Path) -> None:
    photos(tmp_path, "1.png", "2.png", "label.png", "weight.png", "cues.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert len(scan(tmp_path)[0].frames) == 5
    (tmp_path / "label.json").write_text("{}")
    assert len(scan(tmp_path)[0].frames) == 2


def test_names_that_can_be_stored_nowhere_are_a_problem(tmp_path: Path) -> None:
    photos(tmp_path / "good", "1.png", "2.png")
    for odd in (b"not-utf8-\xff", b"two\nlines"):
        folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + odd))
        photos(folder, "1.png", "2.png")
    brackets = scan(tmp_path)
    assert sorted(b.name for b in brackets) == ["good", "not-utf8-?", "two?lines"]
    assert sum("rename it" in " ".join(b.problems) for b in brackets) == 2
    json.dumps(brackets_as_json(brackets, tmp_path)).encode()
