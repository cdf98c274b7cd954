"""Figures of labels: what is planted is counted, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelgen.core.response import mu_law
from labelgen.scoring.figures import (
    WEIGHT_BINS,
    Truth,
    darkest,
    honest_sigma,
    mean_figures,
    psnr,
    reliability,
    score_label,
    wrong_pixels,
)

SIZE = 120, 160
EV = (0.0, 2.0, 4.0)
FULL = np.full(SIZE, 255, np.uint8)
MOVING = np.s_[20:60, 30:80]
CLIPPING = np.s_[40:100, 60:120]
SMALL = np.s_[30:34, 40:50]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture
def truth() -> Truth:
    """Smooth light that the reference sees, but for a lamp; something moves in front of both."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    light = 0.02 + 0.1 * (x / SIZE[1] + y / SIZE[0])
    radiance = np.dstack([light, 0.8 * light, 0.6 * light])
    radiance[CLIPPING] = 0.6
    moving = np.zeros(SIZE, bool)
    moving[MOVING] = True
    return Truth(radiance, moving, EV, 1, full_well=8000.0)


def scored(radiance: np.ndarray, truth: Truth, weight: np.ndarray = FULL) -> dict[str, float]:
    reference = np.minimum(truth.radiance, 0.25)
    figures = score_label(radiance.astype(np.float32), weight, reference, truth)
    assert all(value is None or isinstance(value, float) for value in figures.values())
    return figures  # type: ignore[return-value]


def frame_of(truth: Truth, ev: float, seed: int = 0) -> np.ndarray:
    """What a frame tells: radiance with the noise of its electrons, clipped."""
    electrons = np.minimum(truth.radiance * 2**ev, 1) * truth.full_well
    noise = rng(seed).standard_normal(truth.radiance.shape)
    seen = electrons + noise * np.sqrt(electrons + truth.read**2)
    return np.clip(seen / truth.full_well, 0, 1) / 2**ev


def test_a_perfect_label_scores_perfectly(truth: Truth) -> None:
    figures = scored(truth.radiance, truth)
    assert {v for k, v in figures.items() if k.startswith("psnr")} == {120.0}
    assert {v for k, v in figures.items() if k.startswith("ghost")} == {0.0}
    assert {v for k, v in figures.items() if k.startswith("trusted")} == {1.0}
    assert [b["wrong"] for b in reliability(truth.radiance, FULL, truth)] == [None] * 4 + [0.0]


def test_what_exceeds_1_is_1_in_labels_too(truth: Truth) -> None:
    bright = replace(truth, radiance=np.ones_like(truth.radiance))
    assert scored(np.full_like(truth.radiance, 7.0), bright)["psnr_mu"] == 120


@pytest.mark.parametrize("channel", [0, 2])
@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_ghost_is_counted_exactly(truth: Truth, channel: int, factor: float) -> None:
    """A single channel that is off makes a pixel wrong; weight decides where it counts."""
    label = truth.radiance.copy()
    label[SMALL][..., channel] *= factor
    assert label[SMALL].shape[:2] == (4, 10)
    figures = scored(label, truth)
    assert figures["ghost"] == pytest.approx(40 / FULL.size, abs=1e-6)
    assert figures["ghost_205"] == figures["ghost"]
    assert figures["ghost_moving"] == pytest.approx(40 / truth.moving.sum(), abs=1e-6)
    weight = np.full(SIZE, 200, np.uint8)
    weight[SMALL] = 100
    figures = scored(label, truth, weight)
    assert figures["ghost"] == 0
    assert figures["ghost_205"] is None
    total = 100 * 40 + 200 * (FULL.size - 40)
    assert figures["ghost_weighted"] == pytest.approx(100 * 40 / total, rel=1e-4)


def test_an_error_is_wrong_from_a_twentieth_of_the_mu_law_on(truth: Truth) -> None:
    quiet = replace(truth, full_well=1e9, read=0.0)
    for step, wrong in ((0.045, False), (0.055, True)):
        off = np.expm1((mu_law(truth.radiance) + step) * np.log(5001)) / 5000
        found = wrong_pixels(off.astype(np.float32), quiet)[truth.radiance.max(-1) < 0.5]
        assert found.all() == found.any() == wrong


@pytest.mark.parametrize("full_well", [50.0, 300.0, 20_000.0])
def test_noise_of_honest_frames_is_no_ghost(truth: Truth, full_well: float) -> None:
    noisy = replace(truth, radiance=truth.radiance * 0.1, full_well=full_well)
    for ev in (2.0, 4.0):
        label = frame_of(noisy, ev).astype(np.float32)
        assert wrong_pixels(label, noisy).mean() < 5e-4
    if full_well < 1000:  # the short frame is noisier than a label has to be
        short = frame_of(noisy, 0.0).astype(np.float32)
        assert wrong_pixels(short, noisy).mean() > 0.01


