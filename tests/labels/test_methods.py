"""The ways to make a label, and how far each of their steps looks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest

from labelgen.alignment.align import Aligned
from labelgen.alignment.chroma_upsampling import UNCERTAINTY_RADIUS, chroma_uncertainty
from labelgen.core.arrays import Array
from labelgen.core.bracket import Stack
from labelgen.core.recipe import DEFAULT, RECIPES, SSHDR, Recipe
from labelgen.core.response import CURVE_SAMPLES, GAMMA22, Response, SourceFormat, decode
from labelgen.core.settings import Fusion, Motion
from labelgen.labels import cues, fusion, guess, label, methods, motion, trust
from labelgen.labels.difference import GRADIENT_RADIUS, FramePair, gradient_magnitude
from labelgen.labels.fusion import denoise
from labelgen.labels.label import Label, make_label
from labelgen.labels.motion import moving
from labelgen.labels.trust import REFERENCE, UNTRUSTED
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, make_scene, psnr_mu, stack_of

CHOICES = {f.name: f.metadata["allowed"] for f in dataclasses.fields(Fusion)}
COMBINATIONS = list(product(CHOICES["weights"], CHOICES["trust"]))
PIXELS = "stored", "weight", "kind", "static_frames", "clipped", "dark"
JPEG = SourceFormat(bits=8, lossy=True, sampling=(2, 2))


def changed(recipe: Recipe, section: str, **settings: object) -> Recipe:
    return replace(recipe, **{section: replace(getattr(recipe, section), **settings)})  # type: ignore[arg-type]


def test_there_is_a_method_for_every_kind_of_trust() -> None:
    assert set(methods.METHODS) == set(CHOICES["trust"])


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize(("weights", "kind"), COMBINATIONS)
def test_every_method_takes_every_kind_of_weights(
    dynamic: SimulatedBracket, name: str, weights: str, kind: str
) -> None:
    stack = stack_of(dynamic)
    made = make_label(stack, changed(RECIPES[name], "fusion", weights=weights, trust=kind))
    trusted = made.weight >= 128
    assert trusted.mean() > 0.1
    assert psnr_mu(made.radiance[trusted], dynamic.truth[trusted]) > 25
    assert ((made.weight == 0) == (made.kind == UNTRUSTED)).all()
    # A moving cell is the reference itself, and so is whatever nothing is known of.
    own = made.kind == UNTRUSTED
    if kind == "cell":
        own |= made.kind == REFERENCE
    assert np.array_equal(
        made.stored[own], np.clip(stack.radiance(1), 0, 1)[own].astype(np.float16)
    )
    if kind != "pixel":
        assert set(np.unique(made.weight)) <= {0, 255}


def test_guesses_and_doubt_are_of_weights_per_pixel_alone(dynamic: SimulatedBracket) -> None:
    stack = stack_of(dynamic)
    for kind in ("cell", "difference"):
        plain = changed(DEFAULT, "fusion", trust=kind, guess=0, doubt=0.0, around=1.0)
        with_guesses = changed(DEFAULT, "fusion", trust=kind, guess=200, doubt=1.0, around=9.0)
        a, b = make_label(stack, plain), make_label(stack, with_guesses)
        assert all(np.array_equal(getattr(a, n), getattr(b, n)) for n in PIXELS)


LENGTHS = [
    (section, f.name)
    for section, settings in (("motion", Motion), ("fusion", Fusion))
    for f in dataclasses.fields(settings)
    if f.metadata["unit"].startswith("px")
]
"""The settings of labels that are lengths in px: some step looks as far as they say."""
PATCHES = replace(DEFAULT.patches, size=16)


def with_length(recipe: Recipe, section: str, name: str, most: float) -> Recipe:
    """A recipe with one length set to `most`, or as near as its range allows."""
    default = getattr(getattr(DEFAULT, section), name)
    fields = {f.name: f for f in dataclasses.fields(getattr(recipe, section))}
    low, high = fields[name].metadata["allowed"]
    return changed(recipe, section, **{name: type(default)(min(max(most, low), high))})


def enlarged(section: str, name: str) -> Recipe:
    """A recipe with one length that is far larger than in any recipe that ships.

    Cells look no farther than motion does; pixels look around clipped ones, much farther.
    """
    base = DEFAULT if section == "fusion" else replace(SSHDR, motion=DEFAULT.motion)
    return with_length(
        replace(base, patches=PATCHES), section, name, 51 if section == "motion" else 25
    )


def curved() -> Response:
    """An estimated response that is gamma 2.2."""
    return Response("estimated", (tuple(np.linspace(0, 1, CURVE_SAMPLES).tolist()),) * 3)


@pytest.fixture(scope="module")
def photos() -> Stack:
    """A bracket whose colour was stored at half the resolution, with motion and clipping."""
    scene = make_scene(12, (192, 512), shake=1.5, pieces=7)
    return Stack(tuple((c >> 8).astype(np.uint8) for c in scene.codes), EV, 1, JPEG)


def in_tiles(stack: Stack, recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> Label:
    """The label of a bracket in tiles of 64 x 64 px, with borders as narrow as fields allow."""
    with monkeypatch.context() as patch:
        patch.setattr("labelgen.core.tiles.MAX_TILE_PIXELS", 64 * 64)
        patch.setattr(label, "MIN_BORDER", 0)
        patch.setattr(guess, "MIN_BORDER", 0)
        return make_label(stack, recipe)


def differing(one: Label, other: Label) -> dict[str, int]:
    """How many pixels of two labels differ by more than the last bit, by array."""
    counts = {n: int((getattr(one, n) != getattr(other, n)).sum()) for n in PIXELS[2:]}
    bits = [(x.stored.view(np.uint16).astype(int), x.weight.astype(int)) for x in (one, other)]
    for name, a, b in zip(PIXELS[:2], *bits, strict=True):
        counts[name] = int((np.abs(a - b) > 1).sum())
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize(("section", "name"), LENGTHS)
def test_tiles_do_not_show_however_far_a_step_looks(
    photos: Stack, section: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = enlarged(section, name)
    assert differing(make_label(photos, recipe), in_tiles(photos, recipe, monkeypatch)) == {}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_tiles_of_recipes_that_ship_do_not_show(
    photos: Stack, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(recipe, patches=PATCHES)
    assert differing(make_label(photos, recipe), in_tiles(photos, recipe, monkeypatch)) == {}
    plain = label._without_rendering(recipe)
    assert methods.METHODS[recipe.fusion.trust].receptive_field(plain) <= label.MIN_BORDER
    assert guess.receptive_field(plain) <= guess.MIN_BORDER


@pytest.mark.parametrize("size", [(192, 512), (191, 509)])
@pytest.mark.parametrize("full_well", [1500.0, 20000.0])
def test_tiles_of_rendered_frames_do_not_show(
    photos: Stack, size: tuple[int, int], full_well: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Guesses are off: rounding decides whether a pixel on their threshold is one.
    recipe = changed(replace(DEFAULT, patches=PATCHES), "fusion", guess=0)
    source = SourceFormat(curved(), lossy=True, sampling=(2, 2), noise=(full_well, 3.0))
    codes = tuple(np.ascontiguousarray(c[: size[0], : size[1]]) for c in photos.codes)
    stack = replace(photos, codes=codes, source=source)
    whole = make_label(stack, recipe)
    monkeypatch.setattr(label, "_without_rendering", lambda _: pytest.fail("taken for plain"))
    assert differing(whole, in_tiles(stack, recipe, monkeypatch)) == {}


@pytest.mark.parametrize(
    ("section", "name"),
    [("motion", "smooth"), ("motion", "close"), ("motion", "grow"), ("fusion", "around")],
)
def test_tiles_show_if_a_receptive_field_leaves_out_a_step(
    photos: Stack, section: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if somebody had forgotten it: the tests above fail then."""
    recipe = enlarged(section, name)
    whole = make_label(photos, recipe)
    for module, function in ((motion, "receptive_field"), (trust, "around_receptive_field")):
        field = getattr(module, function)
        forgotten = partial(with_length, section=section, name=name, most=0)
        monkeypatch.setattr(module, function, lambda r, f=field, g=forgotten: f(g(r)))
    assert differing(whole, in_tiles(photos, recipe, monkeypatch))


