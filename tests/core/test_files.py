from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labelgen.core.files import natural_key
from labelgen.core.response import decode, encode, mu_law, mu_law_slope, to_depth
from labelgen.photos.pictures import read_hdr, write_hdr


@given(hnp.arrays(np.uint16, (4, 5, 3)))
def test_every_16_bit_code_survives_linear_light(codes: np.ndarray) -> None:
    assert np.array_equal(encode(decode(codes), 16), codes)


def test_every_8_bit_code_survives_linear_light_and_16_bits() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(encode(decode(codes), 8), codes)
    assert np.array_equal(to_depth(to_depth(codes, 16), 8), codes)
    assert np.allclose(decode(to_depth(codes, 16)), decode(codes), rtol=1e-6)


def test_mu_law_is_that_of_the_literature() -> None:
    assert mu_law(np.float32([0, 1])).tolist() == [0, 1]
    assert mu_law(np.float32(0.1)) == pytest.approx(np.log(501) / np.log(5001), rel=1e-6)
    x, step = np.float32(0.02), np.float32(1e-4)
    measured = (mu_law(x + step) - mu_law(x - step)) / (2 * step)
    assert mu_law_slope(x) == pytest.approx(measured, rel=1e-2)


@given(
    hnp.arrays(
        np.float32, (3, 4, 3), elements=st.floats(0, 2.0**20, width=32, allow_subnormal=False)
    )
)
def test_radiance_files_are_rounded_not_truncated(radiance: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_hdr(Path(folder) / "a.hdr", radiance)
        back = read_hdr(Path(folder) / "a.hdr")
    peak = radiance.max(-1, keepdims=True)
    assert (np.abs(back - radiance) <= peak / 256 + 1e-30).all()


def test_radiance_files_have_no_bias(tmp_path: Path) -> None:
    radiance = np.random.default_rng(0).uniform(0.1, 1, (200, 200, 3)).astype(np.float32)
    write_hdr(tmp_path / "a.hdr", radiance)
    ratio = (read_hdr(tmp_path / "a.hdr") / radiance).mean()
    assert ratio == pytest.approx(1, abs=2e-4)


def test_natural_order() -> None:
    names = ["b10.png", "b2.png", "a.png", "10.png", "9.png"]
    assert sorted(names, key=natural_key) == ["9.png", "10.png", "a.png", "b2.png", "b10.png"]
