from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from labelgen.bracket import used_frames
from labelgen.discover import as_json, read_groups, scan
from labelgen.errors import Rejected, UserError


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
    listed = as_json(scan(tmp_path), tmp_path)
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


def test_links_are_followed_once(tmp_path: Path) -> None:
    photos(tmp_path / "elsewhere" / "b", "1.png", "2.png")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "linked").symlink_to(tmp_path / "elsewhere" / "b", target_is_directory=True)
    (raw / "loop").symlink_to(raw, target_is_directory=True)
    assert [b.name for b in scan(raw)] == ["linked"]
    groups = tmp_path / "groups.json"
    (tmp_path / "elsewhere" / "b" / "ev.txt").write_text("0\n2\n")
    groups.write_text(json.dumps(as_json(scan(raw), raw)))
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
    json.dumps(as_json(brackets, tmp_path)).encode()
