"""Files from strangers: no code runs, nothing outside is read, memory and time stay bounded."""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from labelgen.calibration.known_responses import load_responses
from labelgen.cli import main
from labelgen.core.errors import Rejected, UserError
from labelgen.core.recipe import load_recipe
from labelgen.dataset.info import info
from labelgen.dataset.reader import Dataset
from labelgen.dataset.verify import verify
from labelgen.discovery.exposures import read_exposures
from labelgen.discovery.groups_file import read_groups
from labelgen.discovery.scan import scan
from labelgen.photos.decode import decode_photo
from labelgen.photos.header import read_photo_header
from labelgen.photos.makernote import read_bracketing
from labelgen.photos.pictures import read_hdr
from labelgen.photos.tiff import check_directories, read_layout
from tests.helpers import hostile


def lines_of(command: Callable[[], object]) -> list[str]:
    """What a reader says: a UserError, or the list of `verify`; each on one line."""
    try:
        found = command()
    except (UserError, Rejected) as e:
        found = [str(e)]
    assert isinstance(found, list)
    assert not any("\n" in line or len(line) > 1000 for line in found)
    return found


@pytest.mark.parametrize("edit", hostile.DATASETS, ids=lambda e: e.__name__)
def test_datasets_that_no_reader_reads(tmp_path: Path, edit: Callable[[h5py.File], None]) -> None:
    path = hostile.edited(hostile.dataset(tmp_path), edit)
    for command in (info, verify, Dataset):
        (line,) = lines_of(lambda command=command: command(path))  # type: ignore[misc]
        assert line.startswith(f"{path}: ")
        assert hostile.DATASETS[edit] in line


@pytest.mark.parametrize("edit", hostile.SHAPES, ids=lambda e: e.__name__)
def test_datasets_of_other_shapes_and_types(
    tmp_path: Path, edit: Callable[[h5py.File], None]
) -> None:
    path = hostile.edited(hostile.dataset(tmp_path), edit)
    for command in (info, Dataset):
        (line,) = lines_of(lambda command=command: command(path))  # type: ignore[misc]
        assert hostile.SHAPES[edit] in line
    assert lines_of(lambda: verify(path))


def test_a_chunk_that_inflates_to_gigabytes_is_not_inflated(tmp_path: Path) -> None:
    path = hostile.bomb(tmp_path)
    said, megabytes = hostile.limited(
        "from labelgen.dataset.reader import Dataset; d = Dataset(path)\n"
        "    print(d.image('label', 1).shape)\n"
        "    try: d.image('label', 0)\n"
        "    except OSError as e: print(e)",
        path,
    )
    assert said.splitlines() == ["(16, 16, 3)", "a chunk of 1537 bytes or more, expected 1536"]
    assert megabytes < 400


@pytest.mark.parametrize(
    ("lists", "said", "most"),
    [
        (110_000_000, "330,031,392 bytes are no samples, expected few; refused, get it from", 400),
        (25_000_000, "attribute 'scenes' is larger than 64 MiB; refused", 600),
    ],
)
def test_root_attributes_of_hundreds_of_megabytes_are_not_parsed(
    tmp_path: Path, lists: int, said: str, most: int
) -> None:
    """Parsed they would take twenty times as much."""
    path = hostile.dataset(tmp_path)
    with h5py.File(path, "r+") as file:
        del file.attrs["scenes"]
        file.attrs["scenes"] = "[" + "[]," * lists + "[]]"
    found, megabytes = hostile.limited("from labelgen.dataset.info import info; info(path)", path)
    assert said in found
    assert megabytes < most


@pytest.mark.parametrize("name", ["../a-00000-of-00001.h5", "/a-00000-of-00001.h5", "a.h5"])
def test_parts_of_other_folders_or_names(tmp_path: Path, name: str) -> None:
    path = hostile.dataset(tmp_path, parts=2)
    (tmp_path / "a.h5").write_bytes(b"")
    with h5py.File(path, "r+") as file:
        parts = json.loads(file.attrs["parts"])
        parts[0]["file"] = name
        file.attrs["parts"] = json.dumps(parts)
    for command in (info, Dataset, verify):
        said = lines_of(lambda command=command: command(path))  # type: ignore[misc]
        assert any(name in line and "refused" in line for line in said), said


