"""Simulated cameras: each step does to known light what it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelgen.core.errors import UserError
from labelgen.simulate import SceneSettings, expose
from labelgen.simulate.camera import KINDS, PRESETS, RegionalLift, ToneCurve, make_camera
from labelgen.simulate.develop import SRGB_TO_WIDE, colour_matrix, photograph
from labelgen.simulate.finish import TO_JPEG, denoise, saturate, sharpen
from labelgen.simulate.sensor import capture, demosaic
from labelgen.simulate.tone import apply_curve, apply_keeping_hue, lift_regions

NO_NOISE = 1e9, 0.0
"""So many electrons that nothing is left of the noise."""


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def flat(*colour: float, size: int = 64) -> np.ndarray:
    return np.full((size, size, 3), colour, np.float32)


def chroma(codes: np.ndarray) -> np.ndarray:
    return (codes @ TO_JPEG.T)[..., 1:]


@pytest.mark.parametrize("kind", list(PRESETS))
@pytest.mark.parametrize("seed", [0, 7])
def test_grey_clips_at_1_and_not_below(kind: str, seed: int) -> None:
    camera = make_camera(kind, seed)
    assert camera
    for light, low, high in ((1.02, 0.9999, 1), (0.9, 0.85, 0.999), (1e-5, 0, 0)):
        codes = photograph(rng(), flat(*[light] * 3), *NO_NOISE, camera)
        assert low <= codes.min() <= codes.max() <= high
        assert np.ptp(codes) < 1e-3  # grey stays grey


@pytest.mark.parametrize("kind", list(PRESETS))
def test_another_seed_is_another_device_and_the_same_seed_the_same(kind: str) -> None:
    assert make_camera(kind, 3) == make_camera(kind, 3)
    assert make_camera(kind, 3) != make_camera(kind, 4)
    assert make_camera(kind) == PRESETS[kind]
    assert make_camera("ideal", 5) is None
    for seed in range(50):
        camera = make_camera(kind, seed)
        assert camera
        assert np.sum(camera.filters, 1) == pytest.approx(1)
        assert min(camera.white_balance) >= 1
        assert np.linalg.cond(colour_matrix(camera)) < 20


def test_unknown_cameras_are_refused() -> None:
    with pytest.raises(UserError, match=", ".join(KINDS)):
        make_camera("film")
    with pytest.raises(UserError, match="--camera-seed is -1"):
        make_camera("body", -1)


def test_filters_clip_before_white_balance() -> None:
    """Red light clips behind the green filter last, and the matrix cannot bring its colour back."""
    camera = PRESETS["body"]
    red = capture(rng(), flat(8, 0, 0), *NO_NOISE, camera)
    assert red[0, 0].tolist() == pytest.approx([1, 1, 0.32], abs=0.01)
    assert capture(rng(), flat(0.5, 0, 0), *NO_NOISE, camera)[0, 0].tolist() == pytest.approx(
        [0.33, 0.08, 0.02], abs=0.01
    )


def test_the_matrix_undoes_the_filters_but_for_its_error() -> None:
    camera = replace(PRESETS["body"], matrix_error=0.0)
    exact = colour_matrix(camera) @ np.array(camera.filters)
    assert np.abs(exact - np.eye(3)).max() < 1e-9
    near = colour_matrix(PRESETS["body"]) @ np.array(camera.filters)
    assert 0.005 < np.abs(near - np.eye(3)).max() < 0.2
    assert SRGB_TO_WIDE.sum(1) == pytest.approx(1, abs=1e-5)


def test_noise_is_that_of_the_electrons_behind_each_filter() -> None:
    camera = replace(PRESETS["body"], white_balance=(2.0, 1.0, 1.5))
    seen = capture(rng(), flat(0.4, 0.4, 0.4, size=256), 5000, 3, camera)
    spread = seen[8:-8, 8:-8].std((0, 1))
    for channel, gain in enumerate((2.0, 1.0, 1.5)):
        one_pixel = gain * np.sqrt(0.4 / gain * 5000 + 9) / 5000
        assert 0.6 * one_pixel < spread[channel] < 1.1 * one_pixel
    assert spread[0] > 1.2 * spread[1]


def test_demosaicing_correlates_noise_and_keeps_gradients() -> None:
    noise = rng().standard_normal((256, 256, 3)).astype(np.float32)
    seen = demosaic(noise)

    def neighbours(plane: np.ndarray) -> float:
        return float(np.corrcoef(plane[:, 1:].ravel(), plane[:, :-1].ravel())[0, 1])

    assert abs(neighbours(noise[..., 0])) < 0.02
    assert neighbours(seen[..., 0]) > 0.15
    captured = capture(rng(), flat(0.4, 0.4, 0.4, size=256), 5000, 3, PRESETS["body"])
    assert neighbours(captured[..., 0]) > 0.15
    y, x = np.mgrid[:32, :48].astype(np.float32)
    gradient = np.dstack([x + 2 * y] * 3)
    assert np.abs(demosaic(gradient) - gradient)[4:-4, 4:-4].max() < 1e-3
    colour = flat(0.7, 0.2, 0.4)
    assert np.abs(demosaic(colour) - colour).max() < 1e-5


@pytest.mark.parametrize("curve", [ToneCurve(), ToneCurve(2.0, 0.2, 0.05), ToneCurve(0.1, 0.0, 0)])
def test_curves_rise_from_black_to_white_and_crush_what_they_say(curve: ToneCurve) -> None:
    light = np.linspace(0, 1, 4096, dtype=np.float32) ** 2
    codes = apply_curve(light, curve)
    assert (codes[0], codes[-1]) == (0, pytest.approx(1))
    assert (np.diff(codes) >= 0).all()
    assert (codes == 0).sum() > (1 if curve.crush else 0)
    free = apply_curve(light, replace(curve, crush=0.0))
    assert (codes[free < curve.crush] == 0).all()
    assert (codes[free > curve.crush + 1e-4] > 0).all()


def test_a_toe_darkens_shadows_and_a_shoulder_lifts_the_middle() -> None:
    dark, middle = np.float32([0.001]), np.float32([0.2])
    plain = ToneCurve(1.0, 0.0, 0.0)
    assert apply_curve(dark, replace(plain, toe=0.1)) < 0.7 * apply_curve(dark, plain)
    assert apply_curve(middle, replace(plain, shoulder=2.0)) > apply_curve(middle, plain)


def test_hue_is_kept_by_the_wide_curve_and_not_by_one_per_channel() -> None:
    light = rng().uniform(0, 1, (500, 3)).astype(np.float32)
    curve = ToneCurve(1.5, 0.1, 0.0)

    def place(colour: np.ndarray) -> np.ndarray:
        """Where the middle channel is between the others: the hue."""
        low, middle, high = np.moveaxis(np.sort(colour, -1), -1, 0)
        return (middle - low) / (high - low)

    toned = apply_keeping_hue(light, curve)
    assert (toned.argsort(-1) == light.argsort(-1)).all()
    assert np.abs(place(toned) - place(light)).max() < 1e-3
    assert toned.max(-1) == pytest.approx(apply_curve(light.max(-1), curve) ** 2.2, abs=1e-5)
    each = apply_curve(light, curve) ** np.float32(2.2)
    assert np.abs(place(each) - place(light)).max() > 0.05


def two_regions() -> np.ndarray:
    """A bright half and a dark half with a textured colour."""
    light = flat(0.8, 0.7, 0.6, size=256)
    light[:, 128:] = np.float32([0.012, 0.010, 0.008])
    light *= rng(1).uniform(0.8, 1.2, (256, 256, 1)).astype(np.float32)
    return light


def test_lift_brightens_dark_regions_alone_and_keeps_their_colour() -> None:
    light = two_regions()
    lifted = lift_regions(rng(), light, RegionalLift(spread=0.0))
    gain = lifted / light
    assert gain[:, :100].max() < 1.05
    assert gain[:, 160:].min() > 2
    assert gain[:, 160:].max() < 2**1.51
    assert np.ptp(gain[:, 160:], -1).max() < 1e-4
    ends = lift_regions(rng(), np.float32([[[0, 0, 0], [1, 1, 1]]] * 2), RegionalLift())
    assert ends[:, 0].max() == 0
    assert ends[:, 1].min() == pytest.approx(1)


def test_lift_differs_between_frames_and_exposures() -> None:
    light, dark = two_regions(), np.s_[:, 160:]
    one, other = (lift_regions(rng(k), light, RegionalLift(limit=9.0)) for k in (0, 1))
    assert np.median(np.abs(np.log2(one[dark] / other[dark]))) > 0.03
    steady = RegionalLift(spread=0.0, limit=9.0)
    longer = lift_regions(rng(), np.clip(light * 4, 0, 1), steady)
    shorter = lift_regions(rng(), light, steady)
    assert np.median(np.log2(longer[dark] / shorter[dark])) < 2 - 0.3


def test_saturation_changes_colour_and_leaves_grey() -> None:
    codes = rng().uniform(0.2, 0.8, (16, 16, 3)).astype(np.float32)
    vivid = saturate(codes, 1.5, 0.0, 0.0)
    assert np.abs(vivid @ TO_JPEG[0] - codes @ TO_JPEG[0]).max() < 1e-4
    assert chroma(vivid) == pytest.approx(1.5 * chroma(codes), abs=1e-4)
    assert saturate(flat(0.5, 0.5, 0.5), 1.5, 0.2, 1.0) == pytest.approx(0.5, abs=1e-5)
    blue = flat(0.3, 0.3, 0.6)
    angle = float(np.arctan2(*chroma(blue)[0, 0][::-1]))
    more, less = (saturate(blue, 1.0, 0.2, angle + turn) for turn in (0.0, np.pi))
    assert chroma(more) == pytest.approx(1.2 * chroma(blue), abs=1e-4)
    assert chroma(less) == pytest.approx(0.8 * chroma(blue), abs=1e-4)


def edge() -> np.ndarray:
    codes = flat(0.3, 0.3, 0.3)
    codes[:, 32:] = 0.6
    return codes


def test_denoising_takes_noise_and_leaves_edges() -> None:
    noisy = edge() + 0.01 * rng().standard_normal((64, 64, 3)).astype(np.float32)
    smooth = denoise(noisy, 0.02)
    assert smooth[:, :28].std() < 0.6 * noisy[:, :28].std()
    assert chroma(smooth)[:, :28].std() < 0.4 * chroma(noisy)[:, :28].std()
    assert np.abs(smooth - edge()).mean(0).max() < 0.02


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_sharpening_overshoots_at_edges_and_leaves_the_rest(amount: float) -> None:
    sharp = sharpen(edge(), amount, 1.0)
    assert sharp[32].max() == pytest.approx(0.6 + amount * 0.3 * 0.31, abs=0.02 * (1 + amount))
    assert np.abs(sharp - edge())[:, :24].max() < 1e-5


EVERY_STEP: dict[str, dict[str, object]] = {
    "white balance": {"white_balance": (1.0, 1.0, 1.0)},
    "matrix": {"matrix_error": 0.0},
    "curve": {"curve": ToneCurve(0.5, 0.0, 0.0)},
    "saturation": {"saturation": 1.0, "hue_bias": 0.0},
    "denoising": {"denoise": 0.01},
    "sharpening": {"sharpen": 0.0},
}
OWN_STEPS: list[tuple[str, str, dict[str, object]]] = [
    ("converter", "hue", {"wide": False}),
    ("phone", "regions", {"lift": None}),
]


@pytest.mark.parametrize(
    ("kind", "part", "without"),
    [*((k, part, step) for k in PRESETS for part, step in EVERY_STEP.items()), *OWN_STEPS],
)
def test_every_step_reaches_the_picture(kind: str, part: str, without: dict[str, object]) -> None:
    light = two_regions() * np.float32([1.0, 0.7, 0.4])
    camera = PRESETS[kind]
    changed = replace(camera, **without)  # type: ignore[arg-type]
    one, other = (photograph(rng(), light, 3000, 3, c) for c in (camera, changed))
    difference = np.abs(one - other)
    assert difference.mean() > 2e-4, part


def test_all_cameras_draw_as_much_as_the_ideal_one() -> None:
    """Motion that is drawn after a frame is then the same for all."""
    after = set()
    for kind in KINDS:
        stream, scene = rng(), SceneSettings(camera=make_camera(kind))
        expose(stream, two_regions(), 0.0, scene)
        after.add(stream.random())
    assert len(after) == 1
