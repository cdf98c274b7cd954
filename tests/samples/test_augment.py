from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from labelgen.core.bracket import Stack
from labelgen.core.recipe import SSHDR, Recipe
from labelgen.core.response import decode, encode, to_depth
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.sample import Patch, Sample
from labelgen.samples.augment import LabelledBracket, draw_homography, make_samples
from labelgen.samples.illumination import KINDS, Edge, Gain, Shape, Window, draw_gain
from labelgen.samples.patches import grid_patches
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, stack_of

PLAIN = replace(
    SSHDR,
    patches=replace(SSHDR.patches, size=64, variants=3),
    illumination=replace(SSHDR.illumination, share=0.0),
    warp=replace(SSHDR.warp, share=0.0),
)
LIT = replace(PLAIN, illumination=replace(SSHDR.illumination, share=1.0))
WARPED = replace(PLAIN, warp=replace(SSHDR.warp, share=1.0))
STATIC = BRANCHES.index("static")


def samples(
    scene: SimulatedBracket, recipe: Recipe, branch: int = STATIC, seed: int = 0, depth: int = 16
) -> list[Sample]:
    stack = stack_of(scene).to_depth(depth)
    radiance = np.clip(scene.truth, 0, 1)
    weight = np.full(stack.size, 255, np.uint8)
    patches = grid_patches(stack.size, 64, branch)
    return list(
        make_samples(LabelledBracket(stack, radiance, weight), patches, recipe, "name", seed, depth)
    )


def test_without_augmentation_every_patch_is_given_once_as_it_was_taken(
    tripod: SimulatedBracket,
) -> None:
    made = samples(tripod, PLAIN)
    assert [s.patch for s in made] == grid_patches(tripod.truth.shape[:2], 64, STATIC)  # type: ignore[arg-type]
    for s in made:
        at = np.s_[s.patch.y : s.patch.y + 64, s.patch.x : s.patch.x + 64]
        for frame, codes in zip(s.inputs, tripod.codes, strict=True):
            assert np.array_equal(frame, codes[at])
        assert np.array_equal(s.label, np.clip(tripod.truth[at], 0, 1).astype(np.float16))


def test_modelled_frames_follow_the_encoding_rule(tripod: SimulatedBracket) -> None:
    lit = [s for s in samples(tripod, LIT) if BRANCHES[s.patch.branch] == "illumination"]
    assert lit
    for s in lit:
        for frame, ev in zip(s.inputs, EV, strict=True):
            expected = np.clip(s.label.astype(np.float32) * 2**ev, 0, 1)
            assert np.abs(decode(frame) - expected).max() < 1.5e-3


def test_light_clips_the_reference_and_spares_the_short_frame(tripod: SimulatedBracket) -> None:
    lit = [s for s in samples(tripod, LIT) if BRANCHES[s.patch.branch] == "illumination"]
    plain = {s.patch.index: s for s in samples(tripod, PLAIN)}
    gained = sum(
        (s.inputs[1] == 65535).mean() - (plain[s.patch.index].inputs[1] == 65535).mean()
        for s in lit
    )
    assert gained / len(lit) > 0.1
    assert np.mean([(s.inputs[0] == 65535).mean() for s in lit]) < 0.02
    assert max(float(s.label.max()) for s in lit) <= 1


def test_light_on_real_frames_keeps_what_they_show(tripod: SimulatedBracket) -> None:
    """Each frame is brighter by one and the same gain, as is the label; clipped stays clipped."""
    real = replace(LIT, illumination=replace(LIT.illumination, frames="real"))
    plain = {s.patch.index: s for s in samples(tripod, PLAIN)}
    lit = [s for s in samples(tripod, real) if BRANCHES[s.patch.branch] == "illumination"]
    assert lit
    for s in lit:
        before = plain[s.patch.index]
        dark = (before.label > 1e-3).all(-1) & (s.label < 0.9).all(-1)
        gain = (s.label.astype(np.float32) / np.maximum(before.label.astype(np.float32), 1e-6))[
            dark
        ]
        for i in range(3):
            was, now = decode(before.inputs[i]), decode(s.inputs[i])
            assert (now[was == 1] == 1).all()
            expected = np.minimum(was[dark] * gain, 1)
            assert np.allclose(now[dark], expected, rtol=4e-3, atol=1e-4)


def test_moving_patches_under_light_keep_their_real_motion(tripod: SimulatedBracket) -> None:
    reference = BRANCHES.index("reference")
    lit = replace(LIT, illumination=replace(LIT.illumination, frames="real"))
    still, moving = (
        samples(tripod, replace(lit, warp=w), reference) for w in (PLAIN.warp, WARPED.warp)
    )
    for a, b in zip(still, moving, strict=True):
        assert np.array_equal(a.inputs, b.inputs)


