"""Train a network on a dataset: one loop, read from top to bottom."""

from __future__ import annotations

import math
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelgen.errors import UserError
from labelgen.measure import known_cameras
from trainer import checkpoint, losses, models
from trainer import device as devices
from trainer.checkpoint import Average, Config, State
from trainer.data import Arrays, Batch, PatchDataset, batch_rows, prefetch, prepare, turns
from trainer.evaluate import score, with_truth
from trainer.holdout import score_held, split
from trainer.log import Log
from trainer.models.output import Output, radiance_of
from trainer.stop import Signals, Stopped
from trainer.teacher import FROM, lesson, teach

CLIP_NORM = 1.0
"""Gradients longer than this are shortened to it: one odd batch must not undo the others."""
FINAL_LR = 0.01
"""Share of the highest learning rate at which the cosine ends."""


def fit(
    data: Path,
    run: Path,
    *,
    val: Path | None = None,
    model: str = "lean",
    loss: str = "mu-l1",
    steps: int = 10_000,
    batch: int = 8,
    lr: float = 1e-3,
    warmup: int = 100,
    weight_decay: float = 1e-4,
    ema: float = 0.999,
    align: float = 0.3,
    gradient: float = 0.0,
    teacher: float = 0.0,
    hold_out: float = 0.05,
    seed: int = 1,
    device: str | None = None,
    resume: bool = False,
    save_every: int = 500,
    log_every: int = 50,
    val_every: int = 2_000,
) -> None:
    """Train a network on a dataset.

    AdamW with warm-up and a cosine, gradients clipped, bfloat16 where CUDA has it, flips and
    quarter turns, a running average of the weights. Samples, order and augmentation depend on
    `seed` and the step alone, so a run that was killed and resumed ends, on the CPU, in the same
    weights bit for bit.

    Parameters
    ----------
    data : Path
        What `labelgen build` wrote.
    run : Path
        Folder for config.json, metrics.jsonl and last.pt.
    val : Path, optional
        Scenes with truth to report figures on, every `val_every` steps and at the end. Nothing
        is chosen by them.
    model : str
        The network, see `trainer.models.build`; its number of frames and its reference are those
        of the dataset.
    loss : {"mu-l1", "l1"}
        See `trainer.losses.loss`.
    steps, batch : int
        How many steps, and samples per step.
    lr, warmup, weight_decay : float, int, float
        Highest learning rate, steps to reach it, and decay of AdamW.
    ema : float
        Highest share that the average of the weights keeps at each step.
    align : float
        Weight of `trainer.losses.alignment_l1`, for networks that align frames (`lean`).
    gradient : float
        Weight of `trainer.losses.gradient_l1` of mu-law values.
    teacher : float
        Weight of what `trainer.teacher` says where labels aren't trusted.
    hold_out : float
        Share of the brackets that aren't trained on, but scored against their own labels every
        `val_every` steps and at the end; see `trainer.holdout`.
    seed : int
        Of first weights, order and augmentation.
    device : str, optional
        "cpu", "cuda", "mps"; the fastest there is if left out.
    resume : bool
        Go on where the run was left; starts where there is nothing yet.
    save_every, log_every, val_every : int
        Steps between checkpoints, lines of metrics, and validations.

    Raises
    ------
    UserError
        Unusable dataset or settings, the folder holds a run and `resume` is False, or it holds
        a run of other settings or of another dataset.
    Stopped
        SIGTERM or SIGINT came (the position is saved), or the loss is not finite.
    """
    if min(save_every, log_every, val_every) < 1:
        raise UserError("--save-every, --log-every, --val-every: expected at least 1")
    target = devices.pick(device)
    with PatchDataset(data) as dataset, Signals() as signals, ExitStack() as stack:
        head = dataset.header
        config = Config(
            fingerprint=head.fingerprint,
            samples=len(dataset),
            frames=head.frames,
            reference=head.reference,
            patch=head.patch,
            model=model,
            loss=loss,
            steps=steps,
            batch=batch,
            lr=lr,
            warmup=warmup,
            weight_decay=weight_decay,
            ema=ema,
            seed=seed,
            align=align,
            gradient=gradient,
            teacher=teacher,
            hold_out=hold_out,
        )
        rows, held = split(dataset.scenes(), hold_out)
        torch.manual_seed(seed)
        network = models.build(model, config.frames, config.reference).to(target).train()
        scenes = with_truth(val, config, known_cameras(head.responses))[0] if val else []
        average = Average(network, ema)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr, betas=(0.9, 0.99), weight_decay=weight_decay
        )
        state = open_run(run, config, head.responses, resume)
        if state:
            network.load_state_dict(state["model"])
            average.model.load_state_dict(state["ema"])
            optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"]) if state else 0
        if first == steps:
            sys.stderr.write(f"{run}: has all of its {steps} steps\n")
        log = Log(run, config, first)

        def read(step: int) -> Arrays:
            return dataset.batch(rows[batch_rows(len(rows), batch, seed, step)])

        batches = stack.enter_context(closing(prefetch(read, range(first, steps))))
        for step in range(first, steps):
            began = time.perf_counter()
            arrays = next(batches)
            log.waited += time.perf_counter() - began

            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            samples = prepare(arrays, target, turns(seed, step))
            with devices.autocast(target):
                output = network(samples.inputs)
            value = objective(config, output, samples)
            if teacher and step >= FROM * steps:
                with devices.autocast(target):
                    taught = teach(average.model, samples.inputs)
                value = value + teacher * lesson(output, samples.weight, *taught)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimizer.step()
            average.update(network, step)
            log.losses.append(value.detach())

            done = step + 1
            caught = signals.caught
            if done % log_every == 0 or done == steps or caught:
                devices.synchronize(target)
                log.line(done, rate)
            if done % save_every == 0 or done == steps or caught:
                with log.paused():
                    log.check(done)
                    weights = {"model": network.state_dict(), "ema": average.model.state_dict()}
                    position = {"optimizer": optimizer.state_dict(), "step": done}
                    checkpoint.save(run, weights | position)
            if caught and done < steps:
                where = f"{caught.name} at step {done} of {steps}"
                raise Stopped(f"{run}: {where}, saved; go on with --resume", 128 + caught)
            if done % val_every == 0 or done == steps:
                with log.paused():
                    if len(held):
                        figures = score_held(average.model, dataset, held, batch, target)
                        log.held(done, figures)
                    if scenes:
                        log.write({"step": done, "val": score(average.model, scenes)})
        log.end()


