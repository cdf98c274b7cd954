"""Responses: codes to light, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelgen.core.errors import UserError
from labelgen.core.response import (
    CURVE_SAMPLES,
    GAMMA,
    GAMMA22,
    Response,
    apply_gain,
    decode,
    encode,
)
from tests.helpers.cameras import film, srgb

EVERY8 = np.arange(256, dtype=np.uint8)[:, None, None].repeat(3, -1)
EVERY16 = np.arange(65536, dtype=np.uint16)[:, None, None].repeat(3, -1)


def estimated() -> Response:
    """The true curve of `film`; that of blue is gamma 2.2."""
    gamma = np.linspace(0, 1, 20001)
    curve = np.interp(np.linspace(0, 1, CURVE_SAMPLES), film(gamma**GAMMA), gamma)
    curve[[0, -1]] = 0, 1
    return Response(
        "estimated", (tuple(curve), tuple(curve), tuple(np.linspace(0, 1, CURVE_SAMPLES).tolist()))
    )


@pytest.mark.parametrize("every", [EVERY8, EVERY16])
def test_named_curves_are_exact(every: np.ndarray) -> None:
    light = np.arange(len(every)) / (len(every) - 1)
    linear = Response("linear").recode(every)[:, 0, 1]
    assert np.array_equal(linear, np.rint(65535 * light ** (1 / GAMMA)))
    # Decoded and shown again, sRGB codes come back: to the step of the recoded ones.
    back = srgb((Response("srgb").recode(every)[:, 0, 1] / 65535) ** GAMMA)
    assert np.abs(back - light).max() < 2e-5


@pytest.mark.parametrize("every", [EVERY8, EVERY16])
def test_gamma_2_2_is_left_untouched(every: np.ndarray) -> None:
    assert GAMMA22.recode(every) is every


@pytest.mark.parametrize("every", [EVERY8, EVERY16])
@pytest.mark.parametrize("response", [Response("srgb"), Response("linear"), estimated()])
def test_recoded_codes_rise_from_0_to_the_top(response: Response, every: np.ndarray) -> None:
    recoded = response.recode(every)
    assert recoded.dtype == np.uint16
    assert recoded.shape == every.shape
    assert (recoded[0] == 0).all()
    assert (recoded[-1] == 65535).all()
    assert (np.diff(recoded.astype(int), axis=0) >= 0).all()


def test_each_channel_has_its_own_curve() -> None:
    light = np.geomspace(1e-3, 1, 1000)
    codes = np.rint(65535 * film(light)).astype(np.uint16)[:, None, None].repeat(3, -1)
    recoded = estimated().recode(codes)[:, 0] / 65535
    assert np.abs(recoded[:, :2] - light[:, None] ** (1 / GAMMA)).max() < 5e-4
    assert np.abs(recoded[:, 2] - codes[:, 0, 2] / 65535).max() < 2e-5


@pytest.mark.parametrize("response", [GAMMA22, Response("srgb"), Response("linear"), estimated()])
def test_json_round_trip(response: Response) -> None:
    assert Response.from_json(json.loads(json.dumps(response.as_json()))) == response


@pytest.mark.parametrize("response", [GAMMA22, Response("srgb"), Response("linear"), estimated()])
def test_what_the_camera_clips_is_clipped_recoded(response: Response) -> None:
    """The code from which on a frame clips is the recoded one, of the channel that is lowest."""
    code = np.full((1, 1, 3), 250, np.uint8)
    recoded = response.recode(code)
    lowest = recoded.min() / np.iinfo(recoded.dtype).max
    assert response.clip(250 / 255) == pytest.approx(lowest, abs=1e-5)
    assert response.clip(1.0) == 1.0


LINE = tuple(np.linspace(0, 1, CURVE_SAMPLES).tolist())


@pytest.mark.parametrize(
    ("name", "curves"),
    [
        ("film", ()),
        ("estimated", ()),
        ("estimated", (LINE, LINE)),
        ("estimated", (LINE, LINE, LINE[1:])),
        ("srgb", (LINE, LINE, LINE)),
    ],
)
def test_what_is_no_response_is_refused(name: str, curves: tuple[tuple[float, ...], ...]) -> None:
    with pytest.raises(UserError, match=f"response '{name}': expected gamma2.2, srgb, linear, or"):
        Response(name, curves)


@pytest.mark.parametrize(
    "bad",
    [
        (*LINE[:100], LINE[98], *LINE[101:]),
        (-0.01, *LINE[1:]),
        (0.01, *LINE[1:]),  # above the next
        (*LINE[:-1], 0.999),
        (*LINE[:100], float("nan"), *LINE[101:]),
    ],
)
def test_a_curve_that_does_not_rise_from_0_to_1_is_refused(bad: tuple[float, ...]) -> None:
    with pytest.raises(UserError, match="rise from 0 or more to 1"):
        Response("estimated", (LINE, LINE, bad))


@pytest.mark.parametrize("every", [EVERY8, EVERY16])
@pytest.mark.parametrize("depth", [8, 16])
def test_light_on_codes_is_light(every: np.ndarray, depth: int) -> None:
    """As if they were decoded, lit, clipped and encoded again, but for the rounding."""
    gain = np.linspace(0.5, 11, len(every), dtype=np.float32)[::-1, None]
    expected = encode(decode(every) * gain[..., None], depth)
    found = apply_gain(every, gain, depth)
    assert found.dtype == expected.dtype
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert (found == expected).mean() > 0.99
    assert (found == np.iinfo(found.dtype).max).mean() > 0.2
