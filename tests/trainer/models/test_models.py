from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from tests.trainer.conftest import expose, scene
from trainer import models
from trainer.data.dataset import network_input
from trainer.models.mu_law import mu_law


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
        got = mu_law(models.build("lean", frames, reference).eval()(inputs))
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
        got = mu_law(models.build("lean", 3, 1).eval()(inputs))
    clipped = inputs[:, 1, :3] >= 1
    bound = mu_law(inputs[:, 1, 3:])
    assert clipped.float().mean() > 0.3
    assert (got >= bound - 1e-4)[clipped].all()
    assert (got - truth)[clipped].abs().mean() < 0.9 * (bound - truth)[clipped].abs().mean()


def test_untrained_lean_takes_what_is_clean_from_the_long_frame() -> None:
    torch.manual_seed(0)
    rng, ev = np.random.default_rng(0), [0.0, 2.0, 4.0]
    radiance = (0.2 + 0.8 * scene(rng, 64, 96)) ** 3 / 16  # no frame clips
    codes = []
    for stops in ev:
        light = radiance * 2.0**stops
        electrons = rng.normal(light * 4000, np.sqrt(light * 4000 + 9)) / 4000
        codes.append(np.clip(electrons, 0, 1) ** (1 / 2.2) * 65535)
    frames = torch.from_numpy(np.stack(codes).round().astype(np.uint16))[None]
    inputs = network_input(frames, torch.tensor([ev]))
    truth = torch.from_numpy(radiance.astype(np.float32)).movedim(-1, 0)[None]
    with torch.no_grad():
        got = models.build("lean", 3, 1).eval()(inputs)
    error, noise = (
        (mu_law(x) - mu_law(truth))[..., 8:-8, 8:-8].std() for x in (got, inputs[:, 1, 3:])
    )
    assert error < 0.7 * noise


def small_network(name: str, frames: int = 3, reference: int = 1) -> torch.nn.Module:
    """Return a network; slow ones are narrower than the default."""
    if name == "ahdrnet":
        return models.AHDRNet(frames, reference, 16)
    if name == "hdr-transformer":
        return models.HDRTransformer(frames, reference, 64, 8, 1, 2)
    return models.Lean(frames, reference, (16, 16, 16), (8, 8, 8))


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize(("frames", "reference"), [(2, 1), (3, 0), (5, 4)])
def test_a_step_uses_every_weight_and_every_frame(name: str, frames: int, reference: int) -> None:
    torch.manual_seed(0)
    model = small_network(name, frames, reference).eval()
    with torch.no_grad():  # past the zeros that training starts from
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    inputs = bracket([float(i) for i in range(frames)], 32, 32).requires_grad_()
    model(inputs).square().mean().backward()
    assert (inputs.grad.abs().amax((0, 2, 3, 4)) > 0).all()
    unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unused == []


WEIGHTS = {
    "lean": "b91de11ee4b4be07",
    "ahdrnet": "cdee630178654f96",
    "hdr-transformer": "1c982a86c907d4f2",
}
"""Digests of the names and shapes of all weights, for three frames."""


@pytest.mark.parametrize("name", models.MODELS)
def test_weights_keep_their_names_so_that_checkpoints_load(name: str) -> None:
    weights = {k: list(v.shape) for k, v in models.build(name, 3, 1).state_dict().items()}
    assert hashlib.sha256(json.dumps(weights).encode()).hexdigest()[:16] == WEIGHTS[name]


def test_sizes() -> None:
    count = {n: sum(p.numel() for p in models.build(n, 3, 1).parameters()) for n in models.MODELS}
    assert count["lean"] <= 600_000
    assert 1_215_000 < count["hdr-transformer"] < 1_225_000  # 1.22 M in the paper
    # 1.44 M is what a count of the layers in the paper's figures 2 to 4 gives.
    assert 1_400_000 < count["ahdrnet"] < 1_500_000