def objective(config: Config, output: Tensor | Output, samples: Batch) -> Tensor:
    """The loss of a step, by the weights of its terms that a run was given."""
    prediction, trust = radiance_of(output), samples.weight
    value = losses.loss(config.loss, prediction, samples.label, trust)
    label = losses.mu_law(samples.label)
    if config.gradient:
        steps = losses.gradient_l1(losses.mu_law(prediction), label, trust)
        value = value + config.gradient * steps
    if config.align and isinstance(output, Output):
        apart = losses.alignment_l1(output.aligned.float(), output.seen, label, trust)
        value = value + config.align * apart
    return value


def learning_rate(config: Config, step: int) -> float:
    """Learning rate of a step (from 0): a linear warm-up under a cosine to a hundredth."""
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr * warm * (FINAL_LR + (1 - FINAL_LR) * cosine)


def open_run(run: Path, config: Config, responses: dict[str, Any], resume: bool) -> State | None:
    """Make the folder of a run, or find in it where to go on.

    Raises
    ------
    UserError
        It holds a run and `resume` is False, or one of other settings.
    """
    if (run / checkpoint.CONFIG).exists():
        if not resume:
            raise UserError(f"{run}: holds a run; go on with --resume or give another --run")
        checkpoint.check_same(run, config)
        return checkpoint.load(run) if (run / checkpoint.LAST).exists() else None
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"{run}: cannot be made a folder ({e.strerror})") from e
    checkpoint.write_config(run, config, responses)
    return None
