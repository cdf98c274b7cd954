"""Samples of datasets, as they are stored, and what a network needs of them, made on the device."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from labelgen.core.errors import UserError
from labelgen.core.response import GAMMA
from labelgen.dataset.columns import IMAGES
from labelgen.dataset.reader import Dataset
from trainer import device as devices
from trainer.data.reader import RowReader

Arrays = dict[str, NDArray[Any]]

PAUSES_S = 0.2, 2.0, 10.0
"""Seconds before a read that failed is tried again: network file systems come back."""
WIDEN = 257
"""What makes an 8-bit code the 16-bit code of the same share of full scale."""


class PatchDataset(torch.utils.data.Dataset[Arrays]):
    """The samples of a dataset, by row.

    It can be handed to a `torch.utils.data.DataLoader`, with or without workers: a process that
    got it by fork or pickle opens the files anew.

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
    (P, P) uint8, trust; `ev` (F,) float32, stops relative to the shortest frame. `to_batch` makes
    the input of a network from a stack of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()
        if len(self) == 0:
            raise UserError(f"{path}: no samples in it; build it again from more brackets")

    def _open(self) -> None:
        self._data, self._process = Dataset(self.path), os.getpid()
        self._rows = RowReader(self._data)
        self.header = self._data.header
        self._ev = self._data.column("ev").astype(np.float32)
        if not np.isfinite(self._ev).all():
            raise UserError(f"{self.path}: exposures that are not finite; get it anew")
        self._stamps = self._stat()
        images = self._data.images[0]
        self._like = {name: (images[name].shape[1:], images[name].dtype) for name in IMAGES}
        self._like["ev"] = (self._ev.shape[1:], self._ev.dtype)

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path
        self._open()

    def __len__(self) -> int:
        return len(self._ev)

    def __getitem__(self, row: int) -> Arrays:
        one = self.batch([row])
        return {name: values[0] for name, values in one.items()}

    @property
    def depth(self) -> int:
        """Bits of the inputs, 8 or 16."""
        return 8 * self._like["inputs"][1].itemsize

    def empty(self, count: int, depth: int | None = None) -> Arrays:
        """Arrays for `fill`, with a leading axis; `depth` bits of inputs instead of its own."""
        like = dict(self._like)
        if depth:
            like["inputs"] = (like["inputs"][0], np.dtype(f"uint{depth}"))
        return {name: np.empty((count, *shape), kind) for name, (shape, kind) in like.items()}

    def fill(self, rows: Sequence[int] | NDArray[np.int64], out: Arrays) -> None:
        """Read some rows into arrays as `empty` makes them; codes of 8 bits also into 16.

        Raises
        ------
        IndexError
            There is no such row.
        UserError
            A file can't be read, or is damaged.
        """
        if os.getpid() != self._process:
            self._open()  # HDF5 handles don't survive a fork
        for k, row in enumerate(map(int, rows)):
            if not 0 <= row < len(self):
                raise IndexError(f"row {row}: the dataset has rows 0 to {len(self) - 1}")
            for name in IMAGES:
                self._read(name, row, out[name][k])
            out["ev"][k] = self._ev[row]

    def _read(self, name: str, row: int, out: NDArray[Any]) -> None:
        kind = self._like[name][1]
        if out.dtype == kind:
            self._read_stored(name, row, out)
        else:
            codes = np.empty(out.shape, kind)
            self._read_stored(name, row, codes)
            np.multiply(codes, WIDEN, out=out, dtype=out.dtype)

    def _read_stored(self, name: str, row: int, out: NDArray[Any]) -> None:
        """Read a row, and again after a while where the storage may only have stumbled."""
        for pause in (*PAUSES_S, None):
            try:
                self._rows.read(name, row, out)
                return
            except (OSError, RuntimeError, ValueError) as e:
                file = Path(self._data.files[self._data.locate(row)[0]].filename)
                if pause is None or not file.exists():
                    text = f"{file}: row {row} can't be read ({e}); 'labelgen verify' it"
                    raise UserError(text) from e
                time.sleep(pause)

    def batch(self, rows: Iterable[int]) -> Arrays:
        """Some rows, each array with a leading axis."""
        wanted = list(rows)
        out = self.empty(len(wanted))
        self.fill(wanted, out)
        return out

    def scenes(self) -> NDArray[np.bytes_]:
        """The bracket that each row came from, (N,) bytes, UTF-8."""
        return np.asarray(self._data.column("scene"), np.bytes_)

    def check_unchanged(self) -> None:
        """Refuse to go on with files that were written to since they were opened.

        Raises
        ------
        UserError
            One was, or is gone.
        """
        for file, now, then in zip(self._data.files, self._stat(), self._stamps, strict=True):
            if now != then:
                raise UserError(
                    f"{file.filename}: changed while it was trained on; what was saved before is "
                    f"whole, go on with --resume if the dataset is the same again"
                )

    def _stat(self) -> list[tuple[int, int, int] | None]:
        """Which file each name stands for, its size, and when it was written to."""
        paths = [Path(file.filename) for file in self._data.files]
        found = [path.stat() if path.exists() else None for path in paths]
        return [s and (s.st_ino, s.st_size, s.st_mtime_ns) for s in found]

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._data.close()

    def __enter__(self) -> PatchDataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
    return add_radiance(codes.to(torch.float32).div_(full).movedim(-1, 2), ev)


def add_radiance(codes: Tensor, ev: Tensor) -> Tensor:
    """Codes (B, F, 3, H, W) of 0 to 1, and below them the radiance code^2.2 / 2^ev."""
    return torch.cat([codes, codes**GAMMA * torch.exp2(-ev)[:, :, None, None, None]], 2)


def to_batch(
    samples: Mapping[str, NDArray[Any] | Tensor],
    device: torch.device,
    turned: NDArray[np.bool_] | None = None,
) -> Batch:
    """Move a batch to the device as stored, then convert and augment it there.

    Parameters
    ----------
    samples : dict
        As `PatchDataset.batch` or a `torch.utils.data.DataLoader` of one returns them.
    device : torch.device
        Where to.
    turned : (3, B) bool, optional
        One of the eight flips and quarter turns for each sample, see `dihedral`; none where left
        out.
    """
    there = {name: devices.to_device(torch.as_tensor(x), device) for name, x in samples.items()}
    inputs = network_input(there["inputs"], there["ev"])
    label = there["label"].to(torch.float32).movedim(-1, 1)
    weight = there["weight"].to(torch.float32).div_(255)[:, None]
    if turned is not None:
        choice = devices.to_device(torch.from_numpy(np.ascontiguousarray(turned)), device)
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
