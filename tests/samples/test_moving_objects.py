from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelgen.core.bracket import Stack
from labelgen.core.recipe import DEFAULT, SSHDR, Recipe
from labelgen.core.response import SourceFormat, decode, encode
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.sample import Sample
from labelgen.labels.difference import noise_variance
from labelgen.labels.label import make_label
from labelgen.samples.augment import LabelledBracket, make_samples
from labelgen.samples.compose import Layer, composite, motion_blur_kernel, render_layer
from labelgen.samples.motion_stats import NO_MOTION, MotionStats, measure_motion
from labelgen.samples.moving_objects import Background, MovingObject, draw_moving_objects
from labelgen.samples.patches import grid_patches
from labelgen.samples.shapes import draw_outline
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, stack_of

SIDE = 64
BARE = replace(
    DEFAULT,
    patches=replace(SSHDR.patches, size=SIDE, variants=1),
    illumination=replace(DEFAULT.illumination, share=0.0),
    warp=replace(DEFAULT.warp, share=0.0),
    pieces=replace(DEFAULT.pieces, share=0.0),
)
LAID = replace(BARE, pieces=replace(DEFAULT.pieces, share=1.0))
PIECES = BRANCHES.index("pieces")


def samples(
    scene: SimulatedBracket,
    recipe: Recipe,
    weight: int = 255,
    seed: int = 0,
    moves: MotionStats = NO_MOTION,
) -> list[Sample]:
    stack = stack_of(scene)
    trust = np.full(stack.size, weight, np.uint8)
    labelled = LabelledBracket(stack, np.clip(scene.truth, 0, 1), trust, moves)
    return list(make_samples(labelled, grid_patches(stack.size, SIDE, 0), recipe, "name", seed, 16))


def scene_of(label: np.ndarray, reference: int = 1) -> Background:
    trust = np.full(label.shape[:2], 255, np.uint8)
    clips = label.max(-1) >= 2.0 ** -EV[reference]
    return Background(label, clips, label, trust, EV, reference)


def test_every_sample_has_pieces_that_differ_from_frame_to_frame(tripod: SimulatedBracket) -> None:
    made, plain = samples(tripod, LAID), samples(tripod, BARE)
    assert np.mean([s.patch.branch == PIECES for s in made]) > 0.95
    changed = []
    for a, b in zip(made, plain, strict=True):
        differs = (a.inputs != b.inputs).any(-1)
        changed.append(differs.mean())
        assert not (differs[0] == differs[1]).all() or not differs.any()
    assert 0.05 < np.mean(changed) < 0.6


def test_the_reference_shows_what_the_label_says(tripod: SimulatedBracket) -> None:
    """Where it is unclipped, decoded and within its noise; where it clips, the label is above."""
    for s in samples(tripod, LAID):
        label, light = s.label.astype(np.float32), decode(s.inputs[1])
        expected = np.minimum(label * 2.0 ** EV[1], 1)
        sigma = (
            np.sqrt(noise_variance(expected, SourceFormat(bits=16), DEFAULT.noise))
            + 2e-3 * expected
        )
        below = (expected < 0.9) & (expected > 0)
        # Simulated frames have less noise than the recipe assumes, so 5 sigmas are ample.
        assert (np.abs(light - expected)[below] < 5 * sigma[below]).mean() > 0.999
        clipped = (light == 1) & (s.weight == 255)[..., None]
        low = clipped & (label < 0.9 * 2.0 ** -EV[1])
        assert low.sum() <= 0.01 * clipped.sum()


def test_pixels_without_pieces_stay_as_they_were_taken(tripod: SimulatedBracket) -> None:
    laid = replace(LAID, pieces=replace(LAID.pieces, shadow=0.0))
    for a, b in zip(samples(tripod, laid), samples(tripod, BARE), strict=True):
        same = a.label == b.label
        assert same.mean() > 0.1
        untouched = same.all(-1) & (a.inputs[1] == b.inputs[1]).all(-1)
        assert untouched.mean() > 0.1
        assert np.array_equal(a.weight[untouched], b.weight[untouched])


