"""The training state of a run, and one step of training: gradients, loss, update."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from trainer import checkpoint, distributed, models
from trainer import device as devices
from trainer.checkpoint import State, Stateful
from trainer.config import Config
from trainer.data.dataset import Batch
from trainer.data.sampling import network_seed
from trainer.models.mu_law import mu_law
from trainer.models.output import Output, radiance_of
from trainer.training import losses
from trainer.training.averaged_weights import AveragedWeights
from trainer.training.mean_teacher import START_SHARE, distillation_loss, teacher_output

CLIP_NORM = 1.0
"""Largest norm of the gradients of all weights: one odd batch cannot undo the others."""
FINAL_LR = 0.01
"""Learning rate at the end of the cosine, as a share of the highest one."""


class Learner:
    """A network in training, with its averaged weights and its optimizer.

    A step is `compute_gradients`, then `update`.

    Parameters
    ----------
    config : Config
        Settings of the run.
    device : torch.device
        Device to train on.

    Attributes
    ----------
    network : Module
        In training mode on the device.
    average : AveragedWeights
        Averaged weights of the network.
    """

    def __init__(self, config: Config, device: torch.device) -> None:
        self.config, self.device = config, device
        torch.manual_seed(config.seed)
        network = models.build(config.model, config.frames, config.reference)
        self.network = network.to(device).train()
        distributed.share_weights(self.network)
        self._forward = torch.compile(self.network) if config.compile else self.network
        self.average = AveragedWeights(self.network, config.ema)
        self._optimizer = torch.optim.AdamW(
            self.network.parameters(),
            config.lr,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
        )

    def state(self, done: int) -> State:
        """Return the state of a checkpoint after `done` steps."""
        return {
            "model": self.network.state_dict(),
            "ema": self.average.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": done,
        }

    def restore(self, run: Path, state: State) -> int:
        """Load the checkpoint `state` of a run, and return the number of steps that it had made."""
        parts: dict[str, Stateful] = {
            "model": self.network,
            "ema": self.average.model,
            "optimizer": self._optimizer,
        }
        return checkpoint.restore(run, state, **parts)

    def compute_gradients(self, samples: Batch, step: int) -> Tensor:
        """Compute the gradients of a step (from 0), and return its loss, () float32."""
        config = self.config
        torch.manual_seed(network_seed(config.seed, step, distributed.rank()))
        with devices.autocast(self.device):
            output = self._forward(samples.inputs)
        value = objective(config, output, samples)
        if config.teacher and step >= START_SHARE * config.steps:
            with devices.autocast(self.device):
                target, trust = teacher_output(self.average.model, samples.inputs)
            distillation = distillation_loss(output, samples.weight, target, trust)
            value = value + config.teacher * distillation
        self._optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()

    def update(self, step: int) -> float:
        """Update the weights by the gradients of a step (from 0), and return the learning rate."""
        rate = learning_rate(self.config, step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        distributed.average_gradients(self.network)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP_NORM)
        self._optimizer.step()
        self.average.update(self.network, step)
        return rate


def objective(config: Config, output: Tensor | Output, samples: Batch) -> Tensor:
    """Return the weighted sum of the loss terms of a step, () float32."""
    prediction, trust = radiance_of(output), samples.weight
    value = losses.loss(config.loss, prediction, samples.label, trust)
    label = mu_law(samples.label)
    if config.gradient:
        gradient = losses.gradient_l1(mu_law(prediction), label, trust)
        value = value + config.gradient * gradient
    if config.align and isinstance(output, Output):
        alignment = losses.alignment_l1(output.aligned.float(), output.visible, label, trust)
        value = value + config.align * alignment
    return value


def learning_rate(config: Config, step: int) -> float:
    """Return the learning rate of a step (from 0): a cosine with a linear warm-up."""
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr * warm * (FINAL_LR + (1 - FINAL_LR) * cosine)