def test_a_patch_without_headroom_is_not_lit() -> None:
    rng = np.random.default_rng(0)
    assert draw_gain(rng, 64, SSHDR.illumination.gain_low - 0.1, SSHDR.illumination) is None
    gain = draw_gain(rng, 64, 2.0, SSHDR.illumination)
    assert gain is not None
    assert SSHDR.illumination.gain_low <= gain.stops <= 2.0


@pytest.mark.parametrize("angle", [0.0, 1.0, 4.0])
def test_the_edge_of_light_is_straight_soft_and_as_wide_as_said(angle: float) -> None:
    ys, xs = np.mgrid[-64:64, -64:64].astype(np.float32)
    field = np.log2(Gain(3.0, Edge(angle, 5.0, 30.0)).field(ys, xs))
    along = np.cos(angle) * xs + np.sin(angle) * ys - 5
    assert np.allclose(field[along <= -15], 0, atol=1e-5)
    assert np.allclose(field[along >= 15], 3, atol=1e-5)
    order = np.argsort(along.ravel())
    assert (np.diff(field.ravel()[order]) >= -1e-4).all()
    assert field[np.abs(along) < 1].mean() == pytest.approx(1.5, abs=0.15)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.__name__)
def test_light_of_every_kind_only_adds_and_is_soft(kind: Callable[..., Shape]) -> None:
    ys, xs = np.ogrid[-64:64, -64:64]
    seen = []
    for seed in range(30):
        shape = kind(np.random.default_rng(seed), 128, Edge(1.0 + seed, 0.0, 40.0))
        field = np.log2(Gain(3.0, shape).field(ys.astype(np.float32), xs.astype(np.float32)))
        assert field.shape == (128, 128)
        assert field.min() >= -1e-4
        assert field.max() <= 3 + 1e-4
        slope = max(np.abs(np.diff(field, axis=a)).max() for a in (0, 1))
        assert slope < 3 * 1.5 / 4  # no edge is narrower than a tenth of the ramp, 4 px
        seen.append(np.ptp(field))
    assert np.median(seen) > 1


def test_a_window_is_bright_inside_and_dark_outside() -> None:
    edges = tuple(Edge(a + np.pi, -20.0, 4.0) for a in np.arange(4) * np.pi / 2)
    ys, xs = np.mgrid[-64:64, -64:64].astype(np.float32)
    inside = np.maximum(np.abs(ys), np.abs(xs))
    field = Window(edges)(ys, xs)
    assert np.allclose(field[inside < 17], 1)
    assert np.allclose(field[inside > 23], 0)


def test_edges_alone_draw_as_before_and_kinds_are_drawn_evenly() -> None:
    settings = replace(SSHDR.illumination, kinds="any")
    drawn = [draw_gain(np.random.default_rng(s), 64, 5.0, settings) for s in range(400)]
    names = [type(g.shape).__name__ for g in drawn if g]
    assert {n: names.count(n) > 60 for n in names} == dict.fromkeys(
        ("Edge", "Spot", "Window", "Clouds"), True
    )
    only = [draw_gain(np.random.default_rng(s), 64, 5.0, SSHDR.illumination) for s in range(9)]
    assert all(g and isinstance(g.shape, Edge) for g in only)


def test_light_on_real_frames_multiplies_their_noise() -> None:
    """By g stops its standard deviation grows 2^g times: that of a real pixel 2^(g/2) times."""
    level, gain = np.float32(0.02), np.float32(4)
    rng = np.random.default_rng(0)
    frame = level + rng.standard_normal((64, 64, 3), np.float32) * np.sqrt(level / 10_000)
    lit = decode(encode(decode(encode(frame, 16)) * gain, 16))
    real = np.sqrt(level * gain / 10_000)
    assert lit.std() / real == pytest.approx(np.sqrt(gain), rel=0.05)


def test_motion_moves_the_others_and_never_the_reference_or_the_label(
    tripod: SimulatedBracket,
) -> None:
    plain = {s.patch.index: s for s in samples(tripod, PLAIN)}
    moved = samples(tripod, WARPED)
    assert len(moved) == 3 * len(plain)
    for s in moved:
        still = plain[s.patch.index]
        assert np.array_equal(s.inputs[1], still.inputs[1])
        assert np.array_equal(s.label, still.label)
    changed = [np.any(s.inputs[i] != plain[s.patch.index].inputs[i]) for s in moved for i in (0, 2)]
    assert np.mean(changed) > 0.95


