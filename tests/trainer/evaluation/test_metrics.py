from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation.metrics import compute_metrics, psnr, pu21, ssim


def pictures() -> tuple[np.ndarray, np.ndarray]:
    y, x, c = np.mgrid[:40, :56, :3].astype(np.float64)
    truth = (0.5 + 0.5 * np.sin(0.3 * x + 0.2 * y + c)) * (x + 1) / 56
    prediction = np.clip(truth + 0.05 * np.cos(1.7 * x - 0.9 * y + 2 * c), 0, 1)
    return prediction.astype(np.float32), truth.astype(np.float32)


def test_figures_are_those_of_scikit_image() -> None:
    # scikit-image 0.26.0: peak_signal_noise_ratio(data_range=1) and structural_similarity with
    # data_range=1, gaussian_weights, sigma=1.5, use_sample_covariance=False, channel_axis=-1.
    found = compute_metrics(*pictures())
    del found["psnr_pu21"]
    assert found == pytest.approx(
        {
            "psnr_mu": 15.26125796204781,
            "psnr_l": 29.509741218518364,
            "ssim_mu": 0.7146496741079483,
            "ssim_l": 0.8785816851427718,
        },
        rel=1e-6,
    )


def test_ssim_is_the_formula_of_the_paper_window_by_window() -> None:
    x, y = (p[:14, :13, :1].astype(np.float64) for p in pictures())
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    w = np.outer(g, g) / g.sum() ** 2
    values = []
    for i in range(4):
        for k in range(3):
            a, b = x[i : i + 11, k : k + 11, 0], y[i : i + 11, k : k + 11, 0]
            ma, mb = (w * a).sum(), (w * b).sum()
            va, vb = (w * (a - ma) ** 2).sum(), (w * (b - mb) ** 2).sum()
            cov = (w * (a - ma) * (b - mb)).sum()
            one = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4)
            values.append(one / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    assert ssim(x.astype(np.float32), y.astype(np.float32)) == pytest.approx(np.mean(values))


def test_psnr_of_a_known_error() -> None:
    truth = np.full((4, 5, 3), 0.5, np.float32)
    assert psnr(truth + np.float32(0.1), truth) == pytest.approx(20, abs=1e-4)
    assert psnr(truth, truth) == float("inf")


def test_what_no_frame_can_show_does_not_count() -> None:
    truth = np.full((12, 12, 3), 1.0, np.float32)
    got = compute_metrics(truth * 7, truth * 3)
    assert got["psnr_mu"] == got["psnr_l"] == float("inf")
    assert got["ssim_mu"] == pytest.approx(1)


def test_mu_figures_see_the_shadows_and_linear_ones_the_lights() -> None:
    truth = np.full((16, 16, 3), 0.5, np.float32)
    truth[:8] = 0.001
    dark, bright = truth.copy(), truth.copy()
    dark[:8] *= 2
    bright[8:] *= 1.1
    assert compute_metrics(dark, truth)["psnr_mu"] < compute_metrics(bright, truth)["psnr_mu"]
    assert compute_metrics(dark, truth)["psnr_l"] > compute_metrics(bright, truth)["psnr_l"]


def test_pu21_is_the_curve_of_the_paper() -> None:
    """Published values: 0 at 0.005 cd/m2, 256 near 100, 595.39 at 10,000."""
    values = pu21(np.array([0.005, 100.0, 10_000.0]))
    assert values == pytest.approx([5.4705e-10, 256, 595.3939], abs=0.5)
    assert values[2] == pytest.approx(595.3939, abs=1e-3)
    steps = pu21(np.geomspace(0.001, 20_000, 500))
    assert (np.diff(steps) >= 0).all()
    assert steps[0] == pu21(np.array(0.005))


def test_pu21_figures_depend_on_the_display() -> None:
    """A difference in the shadows is visible on a bright display, invisible on a dim one."""
    truth = np.full((16, 16, 3), 0.001, np.float32)
    dim, bright = (
        compute_metrics(truth * 1.2, truth, peak_nits=n)["psnr_pu21"] for n in (10.0, 10_000.0)
    )
    assert dim > bright + 10
    shown = pu21(truth * 10_000), pu21(truth * 12_000)
    assert bright == pytest.approx(20 * np.log10(256 / abs(shown[1] - shown[0]).mean()), abs=1e-3)
