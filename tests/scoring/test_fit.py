"""What `score --fit` undoes, and what it leaves."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labelgen.scoring.fit import fit_curves, fit_gain, fit_matrix, fit_to_truth
from tests.conftest import make_scene, psnr_mu

MATRIX = np.array([[0.75, 0.2, -0.05], [0.15, 0.7, 0.25], [0.05, -0.1, 0.9]])


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return np.clip(make_scene(1, shake=0.0, pieces=0).truth, 0, 0.24).astype(np.float32)


EVERYWHERE = np.ones((288, 400), bool)


def ghosts(radiance: np.ndarray) -> np.ndarray:
    """A fifth of the picture shows something else, much brighter or darker."""
    other = radiance.copy()
    other[:60, :] = radiance[::-1][:60] * 8
    other[100:120] = 0
    return other


def test_a_matrix_is_undone(truth: np.ndarray) -> None:
    label = (truth @ MATRIX).astype(np.float32)
    assert psnr_mu(label, truth) < 30
    assert np.abs(MATRIX @ fit_matrix(label, truth, EVERYWHERE) - np.eye(3)).max() < 1e-3
    assert psnr_mu(fit_to_truth(label, truth, EVERYWHERE, False), truth) > 65


def test_ghosts_have_no_say_in_the_matrix(truth: np.ndarray) -> None:
    label = ghosts((truth @ MATRIX).astype(np.float32))
    assert np.abs(MATRIX @ fit_matrix(label, truth, EVERYWHERE) - np.eye(3)).max() < 5e-3


def test_a_fit_explains_no_ghost(truth: np.ndarray) -> None:
    """What is planted is as wrong after the fit as before, with a gain field too."""
    label = truth.copy()
    label[100:120, 100:120] *= 2
    for smooth_gain in (False, True):
        fitted = fit_to_truth(label, truth, EVERYWHERE, smooth_gain)
        ratio = fitted[100:120, 100:120] / np.maximum(truth[100:120, 100:120], 1e-4)
        assert np.median(ratio) == pytest.approx(2, rel=0.1)


def test_a_smooth_gain_is_undone_and_a_sharp_one_is_not(truth: np.ndarray) -> None:
    ramp = np.exp2(np.linspace(-0.4, 0.4, 400, dtype=np.float32))[None, :, None]
    plain, smooth = (fit_to_truth(truth * ramp, truth, EVERYWHERE, gain) for gain in (False, True))
    assert psnr_mu(smooth, truth) > psnr_mu(plain, truth) + 6
    stripes = np.where(np.arange(400) // 10 % 2, 1.3, 1 / 1.3).astype(np.float32)[None, :, None]
    gain = fit_gain(truth * stripes, truth, EVERYWHERE)
    assert np.abs(np.log2(gain)).max() < 0.15


def test_pixels_out_of_use_have_no_say(truth: np.ndarray) -> None:
    use = np.zeros(truth.shape[:2], bool)
    use[:, :200] = True
    label = np.where(use[..., None], truth @ MATRIX, 0.1).astype(np.float32)
    assert np.abs(MATRIX @ fit_matrix(label, truth, use) - np.eye(3)).max() < 1e-3
    gain = fit_gain(np.where(use[..., None], truth, 1e-5).astype(np.float32), truth, use)
    assert gain[:, :200] == pytest.approx(1, abs=0.01)


def test_too_little_to_fit_changes_nothing(truth: np.ndarray) -> None:
    none = np.zeros(truth.shape[:2], bool)
    assert (fit_matrix(truth * 2, truth, none) == np.eye(3)).all()
    assert (fit_gain(truth * 2, truth, none) == 1).all()
    flat = np.full_like(truth, 0.1)  # one colour: no matrix can be told from another
    assert np.isfinite(fit_to_truth(flat, truth, EVERYWHERE, True)).all()
    assert np.isfinite(fit_to_truth(np.zeros_like(truth), truth, EVERYWHERE, True)).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_curves_are_found(truth: np.ndarray, bits: int) -> None:
    code = (truth * 4) ** (1 / 2.2)
    code = code - 0.08 * np.sin(2 * np.pi * code)
    top = 2**bits - 1
    codes = np.rint(top * np.clip(code, 0, 1)).astype(np.uint8 if bits == 8 else np.uint16)
    light = fit_curves(codes, truth, truth.max(-1) < 0.2, 0.25)
    assert psnr_mu(light, truth) > 40
    assert light.max() <= 0.25
    ends = fit_curves(np.full_like(codes, top), truth, EVERYWHERE, 0.25)
    assert ends == pytest.approx(0.25)
    blurred = cv2.GaussianBlur(codes, (0, 0), 3.0)  # levels that were never seen rise too
    curve = fit_curves(np.sort(blurred, 0), truth, EVERYWHERE, 0.25)
    assert (np.diff(curve, axis=0) >= 0).all()
