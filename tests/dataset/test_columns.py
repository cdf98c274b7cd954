"""The columns of a dataset are as docs/format.md states them, and as files have them."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from labelgen.dataset.columns import COLUMNS, IMAGES, SMALL_COLUMNS, SampleLayout
from tests.helpers import hostile

FORMAT = Path(__file__).parents[2] / "docs" / "format.md"
ROW = re.compile(r"\| `(\w+)` \| \(([^)]*)\) \| ([^|]*) \|")


def test_the_documentation_lists_these_columns() -> None:
    documented = {name: (shape, dtype) for name, shape, dtype in ROW.findall(FORMAT.read_text())}
    assert documented.keys() == COLUMNS.keys()
    types = SampleLayout(frames=7, patch=5, depth=16).row_types()
    for name, (shape, dtype) in documented.items():
        sizes = {"F": 7, "P": 5, "3": 3, "2": 2}
        assert types[name][0] == tuple(
            sizes[n] for n in re.split(r"[, ]+", shape) if n and n != "N"
        )
        assert str(types[name][1]) in dtype or types[name][1].kind == "S"


@pytest.mark.parametrize("parts", [1, 3])
def test_files_have_these_columns(tmp_path: Path, parts: int) -> None:
    path = hostile.dataset(tmp_path, parts=parts)
    with h5py.File(path) as file:
        assert set(file) == {*IMAGES, *SMALL_COLUMNS}
        depth = 8 * file["inputs"].dtype.itemsize
        layout = SampleLayout(file.attrs["frames"], file.attrs["patch"], depth)
        for name, (shape, dtype) in layout.row_types().items():
            assert file[name].shape[1:] == shape
            assert file[name].dtype == dtype or (dtype.kind, name) == ("S", "scene")


def test_bytes_of_a_sample_are_those_of_its_images() -> None:
    layout = SampleLayout(frames=3, patch=64, depth=8)
    arrays = [np.zeros(shape, dtype) for shape, dtype in layout.images().values()]
    assert layout.sample_bytes == sum(a.nbytes for a in arrays) == 64 * 64 * (3 * 3 + 3 * 2 + 1)
