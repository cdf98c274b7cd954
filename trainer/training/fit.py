"""Train a network on a dataset: one loop, read from top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from signal import Signals as Signal
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from labelgen.cli.text import echo
from labelgen.core.errors import UserError
from trainer import checkpoint, distributed
from trainer import device as devices
from trainer.checkpoint import State
from trainer.config import CONFIG, Config, check_same_config, write_config
from trainer.data.dataset import to_batch
from trainer.data.mixture import Mixture, MixtureEntry
from trainer.data.prefetch import prefetch_batches
from trainer.data.sampling import Order, draw_symmetries
from trainer.interrupt import Signals, Stopped
from trainer.training import gallery
from trainer.training.holdout import score_held_out, split_scenes
from trainer.training.learner import Learner
from trainer.training.log import Log
from trainer.training.out_of_memory import suggest_batch_on_oom


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

    The optimizer is AdamW with warm-up and a cosine schedule. Gradients are clipped, CUDA computes
    in bfloat16, samples are flipped and turned, and predictions use averaged weights. Samples,
    order and augmentation depend on `seed` and the step alone: on the CPU, a run that was killed
    and resumed ends in the same weights bit for bit. Under torchrun every process takes its share
    of each batch.

    Parameters
    ----------
    data : Path, or sequence of MixtureEntry
        Dataset of `labelgen build`, or several with their shares of the samples, see
        `trainer.data.sampling.epoch_counts`.
    run : Path
        Folder for config.json, metrics.jsonl, last.pt, curves.png, pictures of a few samples, and
        TensorBoard's events if that is installed.
    val : Path, optional
        Scenes with truth that are scored every `val_every` steps and at the end. The scores
        influence nothing.
    model : str
        The network, see `trainer.models.build`. Its number of frames and its reference are those
        of the dataset.
    loss : {"mu-l1", "l1"}
        See `trainer.training.losses.loss`.
    steps, batch : int
        Number of steps, and samples per step over all processes.
    lr, warmup, weight_decay : float, int, float
        Highest learning rate, steps to reach it, and weight decay of AdamW.
    ema : float
        Highest share of the averaged weights that one step keeps.
    align : float
        Weight of `trainer.training.losses.alignment_l1`, for networks that align frames (`lean`).
    gradient : float
        Weight of `trainer.training.losses.gradient_l1` of mu-law values.
    teacher : float
        Weight of `trainer.training.mean_teacher`, which trains where labels are not trusted.
    hold_out : float
        Share of the brackets that are not trained on, but scored against their own labels every
        `val_every` steps and at the end; see `trainer.training.holdout`.
    seed : int
        Seed of initial weights, order and augmentation.
    device : str, optional
        "cpu", "cuda", "mps"; by default the fastest available one.
    compile : bool
        Whether torch.compile speeds up the network, which takes minutes at the start.
    resume : bool
        Whether to continue a run that was begun. A run that does not exist is started.
    save_every, log_every, val_every : int
        Steps between checkpoints, lines of metrics, and validations.
    keep : int
        Number of checkpoints that are kept, see `trainer.checkpoint.save`.

    Raises
    ------
    UserError
        Unusable dataset or settings; the folder holds a run and `resume` is False, or a run with
        other settings or another dataset; or a dataset changed during the run.
    Stopped
        SIGTERM or SIGINT came (a checkpoint is saved), the loss is not finite, the memory is full,
        or another process of the run ended.
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
        rows, held_out = split_scenes(dataset.scenes(), hold_out)
        order = Order(dataset.split_by_dataset(rows), dataset.shares, seed)
        learner = Learner(config, target)
        score_truth = scorer(val, config, dataset.responses) if val else None
        state = open_run(run, config, dataset.responses, resume)
        first = learner.restore(run, state) if state else 0
        if first == steps and rank == 0:
            echo(f"{run}: has all of its {steps} steps", err=True)
        log = Log(run, config, first)
        stack.callback(log.close)

        def process_rows(step: int) -> NDArray[np.int64]:
            """Rows of a step for this process."""
            return order.rows(step, batch)[rank::processes]

        def save(done: int) -> None:
            """Save a checkpoint, which all processes share."""
            if rank == 0:
                checkpoint.save(run, learner.state(done), keep)

        def validate(done: int) -> None:
            """Draw a few samples, and score the averaged weights."""
            averaged = learner.average.model
            drawn = held_out if len(held_out) else rows
            gallery.draw_samples(run, done, averaged, dataset, drawn)
            if len(held_out):
                log.held_out(done, score_held_out(averaged, dataset, held_out, batch, target))
            if score_truth:
                log.write({"step": done, "val": score_truth(averaged)})

        steps_left = range(first, steps)
        stream = prefetch_batches(dataset, process_rows, steps_left, batch // processes, target)
        batches = stack.enter_context(closing(stream))
        for step in steps_left:
            began = time.perf_counter()
            try:
                stored = next(batches)
            except UserError as e:
                dataset.check_unchanged()
                save(step)
                raise UserError(f"{e}; step {step} is saved, go on with --resume") from e
            log.waited_s += time.perf_counter() - began

            symmetries = draw_symmetries(seed, step, batch)[:, rank::processes]
            samples = to_batch(stored, target, symmetries)
            compute = partial(learner.compute_gradients, step=step)
            with suggest_batch_on_oom(compute, samples, processes):
                log.losses.append(compute(samples))
            rate = learner.update(step)

            done = step + 1
            log.step(done)
            caught = distributed.max_over_processes(signals.caught or 0)
            if done % log_every == 0 or done == steps or caught:
                devices.synchronize(target)
                log.line(done, rate)
            if done % save_every == 0 or done == steps or caught:
                with log.paused():
                    log.check_losses(done)
                    dataset.check_unchanged()
                    save(done)
                    distributed.barrier()
            if caught and done < steps:
                where = f"{Signal(caught).name} at step {done} of {steps}"
                raise Stopped(f"{run}: {where}, saved; go on with --resume", 128 + caught)
            if rank == 0 and (done % val_every == 0 or done == steps):
                with log.paused():
                    validate(done)
        log.close()
        if rank == 0:
            gallery.draw_curves(run)


def scorer(
    scenes: Path, config: Config, responses: dict[str, Any]
) -> Callable[[nn.Module], dict[str, Any]]:
    """Return a function that scores a network on scenes with truth."""
    # Photos take seconds to import, and most runs have no such scenes.
    from labelgen.calibration.known_responses import named_camera_responses
    from trainer.evaluation.evaluate import scenes_with_truth, score_scenes

    usable, _ = scenes_with_truth(scenes, config, named_camera_responses(responses))
    return partial(score_scenes, scenes=usable)


def open_run(run: Path, config: Config, responses: dict[str, Any], resume: bool) -> State | None:
    """Make the folder of a run, or read the checkpoint of a run that was begun.

    All processes call this; the first one writes.

    Raises
    ------
    UserError
        The folder holds a run and `resume` is False, or a run of other settings.
    """
    if (run / CONFIG).exists():
        if not resume:
            raise UserError(f"{run}: holds a run; go on with --resume or give another --run")
        check_same_config(run, config)
        return checkpoint.load(run) if (run / checkpoint.LAST).exists() else None
    distributed.barrier()
    if distributed.rank() == 0:
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(f"{run}: cannot be made a folder ({e.strerror})") from e
        write_config(run, config, responses)
    distributed.barrier()
    return None
