"""Mixing of channels: taken apart and put together again, and cameras that mix undone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from labelgen.core.errors import UserError
from labelgen.core.mixing import (
    KINDS,
    NO_MIXING,
    PROPHOTO_TO_SRGB,
    Mixing,
    decode_srgb,
    describe_response,
    encode_srgb,
    keep_hue,
)
from labelgen.core.response import CLIPPED_CODE, GAMMA, ROWS, Response
from labelgen.core.validation import PARSE_ERRORS
from labelgen.dataset.schema import check_response
from tests.helpers.cameras import estimated, film, hue_keeping, saturated

VIVID, DULL = Mixing("saturation", 1.3), Mixing("saturation", 0.7)
WIDE, NARROW = Mixing("hue", 1.0), Mixing("hue", 0.0)
MIXINGS = (VIVID, DULL, WIDE, NARROW, Mixing("hue", 0.5))


def muted(count: int = 4000, seed: int = 0) -> np.ndarray:
    """Random codes (count, 3) of colours within every gamut that is tried."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.15, 0.75, (count, 1)) + rng.uniform(-0.09, 0.09, (count, 3))


@pytest.mark.parametrize("mixing", [NO_MIXING, *MIXINGS], ids=str)
def test_separate_and_combine_undo_each_other(mixing: Mixing) -> None:
    codes = muted()
    assert np.abs(mixing.combine(mixing.separate(codes)) - codes).max() < 1e-6
    combined = mixing.combine(codes)
    inside = ((combined > 1e-6) & (combined < 1 - 1e-6)).all(1)  # the others clip
    assert inside.mean() > 0.8
    assert np.abs(mixing.separate(combined) - codes)[inside].max() < 1e-6
    assert (np.abs(mixing.separate(codes) - codes).max() > 0.01) == (
        mixing not in {NO_MIXING, NARROW}
    )


@pytest.mark.parametrize("mixing", [NO_MIXING, *MIXINGS], ids=str)
def test_grey_stays_as_it_is(mixing: Mixing) -> None:
    grey = np.linspace(0, 1, 256)[:, None].repeat(3, 1)
    assert np.abs(mixing.separate(grey) - grey).max() < 1e-6
    assert np.abs(mixing.combine(grey) - grey).max() < 1e-6


def test_saturation_scales_the_distance_to_grey() -> None:
    codes = muted()
    apart = Mixing("saturation", 2.0).separate(codes)
    assert np.allclose(np.ptp(apart, 1), np.ptp(codes, 1) / 2)


@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0])
def test_white_of_every_space_is_white(amount: float) -> None:
    assert np.abs(Mixing("hue", amount).to_srgb.sum(1) - 1).max() < 1e-6
    assert np.abs(PROPHOTO_TO_SRGB.sum(1) - 1).max() < 1e-6


