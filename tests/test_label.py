"""Labels against known radiance."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from labelgen.align import Aligned
from labelgen.bracket import Stack
from labelgen.fusion import fuse_triangle, fuse_variance
from labelgen.label import NOTHING, REFERENCE, STATIC, cells, make_label, picture
from labelgen.patches import choose
from labelgen.recipe import DEFAULT, RECIPES, SELFHDR, SSHDR, Recipe
from labelgen.response import Stored, encode
from labelgen.simulate import Simulated

from .conftest import EV, make_scene, mu, psnr_mu, stack_of

EACH = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


@EACH
def test_a_still_scene_is_trusted_and_right(tripod: Simulated, recipe: Recipe) -> None:
    label = make_label(stack_of(tripod), recipe)
    trusted = label.weight >= 128
    assert trusted.mean() > 0.97
    assert psnr_mu(label.radiance[trusted], tripod.truth[trusted]) > 42


def test_per_pixel_fusion_is_better_than_the_reference_and_than_triangles(
    tripod: Simulated,
) -> None:
    stack = stack_of(tripod)
    ours, published = (make_label(stack, r) for r in (DEFAULT, SSHDR))
    seen = (ours.weight > 0) & (published.weight > 0)
    quality = [
        psnr_mu(x[seen], tripod.truth[seen])
        for x in (np.clip(stack.radiance(1), 0, 1), published.radiance, ours.radiance)
    ]
    assert quality[2] > quality[1] > quality[0] + 3


@EACH
def test_still_pixels_above_the_clip_of_the_shortest_frame_are_labelled_one(recipe: Recipe) -> None:
    radiance = np.full((256, 256, 3), 0.05, np.float32)
    radiance[:128, :128] = 3.0
    stack = Stack(tuple(encode(radiance * np.float32(2.0**ev), 16) for ev in EV), EV, 1)
    label = make_label(stack, recipe)
    assert (label.weight[:120, :120] == 255).all()
    assert (label.radiance[:120, :120] == 1).all()
    assert np.allclose(label.radiance[136:, 136:], 0.05, rtol=1e-3)


@EACH
def test_labels_are_finite_and_at_most_one(dynamic: Simulated, recipe: Recipe) -> None:
    label = make_label(stack_of(dynamic), recipe)
    assert np.isfinite(label.radiance).all()
    assert label.radiance.min() >= 0
    assert label.radiance.max() <= 1
    assert label.radiance.dtype == np.float32
    assert label.weight.dtype == label.kind.dtype == np.uint8
    assert set(np.unique(label.kind)) <= {NOTHING, STATIC, REFERENCE}
    assert ((label.weight == 0) == (label.kind == NOTHING)).all()


@pytest.mark.parametrize("recipe", [DEFAULT, SSHDR], ids=lambda r: r.name)
def test_few_ghosts_are_trusted(dynamic: Simulated, recipe: Recipe) -> None:
    label = make_label(stack_of(dynamic), recipe)
    ghost = (np.abs(mu(label.radiance) - mu(dynamic.truth)) > 0.1).any(-1)
    plain = fuse_triangle(label.cues.aligned, EV, 1, 0.98)
    merged = (np.abs(mu(plain) - mu(dynamic.truth)) > 0.1).any(-1)
    assert ghost[label.weight > 0].mean() < 0.01
    assert ghost[label.weight > 0].mean() < 0.3 * merged.mean()


def test_what_only_flow_explains_is_trusted_little_and_better_than_the_reference() -> None:
    """Things move before windows that the reference clips."""
    sure = replace(DEFAULT, fusion=replace(DEFAULT.fusion, guess=0))
    errors = []
    for seed in (3, 70, 71):
        scene = make_scene(seed, pieces=6, shake=1.0)
        stack = stack_of(scene)
        label, without = make_label(stack, DEFAULT), make_label(stack, sure)
        guessed = label.weight == DEFAULT.fusion.guess
        assert (without.weight[guessed] == 0).all()
        assert np.array_equal(label.weight[~guessed], without.weight[~guessed])
        assert np.array_equal(label.radiance[~guessed], without.radiance[~guessed])
        truth = mu(scene.truth[guessed])
        reference = mu(stack.radiance(1)[guessed])
        errors += [(mu(label.radiance[guessed]) - truth).ravel(), (reference - truth).ravel()]
    ours, references = (np.abs(np.concatenate(errors[k::2])) for k in (0, 1))
    assert len(ours) > 3000
    assert ours.mean() < references.mean()


def test_what_moves_in_a_moving_cell_is_the_reference_itself(dynamic: Simulated) -> None:
    stack = stack_of(dynamic)
    label = make_label(stack, SSHDR)
    moved = label.kind == REFERENCE
    assert moved.any()
    assert np.array_equal(label.radiance[moved], stack.radiance(1)[moved])


def test_cells_are_judged_whole(dynamic: Simulated) -> None:
    label = make_label(stack_of(dynamic), SSHDR)
    ys, xs = cells(label.kind.shape, 128)  # type: ignore[arg-type]
    for y0, y1 in pairwise(ys):
        for x0, x1 in pairwise(xs):
            assert len(np.unique(label.kind[y0:y1, x0:x1])) == 1


def test_a_cell_that_moves_and_is_clipped_is_rejected() -> None:
    grey = np.full((256, 256, 3), 0.05, np.float32)
    long_ago = grey.copy()
    grey[:128, :128] = long_ago[:128, :128] = 2.0 / 4
    long_ago[:128, 40:80] = 0.01  # something stood before the window in the short frame
    radiance = (long_ago, grey, grey)
    codes = tuple(encode(r * np.float32(2.0**ev), 16) for r, ev in zip(radiance, EV, strict=True))
    label = make_label(Stack(codes, EV, 1), SSHDR)
    assert (label.kind[:128, :128] == NOTHING).all()
    assert (label.kind[128:] == STATIC).all()
    assert [(p.y, p.x) for p in choose(label, SSHDR)] == [(0, 128), (128, 0), (128, 128)]


@pytest.mark.parametrize("x", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_triangle_weights_are_those_of_the_paper(x: float) -> None:
    """(0, 2x, 1 - 2x) for x up to 0.5, (2x - 1, 2 - 2x, 0) above."""
    values = (0.11, x**2.2, 0.13)
    frames = [Aligned(np.full((1, 1, 3), v, np.float32), np.ones((1, 1), bool), 0) for v in values]
    weights = (0, 2 * x, 1 - 2 * x) if x <= 0.5 else (2 * x - 1, 2 - 2 * x, 0)
    expected = sum(w * v / 2**ev for w, v, ev in zip(weights, values, EV, strict=True))
    assert fuse_triangle(frames, EV, 1, 0.98) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_triangle_fusion_of_any_number_of_frames_returns_what_all_agree_on(n: int) -> None:
    ev = tuple(float(2 * i) for i in range(n))
    radiance = np.geomspace(1e-6, 1, 301, dtype=np.float32).reshape(1, -1, 1).repeat(3, -1)
    frames = [
        Aligned(np.minimum(radiance * np.float32(2**e), 1), np.ones((1, 301), bool), 0) for e in ev
    ]
    for reference in range(n):
        fused = fuse_triangle(frames, ev, reference, 0.98)
        known = radiance < 1
        assert np.allclose(fused[known], radiance[known], rtol=1e-3)


def test_a_channel_that_clips_gives_no_colour_cast() -> None:
    """Orange light: red clips in the reference, green and blue do not."""
    truth = np.empty((64, 64, 3), np.float32)
    truth[:] = (0.6, 0.2, 0.05)
    stack = Stack(tuple(encode(truth * np.float32(2.0**ev), 16) for ev in EV), EV, 1)
    label = make_label(stack, DEFAULT)
    assert (label.weight == 255).all()
    assert np.allclose(label.radiance, truth, rtol=2e-3)


def test_a_hole_is_not_trusted() -> None:
    """The reference clips, and the short frame shows something else: nobody knows."""
    base = np.full((160, 160, 3), 0.1, np.float32)
    base[60:100, 60:100] = 0.5
    short = base.copy()
    short[60:100, 60:100] = 0.02
    frames = (short, base, base)
    codes = tuple(encode(f * np.float32(2.0**ev), 16) for f, ev in zip(frames, EV, strict=True))
    label = make_label(Stack(codes, EV, 1), DEFAULT)
    assert (label.weight[64:96, 64:96] == 0).all()
    assert (label.weight[:50] == 255).all()


def test_inverse_variance_weights_are_optimal_for_the_noise_they_assume() -> None:
    scene = make_scene(11, shake=0.0, pieces=0, full_well=3000.0)
    stack = stack_of(scene)
    frames = [Aligned(stack.linear(i), np.ones(stack.size, bool), 0) for i in range(3)]
    agrees = [np.ones(stack.size, bool)] * 3
    recipe = replace(DEFAULT, noise=replace(DEFAULT.noise, full_well=3000.0, read=3.0))
    fused, known = fuse_variance(frames, EV, agrees, Stored(bits=16), recipe)
    fair = known & (scene.truth.max(-1) < 0.9)
    error = np.square(fused - scene.truth)[fair].mean()
    for i in range(3):
        single = stack.radiance(i)
        unclipped = fair & (stack.linear(i).max(-1) < 0.9)
        assert (
            np.square(fused - scene.truth)[unclipped].mean()
            <= 1.02 * np.square(single - scene.truth)[unclipped].mean()
        )
    assert error < np.square(stack.radiance(0) - scene.truth)[fair].mean()


def test_selfhdr_trusts_all_that_the_reference_clips_and_nothing_that_differs() -> None:
    base = np.full((160, 160, 3), 0.02, np.float32)
    base[:, :50] = 0.5
    other = base.copy()
    other[100:140, 100:140] = 0.003
    frames = (base, base, other)
    codes = tuple(encode(f * np.float32(2.0**ev), 16) for f, ev in zip(frames, EV, strict=True))
    recipe = replace(SELFHDR, align=replace(SELFHDR.align, method="none"))
    label = make_label(Stack(codes, EV, 1), recipe)
    assert (label.weight[:, :48] == 255).all()
    assert (label.weight[105:135, 105:135] == 0).all()
    assert label.weight[:90].min() == 255


@pytest.mark.parametrize("n", [2, 4, 5])
@EACH
def test_any_number_of_frames(n: int, recipe: Recipe) -> None:
    ev = tuple(float(i) for i in range(n))
    scene = make_scene(20 + n, ev=ev, shake=0.0, pieces=1)
    label = make_label(stack_of(scene, ev), recipe)
    trusted = label.weight > 0
    assert trusted.mean() > 0.3
    assert psnr_mu(label.radiance[trusted], scene.truth[trusted]) > 30


@pytest.mark.parametrize("reference", [0, 2])
def test_any_reference(tripod: Simulated, reference: int) -> None:
    label = make_label(Stack(tripod.codes, EV, reference), DEFAULT)
    trusted = label.weight > 0
    assert psnr_mu(label.radiance[trusted], tripod.truth[trusted]) > 42


def test_the_grid_covers_the_frame_with_cells_no_larger_than_a_patch() -> None:
    for size in ((128, 128), (129, 400), (1000, 1500), (356, 536)):
        for length, borders in zip(size, cells(size, 128), strict=True):
            steps = np.diff(borders)
            assert borders[0] == 0
            assert borders[-1] == length
            assert steps.max() <= 128
            assert np.ptp(steps) <= 1


def test_the_picture_shows_motion_red_and_dims_what_is_not_trusted(dynamic: Simulated) -> None:
    stack = stack_of(dynamic)
    label = make_label(stack, DEFAULT)
    shown = picture(label, stack.radiance(1)).astype(int)
    moved = ~label.cues.still & (label.weight > 0)
    still = label.cues.still & (label.weight > 0) & ~label.cues.clipped & ~label.cues.dark
    assert (shown[moved][:, 0] > shown[moved][:, 2]).mean() > 0.95
    assert (shown[still][:, 0] == shown[still][:, 2]).all()
    assert shown[label.weight == 0].mean() < 0.6 * shown[label.weight > 0].mean()