def test_pieces_are_trusted_and_what_they_do_not_hide_is_as_it_was(
    tripod: SimulatedBracket,
) -> None:
    for s in samples(tripod, replace(LAID, pieces=replace(LAID.pieces, at_clipped=0.0)), 200):
        assert set(np.unique(s.weight)) <= {200, 255}
    trusted = [s.weight == 255 for s in samples(tripod, LAID, 200)]
    assert 0.02 < np.mean(trusted) < 0.6
    # A frame of which nothing is trusted has nothing to cut pieces from.
    untrusted = samples(tripod, LAID, 0)
    assert all(s.patch.branch != PIECES and not s.weight.any() for s in untrusted)


def test_pieces_lie_over_what_the_reference_clips() -> None:
    rng = np.random.default_rng(5)
    label = np.full((SIDE, SIDE, 3), 0.05, np.float32) * np.exp2(
        rng.normal(0, 0.3, (SIDE, SIDE, 1))
    )
    label[:, 40:] = 0.6
    scene, covers = scene_of(label.astype(np.float32)), {}
    for share in (0.0, 1.0):
        settings = replace(DEFAULT.pieces, at_clipped=share, most=1, size_high=0.4)
        laid = [
            render_layer(draw_moving_objects(rng, scene, NO_MOTION, settings), 1, scene, settings)
            for _ in range(150)
        ]
        cover = np.mean([1 - view.transmittance[..., 0] for view in laid], 0)
        covers[share] = cover[:, 32:].mean() / cover.mean()
    assert covers[1.0] > 1.25 * covers[0.0]


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("level", [0.005, 0.05, 0.4])
@pytest.mark.parametrize("cover", [1.0, 0.5])
def test_the_noise_of_pieces_is_that_of_real_pixels(depth: int, level: float, cover: float) -> None:
    """Under a whole piece, and where half of a real and as noisy frame shows through."""
    rng, stored = np.random.default_rng(1), SourceFormat(bits=depth)
    flat = np.full((160, 160, 3), level, np.float32)
    rounding = stored.code_width(flat) ** 2 / 12

    def real(exact: bool = False) -> np.ndarray:
        spread = np.sqrt(np.maximum(noise_variance(flat, stored, DEFAULT.noise) - rounding, 0))
        return encode(flat + rng.standard_normal(flat.shape, np.float32) * spread, depth)

    passes = np.full((160, 160, 1), 1 - cover, np.float32)
    laid = Layer(flat * np.float32(cover), passes, np.ones_like(passes))
    behind = flat, np.ones((160, 160), bool)
    out = composite(rng, real(), laid, 0.0, behind, stored, DEFAULT.noise)
    assert out.dtype == (np.uint8 if depth == 8 else np.uint16)
    taken, made = decode(real()), decode(out)
    assert made.std() == pytest.approx(taken.std(), rel=0.1)
    assert made.mean() == pytest.approx(taken.mean(), rel=0.01)
    assert np.abs(np.corrcoef(made[..., 0].ravel(), made[..., 1].ravel())[0, 1]) < 0.03


def test_a_frame_clips_what_a_piece_shows_above_its_clip() -> None:
    codes = encode(np.full((32, 32, 3), 0.2, np.float32), 16)
    light = np.full((32, 32, 3), 0.5, np.float32)
    ones = np.ones((32, 32, 1), np.float32)
    behind = light * 0, np.ones((32, 32), bool)
    args = (behind, SourceFormat(bits=16), DEFAULT.noise)
    rng = np.random.default_rng(0)
    short, long = (composite(rng, codes, Layer(light, 0 * ones, ones), ev, *args) for ev in (0, 3))
    assert decode(short).mean() == pytest.approx(0.5, rel=0.01)
    assert (long == 65535).all()


