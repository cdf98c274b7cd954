"""What the table of layouts must keep to, whatever datasets are in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from labelgen.discovery.layouts import LAYOUTS, TRUTH_FOLDERS, find_truth, input_files
from labelgen.discovery.scan import scan


def pictures(folder: Path, *names: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(folder / name)
    return list(names)


def test_names_that_match_without_regard_to_case_are_in_lower_case() -> None:
    for layout in LAYOUTS:
        for name in (*layout.exposure_lists, *layout.truth_folders, *layout.other_pictures):
            assert name == name.lower()
        assert bool(layout.inputs) == bool(layout.other_pictures)


def test_no_two_layouts_read_a_list_of_one_name_differently() -> None:
    readers: dict[str, object] = {}
    for layout in LAYOUTS:
        for name, read in layout.exposure_lists.items():
            assert readers.setdefault(name, read) == read


def test_lists_are_found_whatever_their_case(tmp_path: Path) -> None:
    pictures(tmp_path, "1.png", "2.png")
    (tmp_path / "Exposure.TXT").write_text("0\n2\n")
    assert scan(tmp_path)[0].evs == [0, 2]
    (tmp_path / "Exposure.TXT").unlink()
    (tmp_path / "List.txt").write_text("1.png 4\n2.png 1\n")  # 1/seconds, as in list.txt
    assert scan(tmp_path)[0].evs == [0, 2]


def test_pictures_beside_the_inputs_count_only_where_inputs_are(tmp_path: Path) -> None:
    both = pictures(tmp_path / "hu", "input_1.png", "input_2.png", "ref_1.png")
    assert input_files(tmp_path / "hu", both) == ["input_1.png", "input_2.png"]
    alone = pictures(tmp_path / "mine", "ref_1.png", "ref_2.png")
    assert input_files(tmp_path / "mine", alone) == alone


def test_truth_is_found_in_the_folder_before_those_in_it(tmp_path: Path) -> None:
    for folder in TRUTH_FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "HDRImg.hdr").touch()
    assert find_truth(tmp_path) == tmp_path / TRUTH_FOLDERS[0] / "HDRImg.hdr"
    (tmp_path / "HDRImg.hdr").touch()
    assert find_truth(tmp_path) == tmp_path / "HDRImg.hdr"