def test_parts_that_are_links_out_of_the_folder_or_pipes(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    path = hostile.dataset(tmp_path, parts=2)
    part = tmp_path / "out-00000-of-00002.h5"
    part.rename(tmp_path / "elsewhere" / part.name)
    part.symlink_to(tmp_path / "elsewhere" / part.name)
    for command in (info, verify, Dataset):
        (line,) = lines_of(lambda command=command: command(path))  # type: ignore[misc]
        assert f"part '{part.name}' is a link to another folder; copy it here" in line
    part.unlink()
    os.mkfifo(part)
    (line,) = lines_of(lambda: info(path))
    assert f"part '{part.name}' is not a file" in line


def test_a_part_that_shows_another_file_is_refused(tmp_path: Path) -> None:
    path = hostile.dataset(tmp_path, parts=2)
    part = hostile.edited(tmp_path / "out-00000-of-00002.h5", hostile.virtual)
    hostile.edited(part, lambda f: f.attrs.__setitem__("parts", "[]"))
    (line,) = lines_of(lambda: Dataset(path))
    assert line.startswith(f"{part}: 'label' lies in another file; refused")
    assert any("'label' lies in another file" in line for line in lines_of(lambda: verify(path)))


def test_pipes_and_devices_where_files_are_expected(tmp_path: Path) -> None:
    """Opening a pipe would wait for ever; reading /dev/zero would never end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for place in (pipe, Path("/dev/zero")):
        link = tmp_path / f"{place.name}.toml"
        link.symlink_to(place)
        photo = link.rename(tmp_path / f"{place.name}.jpg")
        raw = tmp_path / f"{place.name}.dng"
        raw.symlink_to(place)
        toml, groups = tmp_path / f"{place.name}.toml", tmp_path / f"{place.name}.json"
        toml.symlink_to(place)
        groups.symlink_to(place)
        assert lines_of(lambda place=place: info(place)) == [  # type: ignore[misc]
            f"{place}: not a file; expected a dataset"
        ]
        said = f"{toml}: not a file; expected text"
        assert lines_of(lambda t=toml: load_recipe(str(t))) == [said]  # type: ignore[misc]
        assert "not a file" in lines_of(lambda g=groups: read_groups(g, tmp_path))[0]  # type: ignore[misc]
        assert "not a file" in lines_of(lambda g=groups: load_responses(str(g)))[0]  # type: ignore[misc]
        assert read_photo_header(photo).problem == read_photo_header(raw).problem
        assert read_photo_header(photo).problem == "not a readable image (not a file)"
        assert lines_of(lambda p=photo: decode_photo(p)) == [f"{photo.name}: not a file"]  # type: ignore[misc]
        with pytest.raises(Rejected, match="not found"):
            read_hdr(place)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[patches]\nsize = 0x" + "f" * 6000, "size is a number of more than 18 digits, expected"),
        ("[warp]\nshift = inf", "warp.shift is inf, expected a number of 0 to 200"),
        ("[warp]\nshift = 1e400", "warp.shift is inf"),
        ("[warp]\nshift = " + "[" * 400 + "]" * 400, "warp.shift is [[[[[[[...]]]]]]], expected"),
        ("name = " + "[" * 90 + "]" * 90, "name is [[[[[[[...]]]]]]], expected a short text"),
        ("a = " + "[" * 100_000, "not TOML"),
        ('"\\u001b[2J\\n" = 1', "no setting '\\x1b[2J\\n'"),
        ("size = 2020-01-01", "no setting 'size'"),
        ("[patches]\nsize = '" + "a" * 5000 + "'", "size is 'aaa"),
        ("#" * (1 << 21), "larger than 1 MiB"),
    ],
    ids=range(10),
)
def test_recipes(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    (line,) = lines_of(lambda: [load_recipe(str(path)).name])
    assert line.startswith(f"{path}: ")
    assert said in line


@pytest.fixture
def raw_folder(tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    (raw / "a").mkdir(parents=True)
    for k in range(3):
        cv2.imwrite(str(raw / "a" / f"{k}.png"), np.full((8, 8, 3), 40 * k, np.uint8))
    return raw


@pytest.mark.parametrize(
    "file", ["../x.png", "a/../../x.png", "/etc/passwd", "", "\0", 3, "a" * 6000]
)
def test_groups_that_leave_their_folder(raw_folder: Path, file: object) -> None:
    (raw_folder.parent / "x.png").write_bytes((raw_folder / "a" / "0.png").read_bytes())
    groups = raw_folder.parent / "groups.json"
    for entry in ({"frames": [{"file": file}]}, {"frames": [], "truth": file}):
        groups.write_text(json.dumps([{"name": "a"} | entry]))
        (line,) = lines_of(lambda: read_groups(groups, raw_folder))
        assert line.startswith(f"{groups}: ")
        assert "is not inside" in line or "does not exist" in line


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a": 1}', "[3]", '[{"name": [], "frames": []}]', "1" * 5000, "\xff", "nan",
     '[{"name": "a\\u001b", "frames": []}]', '[{"name": "a", "frames": [3]}]',
     '[{"name": "a", "frames": [{"file": "a/0.png", "ev": NaN}]}]',
     '[{"name": "a", "frames": [{"file": "a/0.png", "ev": [' + "[" * 500 + "]" * 500 + "]}]}]",
     '[{"name": "a", "frames": [{"file": "a/0.png", "ev": 1' + "0" * 400 + "}]}]"],
    ids=range(12),
)  # fmt: skip
def test_groups_of_another_form(raw_folder: Path, text: str) -> None:
    groups = raw_folder.parent / "groups.json"
    groups.write_text(text, encoding="latin-1")
    (line,) = lines_of(lambda: read_groups(groups, raw_folder))
    assert line.startswith(f"{groups}: ")


@pytest.mark.parametrize(
    "data",
    [b"\0" * 99, b"nan\nnan\nnan", b"inf\n1\n2", b"1e400 1e300 1", b"-inf\n0\n1", b"1/0\n1/nan\n2",
     bytes(range(256)), b"9" * 5000 + b"\n1\n2", b"0\n" * (1 << 20), b"0.1 inf 1", b"\xff\xfe0\0"],
    ids=range(11),
)  # fmt: skip
def test_lists_of_exposures_are_passed_over_with_a_remark(raw_folder: Path, data: bytes) -> None:
    files = sorted((raw_folder / "a").iterdir())
    headers = [read_photo_header(f) for f in files]
    for name in ("exposure.txt", "times.txt"):
        path = raw_folder / "a" / name
        path.write_bytes(data)
        frames, problems = read_exposures(files, headers)
        assert all(f.ev is None for f in frames)
        assert any(p.startswith(f"{name}: ") and p.endswith("; not used") for p in problems)
        assert not any("\n" in p or len(p) > 400 for p in problems)
        path.unlink()


def npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


@pytest.mark.parametrize(
    "data",
    [
        npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,)}", bytes(24)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (3,)}", b"cos\nsystem\n(S'x'\ntR."),
        npy("{'descr': '<f8', (((("),
        npy("__import__('os').abort()"),
        b"cos\nabort\n(tR.",
        b"PK\x03\x04",
    ],
    ids=range(6),
)
def test_numpy_lists(raw_folder: Path, data: bytes) -> None:
    (raw_folder / "a" / "exposures.npy").write_bytes(data)
    (bracket,) = scan(raw_folder)
    assert any(p.startswith("exposures.npy: ") and "not used" in p for p in bracket.problems)


def tiff_of(
    entries: list[tuple[int, int, int, int]], tail: bytes = b"", following: int = 0
) -> bytes:
    """A TIFF of one directory: tag, type, number of values, value or offset."""
    body = b"".join(struct.pack("<HHII", *e) for e in entries)
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + body
    return head + struct.pack("<I", following) + tail


SMALL = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (273, 4, 1, 8), (279, 4, 1, 1)]


@pytest.mark.parametrize(
    "data",
    [
        tiff_of([(256, 3, 1, 8)] * 4 + [(700 + k, 7, 4000, 8) for k in range(50)], bytes(9000)),
        tiff_of([*SMALL, (0x8769, 4, 1, 8)], following=8),
        tiff_of([*SMALL, (0x8769, 4, 1, 0xFFFFFFF0)], following=0xFFFFFFF0),
        tiff_of([(256, 4, 2**31, 0), (257, 4, 1, 8)]),
        tiff_of([(256, 4, 1, 100_000), (257, 4, 1, 100_000), *SMALL[2:]], bytes(64)),
        b"II*\0\x08\0\0\0\xff\xff" + bytes(64),
        b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(64),
        b"MM\0*",
    ],
    ids=["overlap", "loop", "outside", "count", "size", "entries", "big", "short"],
)
def test_directories_of_tiff(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    try:
        said = str(decode_photo(path).codes.shape)
    except Rejected as e:
        said = str(e)
    # Where only what follows the directory is odd, it is a photo.
    assert re.fullmatch(r"\(8, 8\)|a\.tif: (claims|cannot be decoded).*", said)
    assert read_photo_header(path).size in (None, (8, 8))
    path.rename(tmp_path / "a.dng")
    assert read_photo_header(tmp_path / "a.dng").size is None


def test_values_that_overlap_are_not_read_again_and_again(tmp_path: Path) -> None:
    """Of a 4 MB file Pillow would copy 16 GB, and unpacking all strips would take minutes."""
    count = 4000
    many = [(700 + k, 7, 1 << 22, 8) for k in range(count)]
    overlap = tiff_of([*SMALL, *many], bytes(1 << 22))
    with pytest.raises(Rejected, match="directory is damaged"):
        check_directories(overlap)
    again = tiff_of([*SMALL[:3], *[(273, 1, 1 << 20, 8)] * count], bytes(1 << 20))
    assert read_layout(again).width == 8
    path = tmp_path / "a.tif"
    path.write_bytes(overlap)
    said, megabytes = hostile.limited(
        "from labelgen.photos.header import read_photo_header as read; print(read(path).size)", path
    )
    assert said == "None"
    assert megabytes < 300


def test_exif_that_overlaps_is_no_exif(tmp_path: Path) -> None:
    """In a PNG it may be as large as the file; the photo itself can be read."""
    image = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    block = tiff_of([(700 + k, 7, 1 << 20, 8) for k in range(4000)], bytes(1 << 20))
    image.save(tmp_path / "a.png", exif=block)
    code = "from labelgen.photos.header import read_photo_header as read; print(read(path).size)"
    said, megabytes = hostile.limited(code, tmp_path / "a.png")
    assert said == "(8, 8)"
    assert megabytes < 300


def png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def jpeg_of(width: int, height: int) -> bytes:
    data = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.png", png_of(100_000, 100_000), "claims 100000x100000 px, expected 1 to 268,435,456"),
        ("b.png", png_of(16_000, 16_000), "claims 16000x16000 px, more than its"),
        ("a.jpg", jpeg_of(65_000, 65_000), "claims 65000x65000 px, expected 1 to 268,435,456"),
        ("a.tif", tiff_of([(256, 4, 1, 2**31), (257, 4, 1, 2**31), *SMALL[2:]], b"x"), "claims 21"),
        ("a.hdr", b"#?RADIANCE\n\n-Y 99999 +X 99999\n" + bytes(99), "claims 99999x99999 px"),
        ("b.hdr", b"#?RADIANCE\n\n-Y 16000 +X 16000\n" + bytes(99), "claims 16000x16000 px, more"),
        ("c.hdr", png_of(8, 8), "cannot be decoded as a Radiance image"),
    ],
    ids=lambda v: v if isinstance(v, str) and v[1:2] == "." else "",
)
def test_claimed_sizes_take_no_memory(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(data)
    reader = read_hdr if name.endswith("hdr") else decode_photo
    (line,) = lines_of(lambda: reader(tmp_path / name))  # type: ignore[operator]
    assert line.startswith(f"{name}: ")
    assert said in line


def test_sparse_files_of_a_terabyte_are_not_read(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.hdr", "a.json", "a.toml"):
        (tmp_path / name).write_bytes(jpeg_of(8, 8))
        os.truncate(tmp_path / name, 1 << 40)
    assert (
        read_photo_header(tmp_path / "a.jpg").problem == "not a readable image (larger than 4 GiB)"
    )
    assert "larger than 4 GiB" in lines_of(lambda: decode_photo(tmp_path / "a.jpg"))[0]
    assert "larger than 4 GiB" in lines_of(lambda: read_hdr(tmp_path / "a.hdr"))[0]
    assert "larger than 64 MiB" in lines_of(lambda: read_groups(tmp_path / "a.json", tmp_path))[0]
    assert "larger than 1 MiB" in lines_of(lambda: load_recipe(str(tmp_path / "a.toml")))[0]


@pytest.mark.parametrize("make", ["Canon", "NIKON", "SONY", "FUJIFILM"])
def test_maker_notes_that_point_to_themselves_or_outside(make: str) -> None:
    entry = struct.pack("<HHII", 4, 3, 4096, 0)
    starts = {"NIKON": b"Nikon\0\x02\x10\0\0II*\0\x08\0\0\0", "SONY": b"SONY DSC \0\0\0"}
    start = starts.get(make, b"FUJIFILM\x0c\0\0\0" if make == "FUJIFILM" else b"")
    for count, body in ((1, entry), (0xFFFF, entry), (3, entry * 3), (1, b"\xff" * 12), (9, b"")):
        note = start + struct.pack("<H", count) + body
        found = read_bracketing(note, make, "<")
        assert found.value_ev is None


@pytest.mark.parametrize(
    "stored",
    [[], 3, {"a": 3}, {"a": {"name": "estimated", "curves": [[0] * 256] * 3}}, {"a": {"name": 3}},
     {"a": {"name": "x"}}, {"a": {"name": "estimated", "curves": [["0"] * 256] * 3}}],
    ids=range(7),
)  # fmt: skip
def test_responses(tmp_path: Path, stored: object) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(stored))
    said = f"{path}: expected responses as 'labelgen build' writes them"
    assert lines_of(lambda: load_responses(str(path))) == [said]  # type: ignore[arg-type,return-value]


def test_names_can_not_steer_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[2J\n\x9b31m\u202e\udcff.h5"
    result = CliRunner().invoke(main, ["info", str(tmp_path / name)])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "\\x1b[2J\\n\\x9b31m\\u202e\\udcff.h5: no such file" in line
    path = hostile.dataset(tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["license"] = "free\x1b]0;x\x07\nout.h5: sound"
    shown = CliRunner().invoke(main, ["info", str(path)]).stdout
    assert "license: free\\x1b]0;x\\x07\\nout.h5: sound\n" in shown
    assert all(c.isprintable() or c == "\n" for c in shown)