def test_honest_noise_is_that_of_the_reference_or_where_it_clips_of_the_short_frame(
    truth: Truth,
) -> None:
    sigma = honest_sigma(truth)
    for place, ev in ((np.s_[:20, :20], 2.0), (CLIPPING, 0.0)):
        residuals = np.stack(
            [(frame_of(truth, ev, seed) - truth.radiance)[place] for seed in range(200)]
        )
        assert sigma[place] == pytest.approx(residuals.std(0), rel=0.25)


def test_trust_is_shared_between_what_moves_and_what_is_still(truth: Truth) -> None:
    weight = np.full(SIZE, 128, np.uint8)
    weight[MOVING] = 127
    figures = scored(truth.radiance, truth, weight)
    assert figures["trusted_moving"] == 0
    assert figures["trusted_still"] == 1
    assert figures["trusted"] == pytest.approx(1 - truth.moving.mean(), abs=1e-5)
    assert figures["ghost_moving"] is None
    clipped = np.zeros(SIZE, bool)
    clipped[CLIPPING] = True
    assert (truth.clipped == clipped).all()
    assert (truth.still == ~(clipped | truth.moving)).all()


def test_errors_count_where_they_are(truth: Truth) -> None:
    """Each PSNR sees errors of its own pixels alone."""
    label = truth.radiance.copy()
    label[MOVING] *= 1.05
    moved = scored(label, truth)
    assert moved["psnr_mu_still"] == moved["psnr_mu_dark"] == 120
    assert moved["psnr_mu"] < 70
    dark = darkest(truth.radiance, truth.still)
    assert dark.sum() == pytest.approx(truth.still.sum() / 4, rel=0.02)
    brightest_dark = truth.radiance.max(-1)[dark].max()
    assert (truth.radiance.max(-1)[truth.still & ~dark] > brightest_dark).all()
    label = truth.radiance.copy()
    label[truth.still & ~dark] *= 1.05
    bright = scored(label, truth)
    assert bright["psnr_mu_dark"] == 120
    assert bright["psnr_mu_still"] < 70
    off = np.where((truth.still & ~truth.clipped)[..., None], truth.radiance, 0)
    unseen = scored(off, truth, np.where(truth.still, FULL, 0).astype(np.uint8))
    assert unseen["psnr_mu"] == 120


def test_knowable_is_the_reference_where_nothing_is_trusted(truth: Truth) -> None:
    nothing = np.zeros(SIZE, np.uint8)
    reference = np.minimum(truth.radiance, 0.25)
    still_lamp = truth.clipped & ~truth.moving
    squared = np.square(mu_law(reference) - mu_law(truth.radiance))
    knowable = ~(truth.clipped & truth.moving)
    expected = -10 * np.log10(squared[knowable].mean())
    figures = scored(np.zeros_like(truth.radiance), truth, nothing)
    assert figures["psnr_mu_knowable"] == pytest.approx(expected, abs=0.01)
    assert figures["psnr_mu"] is None
    lit = np.where(still_lamp, FULL, 0).astype(np.uint8)  # where the reference clips, it helps
    assert scored(truth.radiance, truth, lit)["psnr_mu_knowable"] == 120


def test_bins_hold_what_they_say(truth: Truth) -> None:
    weight = rng(1).integers(0, 256, SIZE).astype(np.uint8)
    wrong = rng(2).random(SIZE) < np.where(weight < 103, 0.5, 0.1)
    label = np.where(wrong[..., None], truth.radiance * 0.3, truth.radiance).astype(np.float32)
    found = reliability(label, weight, truth)
    assert len(found) == len(WEIGHT_BINS)
    for (low, high), one in zip(WEIGHT_BINS, found, strict=True):
        inside = (weight >= low) & (weight <= high)
        assert one["share"] == pytest.approx(inside.mean(), abs=1e-6)
        assert one["wrong"] == pytest.approx(wrong[inside].mean(), abs=1e-6)
        error = np.abs(mu_law(label) - mu_law(truth.radiance)).max(-1)[inside].mean()
        assert one["error"] == pytest.approx(error, rel=1e-5)
    shares = [one["share"] or 0 for one in found]
    assert sum(shares) == pytest.approx((weight > 0).mean(), abs=1e-5)


def test_weighted_errors_are_those_of_repeated_pixels(truth: Truth) -> None:
    weight = rng(3).integers(0, 4, SIZE).astype(np.uint8)
    label = truth.radiance * rng(4).uniform(0.9, 1.1, truth.radiance.shape)
    squared = np.square(mu_law(label.astype(np.float32)) - mu_law(truth.radiance))
    repeated = np.repeat(squared.reshape(-1, 3), weight.ravel(), axis=0)
    assert scored(label, truth, weight)["psnr_mu_weighted"] == pytest.approx(
        psnr(repeated), abs=1e-3
    )
    assert psnr(squared.reshape(-1, 3), np.zeros(weight.size)) is None


def test_means_leave_out_scenes_without_a_figure() -> None:
    scenes = [{"a": 1.0, "b": None}, {"a": 3.0, "b": None}, {"a": None, "b": None}]
    assert mean_figures(scenes) == {"a": 2.0, "b": None}  # type: ignore[arg-type]
