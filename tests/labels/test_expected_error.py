"""The error that is expected of a label, by what its frames are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelgen.core.arrays import Array
from labelgen.core.bracket import Stack
from labelgen.core.response import CURVE_SAMPLES, GAMMA22, Response, SourceFormat
from labelgen.labels.expected_error import RADIUS, expected_error
from labelgen.labels.fusion import Fused

CURVED = Response("estimated", (tuple(np.linspace(0, 1, CURVE_SAMPLES).tolist()),) * 3)
SHAPE = (64, 64)


def expected(
    radiance: Array,
    response: Response,
    information: float | None = 1e12,
    alone: bool = False,
    sampling: tuple[int, int] = (1, 1),
) -> Array:
    size = radiance.shape[:2]
    source = SourceFormat(response, 8, sampling=sampling)
    stack = Stack((np.zeros((*size, 3), np.uint8),) * 3, (0.0, 2.0, 4.0), 1, source)
    known = None if information is None else np.full(size, information, np.float32)
    fused = Fused(radiance, np.ones(size, bool), known)
    return expected_error(fused, radiance, np.full(size, alone), stack)


def grey(light: float = 0.05) -> Array:
    return np.full((*SHAPE, 3), light, np.float32)


def texture() -> Array:
    rng = np.random.default_rng(1)
    return np.asarray(grey() * np.exp2(rng.normal(0, 0.5, (*SHAPE, 1))), np.float32)


def test_frames_of_a_formula_have_errors_of_noise_and_chroma_alone() -> None:
    colours = np.random.default_rng(2).uniform(0.01, 0.1, (*SHAPE, 3)).astype(np.float32)
    assert expected(colours, GAMMA22).max() < 1e-4
    assert expected(colours, GAMMA22, None).max() == 0
    assert expected(colours, GAMMA22, 1e5).min() > 3e-4
    assert expected(colours, GAMMA22, None, sampling=(2, 2)).mean() > 1e-3


def test_noise_counts_by_its_standard_deviation() -> None:
    few, many = (expected(grey(), GAMMA22, n).mean() for n in (1e5, 4e5))
    assert few / many == pytest.approx(2, rel=1e-3)


def test_what_clips_in_all_frames_has_no_noise() -> None:
    assert expected(grey(1.0), GAMMA22, 0.0).max() == 0


def test_rendered_frames_err_at_detail_and_in_saturated_colours() -> None:
    saturated = grey()
    saturated[..., 2] = 0.0005
    flat = expected(grey(), CURVED).max()
    assert flat < 1e-3
    assert expected(texture(), CURVED).mean() > 0.005
    assert expected(saturated, CURVED).min() > 0.005
    assert expected(texture(), CURVED, alone=True).mean() > expected(texture(), CURVED).mean()


def test_stronger_detail_has_larger_errors() -> None:
    weak = np.asarray(grey() + 0.3 * (texture() - grey()), np.float32)
    assert expected(weak, CURVED).mean() < 0.6 * expected(texture(), CURVED).mean()


@pytest.mark.parametrize("sampling", [(1, 1), (2, 2)])
def test_a_pixel_changes_no_error_beyond_the_radius(sampling: tuple[int, int]) -> None:
    """Far enough that the radius is needed, and no farther."""
    reach = 0
    for y in range(30, 34):
        for x in range(30, 34):
            base, other = texture(), texture()
            other[y, x] = 0.9
            errors = [expected(r, CURVED, sampling=sampling) for r in (base, other)]
            rows = np.argwhere(errors[0] != errors[1])
            reach = max(reach, int(np.abs(rows - (y, x)).max()))
    assert RADIUS - 2 <= reach <= RADIUS


def test_a_piece_has_the_errors_of_the_whole_at_odd_sizes() -> None:
    whole = texture()[:63, :61].copy()
    piece = whole[16:, 24:].copy()
    errors = expected(whole, CURVED), expected(piece, CURVED)
    inner = np.s_[RADIUS:, RADIUS:]
    assert np.allclose(errors[0][16:, 24:][inner], errors[1][inner], atol=1e-5)


def test_local_tone_mapping_makes_contrast_less_certain() -> None:
    radiance = texture()
    fused = Fused(radiance, np.ones(SHAPE, bool))
    source = SourceFormat(CURVED, 8)
    stack = Stack((np.zeros((*SHAPE, 3), np.uint8),) * 3, (0.0, 2.0, 4.0), 1, source)
    local = replace(stack, gains=(np.zeros((4, 4), np.float32), None, None))
    means = [
        expected_error(fused, radiance, np.zeros(SHAPE, bool), s).mean() for s in (stack, local)
    ]
    assert means[1] > means[0]
