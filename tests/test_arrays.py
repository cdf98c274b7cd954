"""Fast ways to do what NumPy does, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import DTypeLike

from labelgen.arrays import looked_up, median, tripled

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("wide", [True, False], ids=["16 bits looked up", "8 bits alone"])
@pytest.mark.parametrize("shape", [(), (0,), (7,), (5, 4), (0, 4, 3), (5, 4, 3)])
@pytest.mark.parametrize("values", [np.float32, np.uint16])
@pytest.mark.parametrize(("bits", "codes"), [(8, np.uint8), (16, np.uint16)])
def test_tables_are_looked_up_as_by_indices(
    bits: int,
    codes: DTypeLike,
    values: DTypeLike,
    shape: tuple[int, ...],
    wide: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not wide:  # as by earlier versions of OpenCV
        monkeypatch.setattr("labelgen.arrays._looks_up_16_bits", lambda: False)
    asked = RNG.integers(0, 1 << bits, shape).astype(codes)
    table = (60_000 * RNG.random((1 << bits, 3))).astype(values)
    one = looked_up(table[:, 0], asked)
    assert one.dtype == values
    assert np.array_equal(one, table[asked, 0])
    if shape[-1:] == (3,):
        each = looked_up(table, asked)
        assert each.dtype == values
        assert np.array_equal(each, np.stack([table[asked[..., c], c] for c in range(3)], -1))


def test_a_part_of_an_image_is_looked_up() -> None:
    table = RNG.random(256).astype(np.float32)
    codes = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)[3:, ::2]
    assert np.array_equal(looked_up(table, codes), table[codes])


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_medians_are_those_of_numpy(count: int, kind: DTypeLike) -> None:
    values = RNG.random(count).astype(kind)
    assert median(values) == np.median(values)


def test_scaling_is_multiplication() -> None:
    image, by = RNG.random((9, 8, 3), np.float32), RNG.random((9, 8), np.float32)
    expected = image * by[..., None]
    image *= tripled(by)
    assert np.array_equal(image, expected)
