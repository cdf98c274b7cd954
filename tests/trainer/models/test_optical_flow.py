from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from tests.trainer.conftest import expose
from trainer.data.dataset import network_input
from trainer.models import Lean
from trainer.models.lean import relative_exposures
from trainer.models.mu_law import mu_law
from trainer.models.optical_flow import Align, Match, correlation, is_inside, upsample_flow, warp
from trainer.models.output import Output
from trainer.training.losses import alignment_l1


def texture(height: int, width: int, seed: int = 0, blur: float = 2.0) -> np.ndarray:
    """Radiance with detail in all directions, (H, W, 3) float32, 0 to 1."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return np.clip(0.5 + smooth / (4 * smooth.std()), 0.001, 1)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.copy()).movedim(-1, 0)[None]


def test_a_warp_shows_what_a_flow_points_at() -> None:
    image = tensor(texture(12, 20))
    flow = torch.zeros(1, 2, 12, 20)
    flow[:, 0], flow[:, 1] = 3, -2
    got = warp(image, flow)
    torch.testing.assert_close(got[:, :, 2:, :-3], image[:, :, :-2, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(got[:, :, :2, :-3], image[:, :, :1, 3:].expand(-1, -1, 2, -1))
    there = is_inside(flow)
    assert (there[:, :, 2:, :-3] == 1).all()
    assert there.sum() == 10 * 17


def test_a_flow_that_is_not_a_number_points_nowhere_else() -> None:
    image = tensor(texture(64, 64)).requires_grad_()
    flow = torch.full((1, 2, 64, 64), float("nan"), requires_grad=True)
    got = warp(image, flow)
    got.sum().backward()  # would end the process
    torch.testing.assert_close(got, image, atol=1e-5, rtol=0)


def test_a_flow_at_twice_the_resolution_is_twice_as_long() -> None:
    image = tensor(texture(16, 16))
    small = torch.zeros(1, 2, 8, 8)
    small[:, 0] = 1.5
    assert upsample_flow(small).shape == (1, 2, 16, 16)
    torch.testing.assert_close(
        warp(image, upsample_flow(small))[..., :-3], image[..., 3:], atol=1e-5, rtol=0
    )


def test_correlation_peaks_at_the_offset() -> None:
    image = torch.randn(1, 24, 20, 20, generator=torch.Generator().manual_seed(0))
    found = correlation(image, image.roll((1, -2), (2, 3)), 2)  # one down, two to the left
    best = found[:, :, 4:-4, 4:-4].argmax(1)
    assert (best == (1 + 2) * 5 + (-2 + 2)).all()
    torch.testing.assert_close(found.amax(1)[:, 4:-4, 4:-4], torch.ones(1, 12, 12))


def test_an_untrained_level_already_matches() -> None:
    torch.manual_seed(0)
    match = Match(24, 8, 2, ())
    match.sharpness.data.fill_(100.0)
    image = torch.randn(1, 24, 20, 20)
    with torch.no_grad():
        flow = match(image, image.roll((1, -2), (2, 3)))[:, :, 4:-4, 4:-4]
    torch.testing.assert_close(flow[:, 0], torch.full((1, 12, 12), -2.0), atol=0.02, rtol=0)
    torch.testing.assert_close(flow[:, 1], torch.full((1, 12, 12), 1.0), atol=0.02, rtol=0)


def test_no_flow_is_longer_than_the_radii() -> None:
    torch.manual_seed(0)
    align = Align(4)
    with torch.no_grad():
        for parameter in align.parameters():
            parameter.add_(torch.randn_like(parameter))
        flow = align(torch.rand(1, 4, 64, 64), torch.rand(1, 4, 64, 64))
    assert flow.shape == (1, 2, 64, 64)
    assert 1 < flow.abs().max() <= 4 * 8 + 2 * 4 + 1 * 2


@pytest.mark.parametrize("evs", [(0.0, 3.0, 6.0), (0.0, 1.0)])
def test_exposures_are_read_from_the_input(evs: tuple[float, ...]) -> None:
    codes = torch.from_numpy(expose(texture(16, 16), evs, 16))[None]
    got = relative_exposures(network_input(codes, torch.tensor([evs])))
    torch.testing.assert_close(got.flatten(), torch.exp2(torch.tensor(evs)))


def test_the_exposure_of_a_black_frame_is_defined() -> None:
    assert (relative_exposures(torch.zeros(1, 3, 6, 8, 8)) == 1).all()


def shifted(evs: tuple[float, ...], steps: tuple[int, ...], seed: int) -> torch.Tensor:
    """Network input of frames with one texture, each shifted to the right by some pixels."""
    whole = texture(64, 128, seed, 3.0) * 0.2
    frames = [
        expose(whole[:, 32 - step : 96 - step], [ev], 16)[0]
        for ev, step in zip(evs, steps, strict=True)
    ]
    codes = torch.from_numpy(np.stack(frames))[None]
    return network_input(codes, torch.tensor([evs]))


def test_lean_learns_to_align_from_radiance_alone() -> None:
    torch.manual_seed(0)
    evs, rng = (0.0, 1.0, 2.0), np.random.default_rng(0)
    model = Lean(3, 1).train()
    optimizer = torch.optim.Adam(model.align.parameters(), 2e-3)

    def apart(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of the aligned frames, and of the frames as they are."""
        steps = tuple(int(s) for s in rng.integers(-6, 7, 3))
        inputs = shifted(evs, (steps[0], 0, steps[2]), seed)
        target, trust = mu_law(inputs[:, 1, 3:]), torch.ones(1, 1, 64, 64)
        output = model(inputs)
        assert isinstance(output, Output)
        frames = mu_law(inputs[:, [0, 2], 3:])
        before = alignment_l1(frames, output.visible, target, trust)
        return alignment_l1(output.aligned, output.visible, target, trust), before

    for step in range(40):
        loss, _ = apart(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        after, before = np.sum([[float(x) for x in apart(100 + i)] for i in range(8)], 0)
    assert after < 0.5 * before


def test_what_frames_do_not_see_has_no_part_in_the_alignment() -> None:
    target, weight = torch.zeros(1, 3, 8, 8), torch.ones(1, 1, 8, 8)
    aligned, seen = torch.zeros(1, 2, 3, 8, 8), torch.ones(1, 2, 1, 8, 8)
    seen[:, 0, :, :4] = 0
    weight[..., :4] = 0
    aligned[:, 0, :, :4] = 1  # not seen
    aligned[:, :, :, :, :4] = 1  # not trusted
    assert alignment_l1(aligned, seen, target, weight) == 0
    aligned[:, 1, :, :4, 4:] = 1
    assert alignment_l1(aligned, seen, target, weight) > 0