def reach(step: Callable[[Array], Array], side: int = 161, contrast: int = 65535) -> int:
    """How far (px) around a change of its input (side, side, 3) uint16 a step shows it."""
    rng, distance, middle = np.random.default_rng(4), 0, side // 2
    for _ in range(8):
        codes = rng.integers(0, contrast + 1, (side, side, 3)).astype(np.uint16)
        other = codes.copy()
        other[middle, middle] = contrast - codes[middle, middle]
        change = (step(codes) != step(other)).reshape(side, side, -1).any(-1)
        distance = max([distance, *np.abs(np.argwhere(change) - middle).max(1, initial=0)])
    return distance


def test_each_step_looks_as_far_as_it_says_and_no_farther() -> None:
    stack = Stack((np.zeros((161, 161, 3), np.uint16),) * 3, EV, 1)
    recipe = changed(DEFAULT, "fusion", around=12.0)

    def slope(codes: Array) -> Array:
        return gradient_magnitude(decode(codes)[..., 0].copy())

    for response, noise, (side, _) in (
        (GAMMA22, None, fusion.BILATERAL),
        (curved(), None, fusion.RENDERED_BILATERAL),
        (curved(), (fusion.NOISY_WELL / 2, 3.0), fusion.NOISY_BILATERAL),
    ):
        given = replace(stack, source=SourceFormat(response, 16, noise=noise))
        far = reach(lambda c, s=given: denoise(decode(c), s, recipe), contrast=1000)  # type: ignore[misc]
        assert far == side // 2
        assert far <= fusion.variance_receptive_field(recipe) - cues.receptive_field(recipe)
    assert reach(slope) == GRADIENT_RADIUS
    assert reach(lambda c: chroma_uncertainty(decode(c), (2, 2))) == UNCERTAINTY_RADIUS
    # The last bits of a Gaussian do not reach its end.
    field = trust.around_receptive_field(recipe)
    assert 0.8 * field < reach(lambda c: trust._share_nearby(c[..., 0] > 32768, 12.0), 321) <= field