@pytest.mark.parametrize("name", ["lean", "ahdrnet"])
def test_receptive_field_is_how_far_a_pixel_sees(name: str) -> None:
    torch.manual_seed(0)
    model = small_network(name).eval()
    with torch.no_grad():  # past the zeros that training starts from
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    side = 8 * (2 * model.receptive_field // 8 + 4)
    # What a network is told of the whole frame may depend on all of it.
    told = (torch.zeros(1, 2, 2, 16, side),) if hasattr(model, "overview") else ()
    columns, farthest = torch.arange(side), 0
    for at in range(side // 2, side // 2 + model.stride):
        inputs = bracket([0, 2, 4], 16, side).requires_grad_()
        model(inputs, *told)[..., at].sum().backward()
        seen = columns[(inputs.grad != 0).any(-2).flatten(0, -2).any(0)]
        farthest = max(farthest, int((seen - at).abs().max()))
    assert 0.8 * model.receptive_field <= farthest <= model.receptive_field


@pytest.mark.parametrize(
    ("name", "frames", "reference", "message"),
    [
        ("unet", 3, 1, "expected one of lean, ahdrnet, hdr-transformer, or package.module:Class"),
        ("no.such.module:Net", 3, 1, "cannot be imported .*PYTHONPATH"),
        ("torch.nn:NoSuchNet", 3, 1, "cannot be imported"),
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


@pytest.mark.parametrize("name", models.MODELS)
def test_another_number_of_frames_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=r"inputs of 5 frames.*expected 3"), torch.no_grad():
        small_network(name)(bracket([0.0, 1.0, 2.0, 3.0, 4.0], 16, 16))


class Mean(torch.nn.Module):
    """A network of a user: the mean of the frames times a learned factor."""

    def __init__(self, frames: int, reference: int) -> None:
        super().__init__()
        self.frames = frames
        self.scale = torch.nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scale * inputs[:, :, 3:].mean(1)


def test_a_network_of_ones_own_is_found() -> None:
    model = models.build(f"{__name__}:Mean", 4, 1)
    assert isinstance(model, Mean)
    assert (model.frames, models.stride(model), models.receptive_field(model)) == (4, 1, 64)


def window_attention(
    x: torch.Tensor, layer: models.hdr_transformer.WindowAttention
) -> torch.Tensor:
    """Compute `WindowAttention` pixel by pixel."""
    window, shift, heads = models.hdr_transformer.WINDOW, layer.shift, layer.heads
    query, key, value = layer.query_key_value(x).chunk(3, -1)
    out = torch.empty_like(x)
    height, width = x.shape[1:3]
    home = [[(i + window - shift) // window for i in range(n)] for n in (height, width)]
    for y in range(height):
        for x_ in range(width):
            near = [
                (v, u)
                for v in range(height)
                for u in range(width)
                if home[0][v] == home[0][y] and home[1][u] == home[1][x_]
            ]
            for part, h in zip(torch.arange(x.shape[3]).chunk(heads), range(heads), strict=True):
                score = torch.stack(
                    [
                        (query[0, y, x_, part] * key[0, v, u, part]).sum() / len(part) ** 0.5
                        + layer.bias[
                            h, (y - v + window - 1) * (2 * window - 1) + x_ - u + window - 1
                        ]
                        for v, u in near
                    ]
                ).softmax(0)
                seen = torch.stack([value[0, v, u, part] for v, u in near])
                out[0, y, x_, part] = score @ seen
    return layer.project(out)


@pytest.mark.parametrize("shift", [0, 4])
def test_windows_ask_what_lies_in_them_and_nothing_outside(shift: int) -> None:
    torch.manual_seed(0)
    layer = models.hdr_transformer.WindowAttention(4, 2, shift)
    x = torch.randn(1, 8, 16, 4)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), window_attention(x, layer), rtol=1e-4, atol=1e-5)