def test_soft_edges_over_what_clips_let_the_label_through() -> None:
    codes = np.full((32, 32, 3), 65535, np.uint16)
    label = np.full((32, 32, 3), 0.8, np.float32)  # 3.2 times the clip of a frame of 2 EV
    half, ones = np.full((32, 32, 1), 0.25, np.float32), np.ones((32, 32, 1), np.float32)
    laid = Layer(np.zeros_like(label), half, ones)
    rng, known = np.random.default_rng(0), np.ones((32, 32), bool)
    out = composite(rng, codes, laid, 2.0, (label, known), SourceFormat(bits=16), DEFAULT.noise)
    assert decode(out).mean() == pytest.approx(0.8, rel=0.01)


def test_shadows_darken_what_is_known_and_no_lamps() -> None:
    label = np.full((32, 32, 3), 0.8, np.float32)
    ones = np.ones((32, 32, 1), np.float32)
    laid = Layer(0 * label, ones, 0.25 * ones)
    stored, noise, rng = SourceFormat(bits=16), DEFAULT.noise, np.random.default_rng(0)
    dim, bright = encode(np.full_like(label, 0.4), 16), np.full(label.shape, 65535, np.uint16)
    for codes, known, expected in ((dim, False, 0.1), (bright, True, 0.8), (bright, False, 1.0)):
        behind = label, np.full((32, 32), known)
        out = decode(composite(rng, codes, laid, 2.0, behind, stored, noise))
        assert out.mean() == pytest.approx(expected, rel=0.01)


def test_a_piece_moves_along_its_velocity_and_stands_in_the_reference() -> None:
    scene = scene_of(np.full((128, 128, 3), 0.05, np.float32) * np.float32(1))
    settings = replace(DEFAULT.pieces, ripple=0.0, turn=0.0, zoom=0.0, blur=0.0, shadow=0.0, most=1)
    light = np.zeros((17, 17, 4), np.float32)
    light[6:11, 6:11] = 1
    poses = tuple(
        np.array([[1, 0, 8 - (64 + 10 * k)], [0, 1, 8 - (60 - 5 * k)]]) for k in (-1, 0, 1)
    )
    piece = MovingObject(
        light, poses, np.zeros((3, 4, 4, 2), np.float32), np.array([10.0, -5.0]), None
    )
    for i, (x, y) in enumerate(((54, 65), (64, 60), (74, 55))):
        cover = 1 - render_layer([piece], i, scene, settings).transmittance[..., 0]
        assert cover.sum() == pytest.approx(25)
        ys, xs = np.nonzero(cover)
        assert (xs.mean(), ys.mean()) == pytest.approx((x, y))
    blurred = replace(settings, blur=0.5)
    cover = [1 - render_layer([piece], i, scene, blurred).transmittance[..., 0] for i in range(3)]
    widths = [int((c.max(0) > 0.02).sum()) for c in cover]
    assert widths[0] < widths[1] < widths[2]
    assert all(c.sum() == pytest.approx(25, rel=1e-3) for c in cover)


def test_later_pieces_hide_earlier_ones() -> None:
    scene = scene_of(np.full((32, 32, 3), 0.05, np.float32))
    pose = (np.array([[1.0, 0, 0], [0, 1, 0]]),) * 3
    dark, light = (np.ones((32, 32, 4), np.float32) * (*(v,) * 3, 1) for v in (0.1, 0.9))
    still = np.zeros((3, 4, 4, 2), np.float32)
    pieces = [
        MovingObject(t.astype(np.float32), pose, still, np.zeros(2), None) for t in (dark, light)
    ]
    assert np.allclose(render_layer(pieces, 1, scene, DEFAULT.pieces).radiance, 0.9)
    assert np.allclose(render_layer(pieces[::-1], 1, scene, DEFAULT.pieces).radiance, 0.1)


