from __future__ import annotations

import numpy as np
import pytest
import torch

from labelgen.core import response
from trainer.models.mu_law import inverse_mu_law, mu_law
from trainer.training.losses import gradient_l1, loss, weighted_l1


def pixels(seed: int, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 8, 8, generator=torch.Generator().manual_seed(seed))


def test_mu_law_is_that_of_the_labels() -> None:
    radiance = np.geomspace(1e-6, 1, 99).astype(np.float32)
    np.testing.assert_allclose(
        mu_law(torch.from_numpy(radiance)), response.mu_law(radiance), rtol=1e-5
    )


def test_mu_law_and_its_inverse_are_defined_and_have_a_slope_everywhere() -> None:
    compressed = torch.tensor([-0.3, -1e-4, 1e-4, 0.2, 1.0, 1.4], requires_grad=True)
    back = mu_law(inverse_mu_law(compressed))
    torch.testing.assert_close(back, compressed, rtol=1e-4, atol=1e-6)
    back.sum().backward()
    torch.testing.assert_close(compressed.grad, torch.ones(6), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["mu-l1", "l1"])
def test_pixels_without_trust_have_no_influence(name: str) -> None:
    label, weight = pixels(1), pixels(2, 1)
    weight[:, :, :, :4] = 0
    prediction = pixels(3).requires_grad_()
    loss(name, prediction, label, weight).backward()
    assert (prediction.grad[..., :4] == 0).all()
    assert (prediction.grad[..., 4:] != 0).all()
    wrong = label.clone()
    wrong[..., :4] += 5
    with torch.no_grad():
        assert loss(name, prediction, wrong, weight) == loss(name, prediction, label, weight)


def test_full_trust_is_the_mean_absolute_error() -> None:
    prediction, label = pixels(1), pixels(2)
    got = weighted_l1(prediction, label, torch.ones(2, 1, 8, 8))
    torch.testing.assert_close(got, (prediction - label).abs().mean())


def test_half_the_trust_everywhere_changes_nothing() -> None:
    prediction, label, weight = pixels(1), pixels(2), pixels(3, 1)
    full, half = (weighted_l1(prediction, label, w) for w in (weight, weight / 2))
    torch.testing.assert_close(full, half)


def test_a_batch_with_hardly_any_trust_makes_no_larger_step() -> None:
    prediction, label = pixels(1).requires_grad_(), pixels(2)
    weight = torch.zeros(2, 1, 8, 8)
    weight[0, 0, 3, 3] = 1
    weighted_l1(prediction, label, weight).backward()
    assert prediction.grad.abs().max() <= 1 / (3 * 0.1 * weight.numel()) + 1e-9
    assert weighted_l1(prediction.detach(), label, weight * 0) == 0


def test_unknown_loss_names_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"loss 'huber': expected one of mu-l1, l1"):
        loss("huber", pixels(1), pixels(2), pixels(3, 1))


def test_steps_between_pixels_do_not_see_their_level() -> None:
    label, trust = pixels(1), pixels(2, 1)
    assert gradient_l1(label + 0.3, label, trust) < 1e-6
    assert gradient_l1(label, label, trust) == 0
    ramp = torch.linspace(0, 1, 8).expand(2, 3, 8, 8)
    # A ramp of 1/7 a pixel along one of two directions.
    torch.testing.assert_close(
        gradient_l1(label + ramp, label, torch.ones(2, 1, 8, 8)), torch.tensor(1 / 14)
    )


def test_a_step_counts_by_the_less_trusted_of_its_pixels() -> None:
    label, weight = pixels(1), torch.ones(2, 1, 8, 8)
    weight[..., 3:5] = 0
    wrong = label.clone()
    wrong[..., 3:5] += 1
    assert gradient_l1(wrong, label, weight) == 0
