"""Fast ways to do what NumPy does, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import DTypeLike

from labelgen.core.arrays import (
    apply_lut,
    downsample,
    mask_fraction,
    median,
    quantile,
    to_float16,
    to_float32,
    to_three_channels,
)

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
        monkeypatch.setattr("labelgen.core.arrays._opencv_has_16_bit_lut", lambda: False)
    asked = RNG.integers(0, 1 << bits, shape).astype(codes)
    table = (60_000 * RNG.random((1 << bits, 3))).astype(values)
    one = apply_lut(table[:, 0], asked)
    assert one.dtype == values
    assert np.array_equal(one, table[asked, 0])
    if shape[-1:] == (3,):
        each = apply_lut(table, asked)
        assert each.dtype == values
        assert np.array_equal(each, np.stack([table[asked[..., c], c] for c in range(3)], -1))


def test_a_part_of_an_image_is_looked_up() -> None:
    table = RNG.random(256).astype(np.float32)
    codes = RNG.integers(0, 256, (20, 30, 3)).astype(np.uint8)[3:, ::2]
    assert np.array_equal(apply_lut(table, codes), table[codes])


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_medians_are_those_of_numpy(count: int, kind: DTypeLike) -> None:
    values = RNG.random(count).astype(kind)
    assert median(values) == np.median(values)


def test_scaling_is_multiplication() -> None:
    image, by = RNG.random((9, 8, 3), np.float32), RNG.random((9, 8), np.float32)
    expected = image * by[..., None]
    image *= to_three_channels(by)
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("fast", [True, False], ids=["by OpenCV if it can", "by NumPy"])
@pytest.mark.parametrize("shape", [(0, 3), (1,), (4,), (7,), (5, 4), (5, 4, 3)])
def test_halves_are_those_of_numpy(
    shape: tuple[int, ...], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not fast:
        monkeypatch.setattr("labelgen.core.arrays._opencv_has_float16", lambda: False)
    values = (10 ** RNG.uniform(-9, 0, shape)).astype(np.float32)  # below what is normal, too
    halves = to_float16(values)
    assert halves.dtype == np.float16
    assert np.array_equal(halves, values.astype(np.float16))
    back = to_float32(halves)
    assert back.dtype == np.float32
    assert np.array_equal(back, halves.astype(np.float32))
    assert to_float32(values) is values
    assert to_float16(halves) is halves


def test_a_part_of_an_image_is_halved() -> None:
    part = RNG.random((20, 30, 3), np.float32)[3:, 2:9]
    assert np.array_equal(to_float16(part), part.astype(np.float16))
    halves = part.astype(np.float16)[1:, 1:]
    assert np.array_equal(to_float32(halves), halves.astype(np.float32))


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101])
@pytest.mark.parametrize("at", [0.0, 0.3, 0.99, 1.0])
def test_quantiles_are_those_of_numpy(count: int, at: float) -> None:
    values = RNG.random(count)
    assert quantile(values, at) == pytest.approx(np.quantile(values, at), rel=1e-12)


def test_shares_are_means() -> None:
    mask = (RNG.random((20, 30)) < 0.3)[3:, 2:9]
    assert mask_fraction(mask) == mask.mean()


@pytest.mark.parametrize("size", [(30, 20), (60, 40), (25, 17), (7, 5), (119, 79)])
def test_what_is_shrunk_stays_in_its_place(size: tuple[int, int]) -> None:
    """A slope, whose value is where a pixel lies, in shares of the image."""
    ys, xs = ((np.arange(n, dtype=np.float32) + 0.5) / n for n in (80, 120))
    image = np.dstack(np.broadcast_arrays(xs[None], ys[:, None]))
    small = downsample(image, size)
    assert small.shape == (size[1], size[0], 2)
    ys, xs = ((np.arange(n) + 0.5) / n for n in size[::-1])
    assert np.abs(small[..., 0] - xs).max() < 0.25 / size[0]
    assert np.abs(small[..., 1] - ys[:, None]).max() < 0.25 / size[1]


def test_noise_averages_out_of_what_is_shrunk() -> None:
    noise = RNG.standard_normal((512, 512), np.float32)
    assert downsample(noise, (64, 64)).std() == pytest.approx(1 / 8, rel=0.1)