def test_motion_looks_as_far_as_it_says_and_no_farther() -> None:
    """A frame of the same light but for one pixel, and no allowance: all it touches moves."""
    grey = np.full((161, 161, 3), 20000, np.uint16)
    grey[::2] += 40
    valid = np.ones(grey.shape[:2], bool)
    other = grey.copy()
    other[80, 80] = 60000
    frames = [Aligned(codes, valid, 0.0) for codes in (grey, other)]
    for settings in ({"smooth": 2.5}, {"grow": 31}, {"smooth": 1.0, "grow": 9}):
        bare = changed(SSHDR, "noise", full_well=1e6, read=0.0)
        recipe = changed(bare, "motion", threshold=0.0, sigmas=0.0, **settings)
        mask = moving(FramePair(*frames, 0.0, 0.0, SourceFormat(bits=16), recipe))
        distance = np.abs(np.argwhere(mask) - 80).max()
        # The gradient is of the reference alone, one pixel farther than the difference.
        assert distance == motion.receptive_field(recipe) - GRADIENT_RADIUS


def test_a_corner_of_the_narrowest_motion_that_counts_decides_about_the_opposite_one() -> None:
    recipe = changed(SSHDR, "motion", speck=9)
    square = np.zeros((40, 40), np.uint8)
    square[10:19, 10:19] = 1
    assert motion._open_mask(square, recipe.motion.speck)[18, 18]
    square[10, 10] = 0
    assert not motion._open_mask(square, recipe.motion.speck)[18, 18]
    assert motion.receptive_field(recipe) - motion.receptive_field(SSHDR) == 18 - 10