def test_motion_samples_the_full_frame(tripod: SimulatedBracket) -> None:
    """A pure shift brings in what lies outside of the patch, exactly."""
    stack = stack_of(tripod)
    h, w = stack.size
    patch = Patch(0, 100, 120, STATIC)
    recipe = replace(WARPED, warp=replace(WARPED.warp, turn=0.0, zoom=0.0, tilt=0.0, shift=9.0))
    recipe = replace(recipe, patches=replace(recipe.patches, variants=6))
    weight = np.full((h, w), 255, np.uint8)
    for s in make_samples(
        LabelledBracket(stack, tripod.truth, weight), [patch], recipe, "n", 3, 16
    ):
        frame = decode(s.inputs[2])
        errors = [
            np.abs(frame - decode(tripod.codes[2][100 + dy : 164 + dy, 120 + dx : 184 + dx])).mean()
            for dy in range(-36, 37)
            for dx in range(-36, 37)
        ]
        assert min(errors) < 0.35 * np.median(errors)


def test_at_the_border_of_the_frame_patches_stay_whole(tripod: SimulatedBracket) -> None:
    recipe = replace(WARPED, warp=replace(WARPED.warp, shift=40.0))
    for s in samples(tripod, recipe):
        assert s.inputs.shape == (3, 64, 64, 3)
        assert s.weight.shape == (64, 64)


def test_homographies_are_centred_on_the_identity() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([draw_homography(rng, SSHDR.warp) for _ in range(4000)])
    assert np.allclose(drawn.mean(0), np.eye(3), atol=0.4)
    assert drawn[:, 0, 2].std() == pytest.approx(SSHDR.warp.shift, rel=0.05)
    assert np.rad2deg(drawn[:, 1, 0]).std() == pytest.approx(SSHDR.warp.turn, rel=0.06)


def test_moving_patches_keep_their_real_motion(tripod: SimulatedBracket) -> None:
    reference = BRANCHES.index("reference")
    plain = {s.patch.index: s for s in samples(tripod, PLAIN, reference)}
    for s in samples(tripod, WARPED, reference):
        assert np.array_equal(s.inputs, plain[s.patch.index].inputs)


def test_moving_patches_are_moved_too_if_the_recipe_says_so(tripod: SimulatedBracket) -> None:
    """Only the other frames: reference, label and weight stay, and so does the branch."""
    reference = BRANCHES.index("reference")
    every = replace(WARPED, warp=replace(WARPED.warp, patches="all"))
    plain = {s.patch.index: s for s in samples(tripod, PLAIN, reference)}
    warped = samples(tripod, every, reference)
    assert len(warped) > 10
    for s in warped:
        before = plain[s.patch.index]
        assert np.array_equal(s.inputs[1], before.inputs[1])
        assert not np.array_equal(s.inputs[0], before.inputs[0])
        assert not np.array_equal(s.inputs[2], before.inputs[2])
        assert np.array_equal(s.label, before.label)
        assert np.array_equal(s.weight, before.weight)
        assert s.patch.branch == reference


def test_draws_depend_on_seed_bracket_patch_and_variant_alone(tripod: SimulatedBracket) -> None:
    both = replace(LIT, warp=WARPED.warp)
    first, again, other = (samples(tripod, both, seed=s) for s in (1, 1, 2))
    assert all(np.array_equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.inputs, b.inputs) for a, b in zip(first, other, strict=False))
    stack = stack_of(tripod)
    weight = np.full(stack.size, 255, np.uint8)
    last = grid_patches(stack.size, 64, STATIC)[-1:]
    alone = list(
        make_samples(
            LabelledBracket(stack, np.clip(tripod.truth, 0, 1), weight), last, both, "name", 1, 16
        )
    )
    assert np.array_equal(alone[-1].inputs, first[-1].inputs)
    renamed = list(
        make_samples(
            LabelledBracket(stack, np.clip(tripod.truth, 0, 1), weight), last, both, "b", 1, 16
        )
    )
    assert not np.array_equal(renamed[-1].inputs, first[-1].inputs)


def test_8_bit_sources_stay_8_bit_or_widen_exactly(tripod: SimulatedBracket) -> None:
    narrow = samples(tripod, PLAIN, depth=8)
    assert narrow[0].inputs.dtype == np.uint8
    stack = stack_of(tripod).to_depth(8)
    weight = np.full(stack.size, 255, np.uint8)
    wide = list(
        make_samples(
            LabelledBracket(stack, tripod.truth, weight),
            grid_patches(stack.size, 64),
            PLAIN,
            "n",
            0,
            16,
        )
    )
    assert np.array_equal(wide[0].inputs, to_depth(narrow[0].inputs, 16))


def test_modelled_frames_of_two_frame_brackets() -> None:
    radiance = np.full((80, 80, 3), 0.02, np.float32)
    ev = (0.0, 3.0)
    stack = Stack(tuple(encode(radiance * np.float32(2.0**e), 16) for e in ev), ev, 1)
    weight = np.full((80, 80), 255, np.uint8)
    made = list(
        make_samples(
            LabelledBracket(stack, radiance, weight), [Patch(0, 8, 8, STATIC)], LIT, "n", 0, 16
        )
    )
    assert made[0].inputs.shape == (2, 64, 64, 3)
    assert BRANCHES[made[0].patch.branch] == "illumination"
