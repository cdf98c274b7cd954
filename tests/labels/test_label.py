"""Labels against known radiance."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from labelgen.alignment.align import Aligned, align_frame
from labelgen.core.bracket import Stack
from labelgen.core.recipe import DEFAULT, RECIPES, SELFHDR, SSHDR, Recipe
from labelgen.core.response import encode
from labelgen.core.tiles import MAX_TILE_PIXELS, tiles
from labelgen.labels.cues import Cues
from labelgen.labels.fusion import denoise, fuse_triangle, fuse_variance
from labelgen.labels.label import make_label
from labelgen.labels.trust import REFERENCE, STATIC, UNTRUSTED, cell_borders, trust_clipped
from labelgen.pipeline.label_bracket import cues_picture
from labelgen.samples.patches import choose_patches
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, make_scene, mu, psnr_mu, stack_of

NOISY = replace(DEFAULT, noise=replace(DEFAULT.noise, full_well=3000.0, read=3.0))


def cues_of(stack: Stack, **given: object) -> Cues:
    """Frames that are aligned and agree, unless said otherwise."""
    every = np.ones(stack.size, bool)
    frames = tuple(Aligned(stack.codes[i], every, 0) for i in range(3))
    return replace(Cues(frames, (every,) * 3, ~every, ~every, stack.reference), **given)


EACH = pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))


@EACH
def test_a_still_scene_is_trusted_and_right(tripod: SimulatedBracket, recipe: Recipe) -> None:
    label = make_label(stack_of(tripod), recipe)
    trusted = label.weight >= 128
    assert trusted.mean() > 0.97
    assert psnr_mu(label.radiance[trusted], tripod.truth[trusted]) > 42


def test_per_pixel_fusion_is_better_than_the_reference_and_than_triangles(
    tripod: SimulatedBracket,
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
def test_labels_are_finite_and_at_most_one(dynamic: SimulatedBracket, recipe: Recipe) -> None:
    label = make_label(stack_of(dynamic), recipe)
    assert np.isfinite(label.radiance).all()
    assert label.radiance.min() >= 0
    assert label.radiance.max() <= 1
    assert label.radiance.dtype == np.float32
    assert label.weight.dtype == label.kind.dtype == np.uint8
    assert set(np.unique(label.kind)) <= {UNTRUSTED, STATIC, REFERENCE}
    assert ((label.weight == 0) == (label.kind == UNTRUSTED)).all()


@pytest.mark.parametrize("recipe", [DEFAULT, SSHDR], ids=lambda r: r.name)
def test_few_ghosts_are_trusted(dynamic: SimulatedBracket, recipe: Recipe) -> None:
    label = make_label(stack_of(dynamic), recipe)
    ghost = (np.abs(mu(label.radiance) - mu(dynamic.truth)) > 0.1).any(-1)
    frames = [align_frame(stack_of(dynamic), i, recipe.align) for i in range(3)]
    plain = fuse_triangle(frames, EV, 1, 0.98)
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
        assert (without.weight[guessed] <= DEFAULT.fusion.guess).all()
        assert np.array_equal(label.weight[~guessed], without.weight[~guessed])
        assert np.array_equal(label.radiance[~guessed], without.radiance[~guessed])
        truth = mu(scene.truth[guessed])
        reference = mu(stack.radiance(1)[guessed])
        errors += [(mu(label.radiance[guessed]) - truth).ravel(), (reference - truth).ravel()]
    ours, references = (np.abs(np.concatenate(errors[k::2])) for k in (0, 1))
    assert len(ours) > 3000
    assert ours.mean() < references.mean()


def test_what_moves_in_a_moving_cell_is_the_reference_itself(dynamic: SimulatedBracket) -> None:
    stack = stack_of(dynamic)
    label = make_label(stack, SSHDR)
    moved = label.kind == REFERENCE
    assert moved.any()
    assert np.array_equal(label.stored[moved], stack.radiance(1)[moved].astype(np.float16))


def test_cells_are_judged_whole(dynamic: SimulatedBracket) -> None:
    label = make_label(stack_of(dynamic), SSHDR)
    ys, xs = cell_borders(label.kind.shape, 128)  # type: ignore[arg-type]
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
    assert (label.kind[:128, :128] == UNTRUSTED).all()
    assert (label.kind[128:] == STATIC).all()
    assert [(p.y, p.x) for p in choose_patches(label, SSHDR)] == [(0, 128), (128, 0), (128, 128)]


class Light(Aligned):
    """A frame of exact linear light, which no code rounds."""

    def __init__(self, linear: np.ndarray) -> None:
        super().__init__(encode(linear, 16), np.ones(linear.shape[:2], bool), 0.0)
        self.__dict__["exact"] = linear

    @property
    def linear(self) -> np.ndarray:
        return self.__dict__["exact"]


@pytest.mark.parametrize("x", [0.0, 0.2, 0.5, 0.7, 1.0])
def test_triangle_weights_are_those_of_the_paper(x: float) -> None:
    """(0, 2x, 1 - 2x) for x up to 0.5, (2x - 1, 2 - 2x, 0) above."""
    values = (0.11, x**2.2, 0.13)
    frames = [Light(np.full((1, 1, 3), v, np.float32)) for v in values]
    weights = (0, 2 * x, 1 - 2 * x) if x <= 0.5 else (2 * x - 1, 2 - 2 * x, 0)
    expected = sum(w * v / 2**ev for w, v, ev in zip(weights, values, EV, strict=True))
    assert fuse_triangle(frames, EV, 1, 0.98) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [2, 3, 4, 5, 7])
def test_triangle_fusion_of_any_number_of_frames_returns_what_all_agree_on(n: int) -> None:
    ev = tuple(float(2 * i) for i in range(n))
    radiance = np.geomspace(1e-6, 1, 301, dtype=np.float32).reshape(1, -1, 1).repeat(3, -1)
    frames = [Light(np.minimum(radiance * np.float32(2**e), 1)) for e in ev]
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
    recipe = replace(NOISY, fusion=replace(NOISY.fusion, denoise=0.0))
    result = fuse_variance(cues_of(stack), stack, recipe)
    fused = result.radiance
    fair = result.known & (scene.truth.max(-1) < 0.9)
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
def test_any_reference(tripod: SimulatedBracket, reference: int) -> None:
    label = make_label(Stack(tripod.codes, EV, reference), DEFAULT)
    trusted = label.weight > 0
    assert psnr_mu(label.radiance[trusted], tripod.truth[trusted]) > 42


def test_the_grid_covers_the_frame_with_cells_no_larger_than_a_patch() -> None:
    for size in ((128, 128), (129, 400), (1000, 1500), (356, 536)):
        for length, borders in zip(size, cell_borders(size, 128), strict=True):
            steps = np.diff(borders)
            assert borders[0] == 0
            assert borders[-1] == length
            assert steps.max() <= 128
            assert np.ptp(steps) <= 1


def test_the_picture_shows_motion_red_and_dims_what_is_not_trusted(
    dynamic: SimulatedBracket,
) -> None:
    stack = stack_of(dynamic)
    label = make_label(stack, DEFAULT)
    shown = cues_picture(label, stack.radiance(1)).astype(int)
    moved = ~label.static & (label.weight > 0)
    still = label.static & (label.weight > 0) & ~label.clipped & ~label.dark
    assert (shown[moved][:, 0] > shown[moved][:, 2]).mean() > 0.95
    assert (shown[still][:, 0] == shown[still][:, 2]).all()
    assert shown[label.weight == 0].mean() < 0.6 * shown[label.weight > 0].mean()


def test_trust_is_calibrated() -> None:
    """Where labels are trusted most they are hardly ever wrong; where less, more often."""
    wrong, weight = [], []
    for seed in range(80, 86):
        scene = make_scene(seed, shake=1.0, pieces=3)
        label = make_label(stack_of(scene), DEFAULT)
        wrong.append(np.abs(mu(label.radiance) - mu(scene.truth)).max(-1) > 0.05)
        weight.append(label.weight)
    wrong, weight = np.array(wrong), np.array(weight)
    shares = [wrong[(weight > a) & (weight <= b)].mean() for a, b in ((0, 127), (127, 204))]
    assert (weight >= 205).mean() > 0.9
    assert wrong[weight >= 205].mean() < 1 / 2000
    assert wrong[weight >= 205].mean() < shares[1] < shares[0]


def test_a_clipped_reference_is_believed_by_what_stands_around() -> None:
    stack = Stack(tuple(np.full((96, 96, 3), 65535, np.uint16) for _ in EV), EV, 1)
    every = np.ones(stack.size, bool)
    clipped = np.zeros(stack.size, bool)
    clipped[32:64, 32:64] = True
    radiance = np.full((96, 96, 3), 0.5, np.float32)
    beside = every.copy()
    beside[8:88, 8:88] = clipped[8:88, 8:88]  # what is around it moved
    still = trust_clipped(cues_of(stack, clipped=clipped), radiance, DEFAULT.fusion)
    moved = trust_clipped(
        cues_of(stack, clipped=clipped, static_frames=(beside, every, every)),
        radiance,
        DEFAULT.fusion,
    )
    assert (still == 1).all()
    assert (moved[~clipped] == 1).all()
    assert moved[clipped].max() < 0.5
    # What only longer frames show does not matter where the label is of the shorter ones.
    longer = cues_of(stack, clipped=clipped, static_frames=(every, every, beside))
    assert (trust_clipped(longer, radiance, DEFAULT.fusion) == 1).all()


def test_edges_before_a_clipped_reference_are_trusted_less() -> None:
    stack = Stack(tuple(np.full((64, 64, 3), 65535, np.uint16) for _ in EV), EV, 1)
    radiance = np.full((64, 64, 3), 0.9, np.float32)
    radiance[:, 30:34] = 0.26
    trust = trust_clipped(
        cues_of(stack, clipped=np.ones(stack.size, bool)), radiance, DEFAULT.fusion
    )
    assert trust[:, 30].max() < 0.9
    assert (trust[:, :28] == 1).all()


def test_noise_goes_and_edges_stay(tripod: SimulatedBracket) -> None:
    rng = np.random.default_rng(5)
    clean = np.full((128, 128, 3), 0.02, np.float32)
    clean[:, 64:] = 0.05
    light = 4 * clean  # as the reference sees it
    noise = rng.standard_normal(clean.shape) * np.sqrt(light / 3000 + (3 / 3000) ** 2)
    stack = Stack(tuple(encode(clean * np.float32(2**ev), 16) for ev in EV), EV, 1)
    noisy = ((light + noise) / 4).astype(np.float32)
    smooth = denoise(noisy, stack, NOISY)
    flat = np.s_[8:120, 8:56]
    assert (smooth - clean)[flat].std() < 0.45 * (noisy - clean)[flat].std()
    step = smooth[:, 66:70].mean() - smooth[:, 58:62].mean()
    assert abs(step - 0.03) < 0.0015
    assert abs(smooth[flat].mean() / 0.02 - 1) < 0.01


def test_frames_that_are_a_fraction_of_a_pixel_off_leave_edges_to_the_reference() -> None:
    sharp = np.full((64, 96, 3), 0.02, np.float32)
    sharp[:, 48:] = 0.1
    off = np.roll(sharp, 1, 1) * 0.3 + sharp * 0.7
    stack = Stack(tuple(encode(sharp * np.float32(2**ev), 16) for ev in EV), EV, 1)
    seen = np.ones(stack.size, bool)
    frames = tuple(
        Aligned(encode((sharp if i == 1 else off) * np.float32(2**ev), 16), seen, 0.3)
        for i, ev in enumerate(EV)
    )
    cues = cues_of(stack, aligned=frames)
    careless = replace(DEFAULT, fusion=replace(DEFAULT.fusion, misplaced=0.0))
    errors = [
        np.abs(mu(fuse_variance(cues, stack, r).radiance) - mu(sharp))[:, 46:50].max()
        for r in (DEFAULT, careless)
    ]
    assert errors[0] < 0.4 * errors[1]


@EACH
def test_a_label_does_not_show_its_tiles(
    dynamic: SimulatedBracket, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = make_label(stack_of(dynamic), recipe)
    monkeypatch.setattr("labelgen.core.tiles.MAX_TILE_PIXELS", 144 * 144)
    borders = cell_borders(dynamic.truth.shape[:2], recipe.patches.size)
    assert len(list(tiles(borders))) > 4
    pieces = make_label(stack_of(dynamic), recipe)
    for name in ("stored", "weight", "kind", "static_frames", "clipped", "dark"):
        assert np.array_equal(getattr(whole, name), getattr(pieces, name)), name


@pytest.mark.parametrize("size", [(100, 90), (1000, 1500), (5774, 8660)])
def test_tiles_cover_a_frame_once_with_whole_cells(size: tuple[int, int]) -> None:
    ys, xs = borders = cell_borders(size, 128)
    covered, areas = np.zeros(size, np.uint8), []
    for y, x in tiles(borders):
        covered[y, x] += 1
        areas.append((y.stop - y.start) * (x.stop - x.start))
        assert {y.start, y.stop} <= set(ys)
        assert {x.start, x.stop} <= set(xs)
    assert (covered == 1).all()
    # Whole cells, so that some are larger than others.
    assert max(areas) <= 1.2 * MAX_TILE_PIXELS
    assert min(areas) >= min(covered.size, 0.5 * MAX_TILE_PIXELS)


def test_figures_tell_how_large_is_what_moves() -> None:
    """A square in another place in the long frame: it covers twice its area, or two of its size."""
    side, size = 60, (240, 320)
    flat = np.random.default_rng(5).uniform(0.08, 0.12, (*size, 3)).astype(np.float32)
    codes = []
    for i, ev in enumerate(EV):
        scene = flat.copy()
        x = 40 if i < 2 else 200
        scene[80 : 80 + side, x : x + side] = (0.03, 0.02, 0.2)
        codes.append(encode(np.clip(scene * 2.0**ev / 4, 0, 1), 16))
    label = make_label(Stack(tuple(codes), EV, 1), DEFAULT)
    median, largest = label.figures()["moving_px"]
    assert side - 4 <= median <= largest <= side + 24
    still = make_label(Stack((codes[0], codes[1], codes[1]), (0.0, 2.0, 2.0), 1), DEFAULT)
    assert still.figures()["moving_px"] == []