@pytest.mark.parametrize("way", [(3.0, 0.0), (0.0, -7.5), (4.0, 4.0), (80.0, 0.0)])
def test_streaks_are_centred_and_as_long_as_the_way(way: tuple[float, float]) -> None:
    kernel = motion_blur_kernel(np.array(way))
    ys, xs = np.mgrid[: len(kernel), : len(kernel)] - len(kernel) // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert abs((kernel * xs).sum()) < 1e-4
    assert abs((kernel * ys).sum()) < 1e-4
    length = min(np.hypot(*way), 24.0)
    assert np.sqrt((kernel * (xs**2 + ys**2)).sum() * 12) == pytest.approx(length, rel=0.25)


@pytest.mark.parametrize("thin", [False, True])
def test_outlines_are_closed_soft_and_inside(thin: bool) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for size in (8, 20, 61, 90):
        for _ in range(20):
            cover = draw_outline(rng, size, thin)
            assert cover.shape == (size, size)
            assert cover.min() >= 0
            assert cover.max() <= 1 + 1e-6
            assert max(cover[0].max(), cover[-1].max(), cover[:, 0].max()) < 0.6
            shares.append(cover.mean())
    assert 0.03 < np.mean(shares) < (0.35 if thin else 0.65)


def test_sizes_and_speeds_are_those_of_the_bracket(tripod: SimulatedBracket) -> None:
    moves = MotionStats(np.array([30.0], np.float32), np.array([11.0], np.float32))
    settings = replace(DEFAULT.pieces, measured=1.0)
    scene = scene_of(np.clip(tripod.truth, 0, 1)[:128, :128])
    drawn = [
        p
        for s in range(30)
        for p in draw_moving_objects(np.random.default_rng(s), scene, moves, settings)
    ]
    sizes, speeds = zip(*((len(p.image), np.hypot(*p.velocity)) for p in drawn), strict=True)
    assert 21 <= min(sizes) <= max(sizes) <= 43
    assert 7.7 < min(speeds) <= max(speeds) < 15.6


def test_measured_speeds_are_those_of_what_moves(tripod: SimulatedBracket) -> None:
    """A textured square that moves by 6 px a frame, on a tripod."""
    rng = np.random.default_rng(0)
    texture = np.float32(0.04) * np.exp2(rng.normal(0, 0.8, (9, 9, 3)).repeat(6, 0).repeat(6, 1))
    codes = []
    for i, frame in enumerate(tripod.codes):
        view = frame.copy()
        x = 200 + 6 * (i - 1)
        view[100:154, x : x + 54] = encode(np.float32(2.0 ** EV[i] / 16) * texture, 16)
        codes.append(view)
    stack = Stack(tuple(codes), EV, 1)
    moves = measure_motion(stack, make_label(stack, DEFAULT))
    assert len(moves.sizes) >= 1
    assert np.median(moves.speeds) == pytest.approx(6, abs=1.5)
    assert np.median(moves.sizes) < 80
    still = stack_of(tripod)
    assert len(measure_motion(still, make_label(still, DEFAULT)).sizes) <= 1


def test_pieces_depend_on_the_seed_alone(tripod: SimulatedBracket) -> None:
    first, again, other = (samples(tripod, LAID, seed=s) for s in (1, 1, 2))
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.inputs, b.inputs)
        assert np.array_equal(a.label, b.label)
    assert any(not np.array_equal(a.inputs, b.inputs) for a, b in zip(first, other, strict=True))


def test_8_bit_frames_stay_on_their_codes(tripod: SimulatedBracket) -> None:
    stack = stack_of(tripod).to_depth(8)
    weight = np.full(stack.size, 255, np.uint8)
    labelled = LabelledBracket(stack, np.clip(tripod.truth, 0, 1), weight)
    made = list(make_samples(labelled, grid_patches(stack.size, SIDE)[:6], LAID, "n", 0, 8))
    assert made[0].inputs.dtype == np.uint8
    assert any(s.patch.branch == PIECES for s in made)
