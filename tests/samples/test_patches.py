from __future__ import annotations

from dataclasses import replace

import numpy as np

from labelgen.core.recipe import DEFAULT, SSHDR, Recipe
from labelgen.dataset.columns import BRANCHES
from labelgen.labels.label import Label, make_label
from labelgen.samples.patches import (
    choose_patches,
    grid_patches,
    half_cell_patches,
    max_samples,
    sample_count,
)
from labelgen.simulate import SimulatedBracket
from tests.conftest import stack_of

SMALL = replace(DEFAULT, patches=replace(DEFAULT.patches, size=64))


def label_of(scene: SimulatedBracket, recipe: Recipe = SMALL) -> Label:
    return make_label(stack_of(scene), recipe)


def test_patches_between_lie_half_a_cell_off_and_inside() -> None:
    on_grid = grid_patches((300, 400), 64)
    off = half_cell_patches(on_grid)
    assert [p.index for p in [*on_grid, *off]] == list(range(len(on_grid) + len(off)))
    assert len(off) == (5 - 1) * (7 - 1)
    assert all(0 <= p.y <= 300 - 64 and 0 <= p.x <= 400 - 64 for p in off)
    assert not {(p.y, p.x) for p in off} & {(p.y, p.x) for p in on_grid}
    assert half_cell_patches(grid_patches((64, 64), 64)) == []


def test_hard_patches_are_kept_and_ordinary_ones_thinned_out(dynamic: SimulatedBracket) -> None:
    label = label_of(dynamic)
    on_grid = len(grid_patches(label.weight.shape, 64))  # type: ignore[arg-type]
    chosen = choose_patches(label, SMALL)
    assert len({p.index for p in chosen}) == len(chosen)
    assert [p.index for p in chosen] == sorted(p.index for p in chosen)
    assert all(p.hard for p in chosen if p.index >= on_grid)
    assert {p.hard for p in chosen} == {True, False}
    everything = replace(SMALL, patches=replace(SMALL.patches, ordinary=1.0))
    nothing = replace(SMALL, patches=replace(SMALL.patches, ordinary=0.0))
    hard = choose_patches(label, nothing)
    assert hard == [p for p in chosen if p.hard]
    ordinary = len(choose_patches(label, everything)) - len(hard)
    assert len(chosen) - len(hard) == round(SMALL.patches.ordinary * ordinary)
    assert choose_patches(label, SMALL) == chosen


def test_hard_patches_hold_more_motion_and_borders_of_clipping(dynamic: SimulatedBracket) -> None:
    label = label_of(dynamic)
    everything = replace(SMALL, patches=replace(SMALL.patches, ordinary=1.0))
    shares: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for p in choose_patches(label, everything):
        at = np.s_[p.y : p.y + 64, p.x : p.x + 64]
        clips = float(label.clipped[at].mean())
        shares[p.hard].append((float((~label.static[at]).mean()), min(clips, 1 - clips)))
    hard, ordinary = (np.mean(shares[k], 0) for k in (True, False))
    assert (hard > 1.5 * ordinary).all()


def test_patches_that_are_not_trusted_are_left_out(dynamic: SimulatedBracket) -> None:
    label = label_of(dynamic)
    blind = replace(label, weight=np.zeros_like(label.weight))
    assert choose_patches(blind, SMALL) == []
    assert {BRANCHES[p.branch] for p in choose_patches(label, SMALL)} == {"static", "reference"}


def test_the_published_method_takes_one_patch_a_cell(dynamic: SimulatedBracket) -> None:
    chosen = choose_patches(label_of(dynamic, SSHDR), SSHDR)
    assert not any(p.hard for p in chosen)
    assert all(sample_count(p, SSHDR.patches) == SSHDR.patches.variants for p in chosen)


def test_no_frame_gives_more_samples_than_room_is_kept_for(dynamic: SimulatedBracket) -> None:
    label = label_of(dynamic)
    everything = replace(SMALL, patches=replace(SMALL.patches, ordinary=1.0, hard=0.0))
    size = label.weight.shape[:2]
    for recipe in (SMALL, everything):
        made = sum(sample_count(p, recipe.patches) for p in choose_patches(label, recipe))
        assert made <= max_samples((size[0], size[1]), 64, recipe.patches)
