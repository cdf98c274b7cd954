from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from labelgen.core.bracket import Stack
from labelgen.core.response import encode
from tests.trainer.models.test_optical_flow import tensor, texture
from trainer import models
from trainer.evaluation.tiling import camera_overview, crop_overview, predict_full
from trainer.models.camera_motion import (
    WINDOW_END,
    box_mean,
    camera_flow,
    combine_flows,
    downsample,
    moments,
    sharpen_flow,
    solve,
)

HEIGHT, WIDTH = 160, 240
HANDHELD = np.array([[1.005, -0.008, 3.4], [0.01, 0.997, -2.3]], np.float32)
"""Affine motion of a handheld camera, from the reference to the other frame."""


def flow_of(matrix: NDArray[np.float32], height: int, width: int) -> torch.Tensor:
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    there = np.stack([xs, ys, np.ones_like(xs)], -1) @ matrix.T
    return tensor(there - np.dstack([xs, ys]))


def compared_frame(light: NDArray[np.float32]) -> torch.Tensor:
    """Codes of a frame, and whether they clip, as `camera_flow` takes them."""
    return tensor(np.dstack([np.minimum(light, 1), (light.max(-1) >= 1).astype(np.float32)]))


def warp_light(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Warp the light of the other frame to the geometry of the reference."""
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(light, HANDHELD, (WIDTH, HEIGHT), flags=flags)


def pair() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, NDArray[np.bool_]]:
    """A reference, another frame, the flow between them, and the area that both show."""
    other = 0.9 * texture(HEIGHT, WIDTH, blur=2.5)
    inner = np.zeros((HEIGHT, WIDTH), bool)
    inner[16:-16, 16:-16] = True
    return (
        compared_frame(warp_light(other)),
        compared_frame(other),
        flow_of(HANDHELD, HEIGHT, WIDTH),
        inner,
    )


def flow_error(found: torch.Tensor, want: torch.Tensor) -> NDArray[np.float32]:
    """Distance between two flows in pixels, (H, W)."""
    return (found - want).square().sum(1).sqrt()[0].numpy()


def add_error(flow: torch.Tensor, error: float = 0.7) -> torch.Tensor:
    """A flow with the errors of a learned one: a good part of a pixel."""
    noise = torch.randn(flow.shape, generator=torch.Generator().manual_seed(0))
    return flow + 4 * error * torch.nn.functional.avg_pool2d(noise, 5, 1, 2)


def test_a_rough_flow_becomes_exact() -> None:
    reference, other, flow, inner = pair()
    start = add_error(flow)
    smooth = camera_flow(reference, other, start)
    fine = sharpen_flow(reference, other, smooth)
    assert np.median(flow_error(start, flow)[inner]) > 0.4
    for found in (smooth, fine):
        assert np.median(flow_error(found, flow)[inner]) < 0.07
        assert np.quantile(flow_error(found, flow)[inner], 0.95) < 0.15


def test_a_start_that_is_far_off_is_mended() -> None:
    reference, other, flow, inner = pair()
    start = add_error(flow) + torch.tensor([6.0, -4.5]).view(1, 2, 1, 1)
    found = camera_flow(reference, other, start)
    assert np.median(flow_error(found, flow)[inner]) < 0.1
    assert np.quantile(flow_error(found, flow)[inner], 0.95) < 0.15


def test_parallax_is_left_to_small_windows() -> None:
    reference, other, flow, inner = pair()
    ys = np.linspace(0, 2 * np.pi, HEIGHT, dtype=np.float32)[:, None]
    waves = np.tile(0.8 * np.sin(2 * ys), (1, WIDTH))
    near = flow.clone()
    near[:, 0] += torch.from_numpy(waves)
    xs, rows = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    places = [(axis + near[0, k].numpy()).astype(np.float32) for k, axis in enumerate((xs, rows))]
    light = 0.9 * texture(HEIGHT, WIDTH, blur=2.5)
    reference = compared_frame(cv2.remap(light, *places, cv2.INTER_CUBIC))
    smooth = camera_flow(reference, other, near)
    fine = sharpen_flow(reference, other, smooth)
    assert np.median(flow_error(smooth, near)[inner]) > 0.25
    assert np.median(flow_error(fine, near)[inner]) < 0.1


def test_what_moves_by_itself_is_not_followed() -> None:
    reference, other, flow, inner = pair()
    start = add_error(flow, 0.2)
    thing = np.s_[..., 50:100, 90:150]
    start[thing] += torch.tensor([6.0, 4.0]).view(1, 2, 1, 1)
    other = other.clone()
    reference = reference.clone()
    patch = compared_frame(texture(50, 60, seed=7))
    reference[thing], other[..., 54:104, 96:156] = patch, patch
    found = camera_flow(reference, other, start)
    assert flow_error(start, flow)[thing].min() > 4
    assert flow_error(found, flow)[thing].max() < 0.5
    assert np.quantile(flow_error(found, flow)[inner], 0.95) < 0.2


def test_where_the_reference_clips_what_is_around_tells() -> None:
    lamp = cv2.GaussianBlur(
        cv2.rectangle(np.zeros((HEIGHT, WIDTH), np.float32), (75, 45), (175, 125), 1.5, -1),
        (0, 0),
        3,
    )
    light = 0.9 * texture(HEIGHT, WIDTH, blur=2.5) + lamp[..., None]
    reference, other, flow = (
        compared_frame(warp_light(light)),
        compared_frame(light),
        flow_of(HANDHELD, HEIGHT, WIDTH),
    )
    hidden = reference[0, 3].numpy() == 1
    start = add_error(flow, 0.3)
    start[:, :, torch.from_numpy(hidden)] = 0  # nothing there to learn it from
    smooth = camera_flow(reference, other, start)
    assert 0.1 < hidden.mean() < 0.4
    assert flow_error(start, flow)[hidden].min() > 2
    assert flow_error(smooth, flow)[hidden].max() < 0.3
    assert np.quantile(flow_error(sharpen_flow(reference, other, smooth), flow)[hidden], 0.99) < 0.3


def test_what_moves_gets_its_own_flow_and_the_rest_the_cameras() -> None:
    light = 0.9 * texture(HEIGHT, WIDTH, blur=2.5)
    lit, behind = light.copy(), light.copy()
    lit[50:100, 90:150] = 1.2  # a lamp, clipped in both frames, that goes 6 px to the right, 4 down
    behind[54:104, 96:156] = 1.2
    reference, other = compared_frame(lit), compared_frame(behind)
    camera = torch.zeros(1, 2, HEIGHT, WIDTH)
    own = torch.zeros_like(camera)
    own[..., 48:102, 88:152] = torch.tensor([6.0, 4.0]).view(1, 2, 1, 1)
    own.requires_grad_()
    found = combine_flows(reference, other, camera, own)
    inside, away = np.s_[..., 58:92, 98:142], np.s_[..., :24]
    assert flow_error(found.detach(), own.detach())[inside].max() < 0.5
    assert flow_error(found.detach(), camera)[away].max() < 0.5
    (gradient,) = torch.autograd.grad(found.sum(), own)
    assert gradient[inside].min() > 0.9
    assert gradient[away].max() < 0.1


def test_nothing_to_see_leaves_a_flow_that_is_finite() -> None:
    flat = torch.ones(1, 4, 32, 48)
    for start in (torch.zeros(1, 2, 32, 48), torch.full((1, 2, 32, 48), 3.0)):
        smooth = camera_flow(flat, flat, start)
        torch.testing.assert_close(smooth, start, atol=1e-2, rtol=0)
        torch.testing.assert_close(sharpen_flow(flat, flat, smooth), smooth, atol=1e-3, rtol=0)


def test_means_are_those_of_torch() -> None:
    values = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    mean = torch.nn.functional.avg_pool2d
    for times in (1, 2, 4):
        torch.testing.assert_close(downsample(values, times), mean(values, times))
    for radius in range(1, 6):
        want = values
        for _ in range(2):
            padded = torch.nn.functional.pad(want, (radius,) * 4, "replicate")
            want = mean(padded, 2 * radius + 1, 1)
        torch.testing.assert_close(box_mean(values, radius), want)


def test_moments_are_sums_of_what_is_around() -> None:
    values = torch.zeros(1, 1, 15, 21)
    values[..., 7, 10] = 1.0
    found = moments(values, 2.0, 2)
    y, x = torch.meshgrid(torch.arange(15.0), torch.arange(21.0), indexing="ij")
    away = (10 - x) / 2, (7 - y) / 2
    window = torch.exp(-(away[0] ** 2 + away[1] ** 2) / 2) / (2 * torch.pi * 4)
    window *= (away[0].abs() <= WINDOW_END) & (away[1].abs() <= WINDOW_END)
    assert set(found) == {(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2)}
    for (across, down), got in found.items():
        want = window * away[0] ** across * away[1] ** down
        torch.testing.assert_close(got[0, 0], want, atol=1e-6, rtol=1e-4)


def test_small_systems_are_solved() -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(size=(7, 6, 6))
    matrix, right = root @ root.transpose(0, 2, 1) + np.eye(6), rng.normal(size=(7, 6))
    entries = {(i, j): torch.from_numpy(matrix[:, i, j]) for i in range(6) for j in range(6)}
    got = torch.stack(solve(entries, list(torch.from_numpy(right).T)), -1).numpy()
    np.testing.assert_allclose(got, np.linalg.solve(matrix, right[..., None])[..., 0], rtol=1e-8)


def test_an_overview_is_of_the_whole_frame_and_told_in_its_pixels() -> None:
    torch.manual_seed(0)
    model = models.build("lean", 2, 1).eval()
    light, size = 0.9 * texture(1100, 1300, blur=5), (1000, 1200)  # large enough to be reduced
    parts = np.s_[42:1042, 62:1262], np.s_[50:1050, 50:1250]
    codes = tuple(encode(light[part], 8) for part in parts)
    view = camera_overview(model, codes, torch.zeros(1, 2))
    assert view.shape[-2] * view.shape[-1] < 300_000
    piece = crop_overview(view, size, np.s_[304:704, 400:800])[0, 0]
    np.testing.assert_allclose(piece.mean((1, 2)).numpy(), [-12, 8], atol=0.3)
    made = predict_full(model, Stack(codes, (0.0, 0.0), 1))
    assert made.shape == (*size, 3)
