"""Train a network on a dataset: one loop, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from signal import Signals as Signal
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labelgen.cli.text import echo
from labelgen.core.errors import UserError
from trainer import checkpoint, distributed, models
from trainer import device as devices
from trainer.checkpoint import Average, Config, State
from trainer.data.dataset import Batch, to_batch
from trainer.data.mixture import Mixture, MixtureEntry
from trainer.data.prefetch import prefetch_batches
from trainer.data.sampling import Order, draw_symmetries, network_seed
from trainer.interrupt import Signals, Stopped
from trainer.models import mu_law
from trainer.models.output import Output, radiance_of
from trainer.training import gallery, losses
from trainer.training.holdout import score_held_out, split_scenes
from trainer.training.log import Log
from trainer.training.mean_teacher import START_SHARE, distillation_loss, teacher_output
from trainer.training.out_of_memory import suggest_batch_on_oom

CLIP_NORM = 1.0
"""Gradients longer than this are shortened to it: one odd batch must not undo the others."""
FINAL_LR = 0.01
"""Share of the highest learning rate at which the cosine ends."""


def fit(
    data: Path | Sequence[MixtureEntry],
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
    compile: bool = False,
    resume: bool = False,
    save_every: int = 500,
    keep: int = 1,
    log_every: int = 50,
    val_every: int = 2_000,
) -> None:
    """Train a network on a dataset, or on several.

    AdamW with warm-up and a cosine, gradients clipped, bfloat16 where CUDA has it, flips and
    quarter turns, a running average of the weights. Samples, order and augmentation depend on
    `seed` and the step alone, so a run that was killed and resumed ends, on the CPU, in the same
    weights bit for bit. Under torchrun every process takes its share of each batch.

    Parameters
    ----------
    data : Path, or sequence of Source
        What `labelgen build` wrote; of several datasets each has its share of the samples, see
        `trainer.data.sampling.epoch_counts`.
    run : Path
        Folder for config.json, metrics.jsonl, last.pt, curves.png, pictures of a few samples, and
        TensorBoard's events where that is installed.
    val : Path, optional
        Scenes with truth to report figures on, every `val_every` steps and at the end. Nothing
        is chosen by them.
    model : str
        The network, see `trainer.models.build`; its number of frames and its reference are those
        of the dataset.
    loss : {"mu-l1", "l1"}
        See `trainer.training.losses.loss`.
    steps, batch : int
        How many steps, and samples per step, over all processes.
    lr, warmup, weight_decay : float, int, float
        Highest learning rate, steps to reach it, and decay of AdamW.
    ema : float
        Highest share that the average of the weights keeps at each step.
    align : float
        Weight of `trainer.training.losses.alignment_l1`, for networks that align frames (`lean`).
    gradient : float
        Weight of `trainer.training.losses.gradient_l1` of mu-law values.
    teacher : float
        Weight of what `trainer.training.mean_teacher` says where labels aren't trusted.
    hold_out : float
        Share of the brackets that aren't trained on, but scored against their own labels every
        `val_every` steps and at the end; see `trainer.training.holdout`.
    seed : int
        Of first weights, order and augmentation.
    device : str, optional
        "cpu", "cuda", "mps"; the fastest there is if left out.
    compile : bool
        Whether torch.compile makes the network faster, after minutes of work.
    resume : bool
        Go on where the run was left; starts where there is nothing yet.
    save_every, log_every, val_every : int
        Steps between checkpoints, lines of metrics, and validations.
    keep : int
        How many checkpoints are kept, see `trainer.checkpoint.save`.

    Raises
    ------
    UserError
        Unusable dataset or settings, the folder holds a run and `resume` is False, it holds
        a run of other settings or of another dataset, or a dataset changed under the run.
    Stopped
        SIGTERM or SIGINT came (the position is saved), the loss is not finite, the memory is
        full, or another process of the run is gone.
    """
    if min(save_every, log_every, val_every, keep) < 1:
        raise UserError("--save-every, --log-every, --val-every, --keep: expected at least 1")
    rank, processes = distributed.rank(), distributed.world_size()
    if batch % processes:
        raise UserError(f"--batch {batch}: expected a multiple of the {processes} processes")
    target = devices.pick_device(device)
    sources = [MixtureEntry(data)] if isinstance(data, Path) else data
    with Mixture(sources) as dataset, Signals() as signals, ExitStack() as stack:
        stack.enter_context(distributed.process_group(target))
        config = Config(
            fingerprint=dataset.fingerprint,
            samples=len(dataset),
            frames=dataset.frames,
            reference=dataset.reference,
            patch=dataset.patch,
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
            compile=compile,
        )
        rows, held = split_scenes(dataset.scenes(), hold_out)
        order = Order(dataset.split_by_dataset(rows), dataset.shares, seed)
        torch.manual_seed(seed)
        network = models.build(model, config.frames, config.reference).to(target).train()
        distributed.share_weights(network)
        forward = torch.compile(network) if compile else network
        validate = validation(val, config, dataset.responses) if val else None
        average = Average(network, ema)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr, betas=(0.9, 0.99), weight_decay=weight_decay
        )
        state, first = open_run(run, config, dataset.responses, resume), 0
        if state:
            saved: dict[str, checkpoint.Stateful] = {
                "model": network,
                "ema": average.model,
                "optimizer": optimizer,
            }
            first = checkpoint.restore(run, state, **saved)
        if first == steps and rank == 0:
            echo(f"{run}: has all of its {steps} steps", err=True)
        log = Log(run, config, first)
        stack.callback(log.end)

        def learn(samples: Batch, step: int) -> Tensor:
            """Gradients of one step."""
            torch.manual_seed(network_seed(seed, step, rank))
            with devices.autocast(target):
                output = forward(samples.inputs)
            value = objective(config, output, samples)
            if teacher and step >= START_SHARE * steps:
                with devices.autocast(target):
                    taught = teacher_output(average.model, samples.inputs)
                value = value + teacher * distillation_loss(output, samples.weight, *taught)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            return value.detach()

        def mine(step: int) -> NDArray[np.int64]:
            """Rows of a step that are this process's."""
            return order.rows(step, batch)[rank::processes]

        def save(done: int) -> None:
            """The position after so many steps, which all processes share."""
            if rank == 0:
                weights = {"model": network.state_dict(), "ema": average.model.state_dict()}
                position = {"optimizer": optimizer.state_dict(), "step": done}
                checkpoint.save(run, weights | position, keep)

        stream = prefetch_batches(dataset, mine, range(first, steps), batch // processes, target)
        batches = stack.enter_context(closing(stream))
        for step in range(first, steps):
            began = time.perf_counter()
            try:
                stored = next(batches)
            except UserError as e:
                dataset.check_unchanged()
                save(step)
                raise UserError(f"{e}; step {step} is saved, go on with --resume") from e
            log.waited += time.perf_counter() - began

            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            samples = to_batch(
                stored, target, draw_symmetries(seed, step, batch)[:, rank::processes]
            )
            with suggest_batch_on_oom(partial(learn, step=step), samples, processes):
                log.losses.append(learn(samples, step))
            distributed.average_gradients(network)
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimizer.step()
            average.update(network, step)

            done = step + 1
            log.step(done)
            caught = distributed.max_over_processes(signals.caught or 0)
            if done % log_every == 0 or done == steps or caught:
                devices.synchronize(target)
                log.line(done, rate)
            if done % save_every == 0 or done == steps or caught:
                with log.paused():
                    log.check(done)
                    dataset.check_unchanged()
                    save(done)
                    distributed.barrier()
            if caught and done < steps:
                where = f"{Signal(caught).name} at step {done} of {steps}"
                raise Stopped(f"{run}: {where}, saved; go on with --resume", 128 + caught)
            if rank == 0 and (done % val_every == 0 or done == steps):
                with log.paused():
                    drawn = held if len(held) else rows
                    gallery.draw_samples(run, done, average.model, dataset, drawn)
                    if len(held):
                        figures = score_held_out(average.model, dataset, held, batch, target)
                        log.held(done, figures)
                    if validate:
                        log.write({"step": done, "val": validate(average.model)})
        log.end()
        if rank == 0:
            gallery.draw_curves(run)


def objective(config: Config, output: Tensor | Output, samples: Batch) -> Tensor:
    """The loss of a step, by the weights of its terms that a run was given."""
    prediction, trust = radiance_of(output), samples.weight
    value = losses.loss(config.loss, prediction, samples.label, trust)
    label = mu_law.mu_law(samples.label)
    if config.gradient:
        steps = losses.gradient_l1(mu_law.mu_law(prediction), label, trust)
        value = value + config.gradient * steps
    if config.align and isinstance(output, Output):
        apart = losses.alignment_l1(output.aligned.float(), output.visible, label, trust)
        value = value + config.align * apart
    return value


def validation(
    scenes: Path, config: Config, cameras: dict[str, Any]
) -> Callable[[nn.Module], dict[str, Any]]:
    """What scores a network on scenes with truth; reading brackets is slow to import."""
    from labelgen.calibration.cameras import named_camera_responses
    from trainer.evaluation.evaluate import scenes_with_truth, score_scenes

    return partial(
        score_scenes, scenes=scenes_with_truth(scenes, config, named_camera_responses(cameras))[0]
    )


def learning_rate(config: Config, step: int) -> float:
    """Learning rate of a step (from 0): a linear warm-up under a cosine to a hundredth."""
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr * warm * (FINAL_LR + (1 - FINAL_LR) * cosine)


def open_run(run: Path, config: Config, responses: dict[str, Any], resume: bool) -> State | None:
    """Make the folder of a run, or find in it where to go on; all processes, the first writes.

    Raises
    ------
    UserError
        It holds a run and `resume` is False, or one of other settings.
    """
    if (run / checkpoint.CONFIG).exists():
        if not resume:
            raise UserError(f"{run}: holds a run; go on with --resume or give another --run")
        checkpoint.check_same_config(run, config)
        return checkpoint.load(run) if (run / checkpoint.LAST).exists() else None
    distributed.barrier()
    if distributed.rank() == 0:
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(f"{run}: cannot be made a folder ({e.strerror})") from e
        checkpoint.write_config(run, config, responses)
    distributed.barrier()
    return None
