"""Samples of a dataset: an order that is a pure function, one reader, conversion on the device.

Rows are read one by one (a list of rows is up to 170 times slower in h5py) by one thread (HDF5
has one lock for the process), and travel as the integers they are stored as.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelgen.errors import UserError
from labelgen.format import IMAGES, Dataset
from labelgen.response import GAMMA
from trainer import device as devices

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]


class PatchDataset:
    """The samples of a dataset, by row; open one per process.

    Parameters
    ----------
    path : Path
        What `labelgen build` wrote: a single file, or an index beside its parts.

    Raises
    ------
    UserError
        Not a dataset, a part is missing, or there is no sample in it.

    Notes
    -----
    A sample is a dict: `inputs` (F, P, P, 3) uint8 or uint16, RGB codes, shortest frame first;
    `label` (P, P, 3) float16, linear radiance, 1.0 where the shortest frame clips; `weight`
    (P, P) uint8, trust; `ev` (F,) float32, stops relative to the shortest frame. `prepare` makes
    the input of a network from a stack of them.
    """

    def __init__(self, path: Path) -> None:
        self._data = Dataset(path)
        if len(self._data) == 0:
            raise UserError(f"{path}: no samples in it; build it again from more brackets")
        self.header = self._data.header
        self._ev = self._data.column("ev").astype(np.float32)

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, row: int) -> Arrays:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row}: the dataset has rows 0 to {len(self) - 1}")
        return {name: self._data.image(name, row) for name in IMAGES} | {"ev": self._ev[row]}

    def batch(self, rows: Iterable[int]) -> Arrays:
        """Some rows, each array with a leading axis."""
        samples = [self[int(row)] for row in rows]
        return {name: np.stack([s[name] for s in samples]) for name in samples[0]}

    def scenes(self) -> NDArray[np.bytes_]:
        """The bracket that each row came from, (N,) bytes, UTF-8."""
        return np.asarray(self._data.column("scene"), np.bytes_)

    def close(self) -> None:
        """Close the files."""
        self._data.close()

    def __enter__(self) -> PatchDataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def turns(seed: int, step: int) -> np.random.Generator:
    """Where the flips and quarter turns of one step are drawn from; never the draws of `order`."""
    return np.random.default_rng([seed, 1, step])


@lru_cache(maxsize=2)
def order(samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """All rows in the order of one epoch: a shuffle of (seed, epoch) over the whole dataset."""
    shuffled = np.random.default_rng([seed, 0, epoch]).permutation(samples)
    shuffled.flags.writeable = False
    return shuffled


def batch_rows(samples: int, batch: int, seed: int, step: int) -> NDArray[np.int64]:
    """The rows of one step.

    Epochs follow each other without a gap, so a batch may end one and begin the next, and a
    dataset may be smaller than a batch.

    Parameters
    ----------
    samples : int
        Rows of the dataset.
    batch : int
        Rows a step, over all ranks.
    seed : int
        Seed of the run.
    step : int
        From 0.

    Returns
    -------
    (batch,) int64
        Row numbers.
    """
    epochs, places = np.divmod(np.arange(step * batch, (step + 1) * batch), samples)
    return np.concatenate(
        [order(samples, seed, int(e))[places[epochs == e]] for e in np.unique(epochs)]
    )


def prefetch(
    read: Callable[[int], T], steps: Iterable[int], ahead: int = 3
) -> Generator[T, None, None]:
    """``read(step)`` for every step in turn, up to `ahead` of them early, in one thread.

    An error of `read` is raised where its result is taken.
    """
    left = iter(steps)
    with ThreadPoolExecutor(1, "reader") as reader:
        pending: deque[Future[T]] = deque(reader.submit(read, s) for s in islice(left, ahead))
        try:
            while pending:
                ready = pending.popleft().result()
                pending.extend(reader.submit(read, s) for s in islice(left, 1))
                yield ready
        finally:
            for future in pending:
                future.cancel()


@dataclass(frozen=True)
class Batch:
    """What a network and a loss need, float32 on the device.

    `inputs` (B, F, 6, P, P) as `network_input` makes them; `label` (B, 3, P, P) linear radiance,
    1.0 where the shortest frame clips; `weight` (B, 1, P, P) trust, 0 to 1.
    """

    inputs: Tensor
    label: Tensor
    weight: Tensor


def network_input(codes: Tensor, ev: Tensor) -> Tensor:
    """What a network sees of each frame: its codes, and the radiance they stand for.

    Follows Kalantari and Ramamoorthi 2017 (doi:10.1145/3072959.3073609): the gamma domain shows
    noise and clipping, the linear domain lets frames be compared.

    Parameters
    ----------
    codes : (B, F, H, W, 3) uint8 or uint16
        RGB, shortest frame first.
    ev : (B, F) float32
        Stops relative to the shortest frame.

    Returns
    -------
    (B, F, 6, H, W) float32
        Codes / full scale (RGB), then their radiance code^2.2 / 2^ev (RGB), on the same device.
    """
    # torch.uint16 knows no arithmetic, so convert first. Both kinds end as the same float.
    full = 255 if codes.dtype == torch.uint8 else 65535
    return with_radiance(codes.to(torch.float32).div_(full).movedim(-1, 2), ev)


def with_radiance(codes: Tensor, ev: Tensor) -> Tensor:
    """Codes (B, F, 3, H, W) of 0 to 1, and below them the radiance code^2.2 / 2^ev."""
    return torch.cat([codes, codes**GAMMA * torch.exp2(-ev)[:, :, None, None, None]], 2)


def prepare(arrays: Arrays, device: torch.device, turn: np.random.Generator | None = None) -> Batch:
    """Move a batch to the device as stored, then convert and augment it there.

    Parameters
    ----------
    arrays : dict
        As `PatchDataset.batch` returns them.
    device : torch.device
        Where to.
    turn : Generator, optional
        Draws one of the eight flips and quarter turns for each sample; none where left out.
    """
    host = {name: torch.from_numpy(value) for name, value in arrays.items()}
    there = {name: devices.move(tensor, device) for name, tensor in host.items()}
    inputs = network_input(there["inputs"], there["ev"])
    label = there["label"].to(torch.float32).movedim(-1, 1)
    weight = there["weight"].to(torch.float32).div_(255)[:, None]
    if turn is not None:
        draws = torch.from_numpy(turn.integers(0, 2, (3, len(label)), np.uint8).astype(bool))
        choice = devices.move(draws, device)
        inputs, label, weight = (dihedral(x, choice) for x in (inputs, label, weight))
    return Batch(inputs, label.contiguous(), weight)


def dihedral(images: Tensor, choice: Tensor) -> Tensor:
    """Flip and turn each sample: one of the eight symmetries of a square.

    Parameters
    ----------
    images : (B, ..., P, P)
        Squares.
    choice : (3, B) bool
        Whether to mirror columns, mirror rows, and swap rows with columns.
    """
    moves: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x.flip(-1),
        lambda x: x.flip(-2),
        lambda x: x.transpose(-1, -2),
    )
    for chosen, move in zip(choice, moves, strict=True):
        images = torch.where(chosen.view(-1, *[1] * (images.ndim - 1)), move(images), images)
    return images
