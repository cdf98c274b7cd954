from __future__ import annotations

import numpy as np
import pytest
import torch

from labelgen.errors import UserError
from tests.trainer.conftest import expose, scene
from trainer import models
from trainer.data import network_input
from trainer.losses import mu_law


def bracket(evs: list[float], height: int = 64, width: int = 96, seed: int = 0) -> torch.Tensor:
    """Network input of a still scene, (1, F, 6, H, W)."""
    radiance = scene(np.random.default_rng(seed), height, width) ** 3
    codes = torch.from_numpy(expose(radiance, evs, 16))[None]
    return network_input(codes, torch.tensor([evs], dtype=torch.float32))


CASES = [(2, 0), (2, 1), (3, 1), (3, 2), (4, 2), (5, 0), (9, 4)]


@pytest.mark.parametrize(("frames", "reference"), CASES)
def test_untrained_lean_returns_about_the_reference(frames: int, reference: int) -> None:
    torch.manual_seed(0)
    inputs = bracket([1.0 * i for i in range(frames)])
    # Frames that show something else must not come through.
    for i in set(range(frames)) - {reference}:
        inputs[:, i] = inputs[:, i].flip(-1)
    with torch.no_grad():
        got = mu_law(models.build("lean", frames, reference)(inputs))
    want = mu_law(inputs[:, reference, 3:])
    assert got.shape == want.shape
    seen = (inputs[:, reference, :3] < 0.9).all(1, keepdim=True).expand_as(got)
    assert seen.any()
    assert (got - want)[seen].abs().mean() < 0.01
    assert (got - want)[~seen].abs().sum() < 0.1 * (~seen).sum()


def test_where_the_reference_clips_lean_starts_to_take_from_the_short_frame() -> None:
    torch.manual_seed(0)
    inputs = bracket([0.0, 3.0, 6.0])
    truth = mu_law(inputs[:, 0, 3:])
    with torch.no_grad():
        got = mu_law(models.build("lean", 3, 1)(inputs))
    clipped = inputs[:, 1, :3] >= 1
    bound = mu_law(inputs[:, 1, 3:])
    assert clipped.float().mean() > 0.3
    assert (got >= bound - 1e-4)[clipped].all()
    assert (got - truth)[clipped].abs().mean() < 0.9 * (bound - truth)[clipped].abs().mean()


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize(("frames", "reference"), [(2, 1), (3, 0), (5, 4)])
def test_a_step_uses_every_weight_and_every_frame(name: str, frames: int, reference: int) -> None:
    torch.manual_seed(0)
    model = models.build(name, frames, reference)
    with torch.no_grad():  # past the zeros that training starts from
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    inputs = bracket([float(i) for i in range(frames)], 32, 32).requires_grad_()
    model(inputs).square().mean().backward()
    assert (inputs.grad.abs().amax((0, 2, 3, 4)) > 0).all()
    unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


def test_sizes() -> None:
    count = {n: sum(p.numel() for p in models.build(n, 3, 1).parameters()) for n in models.MODELS}
    assert count["lean"] <= 600_000
    # 1.44 M is what a count of the layers in the paper's figures 2 to 4 gives.
    assert 1_400_000 < count["ahdrnet"] < 1_500_000


@pytest.mark.parametrize("name", models.MODELS)
def test_reach_is_how_far_a_pixel_sees(name: str) -> None:
    torch.manual_seed(0)
    model = models.AHDRNet(3, 1, 16) if name == "ahdrnet" else models.build(name, 3, 1)
    with torch.no_grad():  # past the zeros that training starts from
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    side = 8 * (2 * model.reach // 8 + 4)
    columns, farthest = torch.arange(side), 0
    for at in range(side // 2, side // 2 + model.stride):
        inputs = bracket([0, 2, 4], 16, side).requires_grad_()
        model(inputs)[..., at].sum().backward()
        seen = columns[(inputs.grad != 0).any(-2).flatten(0, -2).any(0)]
        farthest = max(farthest, int((seen - at).abs().max()))
    assert 0.8 * model.reach <= farthest <= model.reach


@pytest.mark.parametrize(
    ("name", "frames", "reference", "message"),
    [
        ("unet", 3, 1, "expected one of lean, ahdrnet"),
        ("lean", 1, 0, "expected 2 to 9"),
        ("lean", 10, 5, "expected 2 to 9"),
        ("ahdrnet", 3, 3, "reference 3 of 3"),
    ],
)
def test_what_cannot_be_built_is_one_line(
    name: str, frames: int, reference: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        models.build(name, frames, reference)