def test_srgb_is_encoded_and_decoded() -> None:
    codes = np.linspace(0, 1, 1001)
    assert np.abs(encode_srgb(decode_srgb(codes)) - codes).max() < 1e-6
    assert decode_srgb(np.array([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)


def test_a_curve_that_keeps_the_hue_keeps_the_place_of_the_middle_channel() -> None:
    light = np.random.default_rng(1).uniform(0.01, 1, (2000, 3))
    curved = keep_hue(light, np.sqrt)
    low, middle, high = np.sort(light, 1).T
    new_low, new_middle, new_high = np.sort(curved, 1).T
    assert np.allclose(new_low, np.sqrt(low))
    assert np.allclose(new_high, np.sqrt(high))
    assert np.allclose((new_middle - new_low) / (new_high - new_low), (middle - low) / (high - low))
    assert (curved.argsort(1) == light.argsort(1)).all()
    grey = np.linspace(0, 1, 9)[:, None].repeat(3, 1)
    assert np.allclose(keep_hue(grey, np.sqrt), np.sqrt(grey))


@pytest.mark.parametrize(
    ("kind", "amount"),
    [
        ("vivid", 1.0),
        ("saturation", 1e9),
        ("saturation", 0.4),
        ("saturation", float("nan")),
        ("hue", -0.1),
        ("hue", 1.1),
        ("hue", float("inf")),
        ("", 2.0),
    ],
)
def test_what_is_no_mixing_is_refused(kind: str, amount: float) -> None:
    with pytest.raises(UserError, match="expected saturation by"):
        Mixing(kind, amount)


def test_only_estimated_responses_mix() -> None:
    with pytest.raises(UserError, match="response 'srgb'"):
        Response("srgb", mixing=VIVID)


HOSTILE = [
    {"kind": 5, "amount": 1.2},
    {"kind": "saturation", "amount": 1e9},
    {"kind": "saturation", "amount": 10**400},
    {"kind": "saturation", "amount": float("nan")},
    {"kind": "saturation", "amount": "1.2"},
    {"kind": "saturation", "amount": True},
    {"kind": "saturation", "amount": [1.2]},
    {"kind": ["saturation"], "amount": 1.2},
    {"kind": "nonsense", "amount": 1.2},
    {"kind": "saturation"},
    {},
    [],
    "saturation",
    7,
    None,
]


@pytest.mark.parametrize("mixing", HOSTILE, ids=repr)
def test_stored_nonsense_is_refused(mixing: object) -> None:
    entry = estimated(film, VIVID).as_json() | {"brackets": 1}
    check_response(entry)
    with pytest.raises((UserError, *PARSE_ERRORS)):
        check_response(entry | {"mixing": mixing})
    with pytest.raises((UserError, *PARSE_ERRORS)):
        Response.from_json(entry | {"mixing": mixing})


def test_a_mixing_without_curves_is_refused() -> None:
    entry = {"name": "estimated", "brackets": 1, "mixing": VIVID.as_json()}
    with pytest.raises(UserError, match="3 curves"):
        check_response(entry)


@pytest.mark.parametrize("mixing", [NO_MIXING, *MIXINGS], ids=str)
def test_json_round_trip(mixing: Mixing) -> None:
    response = estimated(film, mixing)
    stored = json.loads(json.dumps(response.as_json()))
    assert Response.from_json(stored) == response
    assert ("mixing" in stored) == bool(mixing)
    check_response(stored | {"brackets": 3})


def test_users_read_how_a_camera_mixes() -> None:
    assert describe_response("estimated", VIVID.as_json()) == "estimated, saturation 1.3"
    assert describe_response("estimated", WIDE.as_json()) == "estimated, hue kept in ProPhoto RGB"
    assert describe_response("estimated", None) == "estimated"
    assert set(KINDS) == {"", "saturation", "hue"}


def colours(seed: int = 2) -> np.ndarray:
    """Light (300, 40, 3): random colours, of which few clip in any of the cameras."""
    rng = np.random.default_rng(seed)
    grey = rng.uniform(0.02, 0.6, (300, 40, 1))
    return np.asarray(grey * rng.uniform(0.75, 1.3, (300, 40, 3)))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("mixing", [VIVID, WIDE, NARROW], ids=str)
def test_a_known_camera_is_undone(mixing: Mixing, bits: int) -> None:
    light, top = colours(), 2**bits - 1
    camera = saturated if mixing.kind == "saturation" else hue_keeping
    stored = camera(light, film, mixing.amount)
    codes = np.rint(top * stored).astype(np.uint8 if bits == 8 else np.uint16)
    response = estimated(film, mixing)
    recoded = response.recode(codes)
    inside = ((stored > 0.02) & (stored < CLIPPED_CODE)).all(-1)
    assert inside.mean() > 0.9
    wanted = light ** (1 / GAMMA)
    error = np.abs(recoded / 65535 - wanted)[inside]
    assert recoded.dtype == np.uint16
    assert error.max() < (0.03 if bits == 8 else 0.004)
    assert np.sqrt(np.mean(error**2)) < (0.004 if bits == 8 else 0.0006)
    curves_alone = np.abs(estimated(film).recode(codes) / 65535 - wanted)[inside]
    ratio = np.sqrt(np.mean(curves_alone**2) / np.mean(error**2))
    assert ratio > (1.5 if bits == 8 else 10)  # rounding to 8 bits is most of the error


@pytest.mark.parametrize("mixing", MIXINGS, ids=str)
def test_what_clips_stays_at_the_top(mixing: Mixing) -> None:
    codes = np.random.default_rng(3).integers(0, 256, (60, 50, 3), np.uint8)
    recoded = estimated(film, mixing).recode(codes)
    clipped = codes >= CLIPPED_CODE * 255
    assert clipped.any()
    assert (recoded[clipped] == 65535).all()


@pytest.mark.parametrize("mixing", MIXINGS, ids=str)
def test_pixels_are_recoded_by_themselves(mixing: Mixing) -> None:
    """Whatever the height of the image, whose rows are recoded a few at a time."""
    codes = np.random.default_rng(4).integers(0, 65536, (2 * ROWS + 7, 9, 3), np.uint16)
    response = estimated(film, mixing)
    whole = response.recode(codes)
    for rows in (slice(0, 1), slice(ROWS - 1, ROWS + 1), slice(2 * ROWS, None)):
        assert np.array_equal(response.recode(codes[rows]), whole[rows])
