"""Read the samples of a dataset, and make the input of a network from them on the device."""

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

RETRY_PAUSES_S = 0.2, 2.0, 10.0
"""Seconds before each retry of a failed read. Network file systems fail for a while."""
CODE_8_TO_16 = 257
"""Factor from an 8-bit code to the 16-bit code of the same share of full scale."""


class PatchDataset(torch.utils.data.Dataset[Arrays]):
    """Samples of a dataset by row.

    A `torch.utils.data.DataLoader` takes it, with or without workers: a process that received it
    by fork or pickle opens the files again.

    Parameters
    ----------
    path : Path
        What `labelgen build` wrote: a single file, or an index beside its parts.

    Raises
    ------
    UserError
        Not a dataset, a part is missing, or it has no samples.

    Notes
    -----
    A sample is a dict: `inputs` (F, P, P, 3) uint8 or uint16, RGB codes, shortest frame first;
    `label` (P, P, 3) float16, linear radiance, 1.0 where the shortest frame clips; `weight`
    (P, P) uint8, trust; `ev` (F,) float32, stops relative to the shortest frame. `to_batch`
    converts a stack of samples to the input of a network.

    Examples
    --------
    >>> dataset = PatchDataset(Path("out.h5"))  # doctest: +SKIP
    >>> to_batch(dataset.read([0, 1, 2]), torch.device("cpu")).inputs.shape  # doctest: +SKIP
    torch.Size([3, 3, 6, 128, 128])
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
        self._opened_stats = self._file_stats()
        images = self._data.images[0]
        self._specs = {name: (images[name].shape[1:], images[name].dtype) for name in IMAGES}
        self._specs["ev"] = (self._ev.shape[1:], self._ev.dtype)

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path
        self._open()

    def __len__(self) -> int:
        return len(self._ev)

    def __getitem__(self, row: int) -> Arrays:
        return {name: values[0] for name, values in self.read([row]).items()}

    @property
    def depth(self) -> int:
        """Bits of the inputs, 8 or 16."""
        return 8 * self._specs["inputs"][1].itemsize

    def allocate(self, count: int, depth: int | None = None) -> Arrays:
        """Return arrays for `count` samples. `depth` sets the bits of the inputs, 8 or 16."""
        specs = dict(self._specs)
        if depth:
            specs["inputs"] = (specs["inputs"][0], np.dtype(f"uint{depth}"))
        return {name: np.empty((count, *shape), dtype) for name, (shape, dtype) in specs.items()}

    def read_into(self, rows: Sequence[int] | NDArray[np.int64], out: Arrays) -> None:
        """Read rows into arrays that `allocate` made; 8-bit codes are scaled if these have 16.

        Raises
        ------
        IndexError
            A row does not exist.
        UserError
            A file is unreadable or damaged.
        """
        if os.getpid() != self._process:
            self._open()  # HDF5 handles do not survive a fork
        for k, row in enumerate(map(int, rows)):
            if not 0 <= row < len(self):
                raise IndexError(f"row {row}: the dataset has rows 0 to {len(self) - 1}")
            for name in IMAGES:
                self._read(name, row, out[name][k])
            out["ev"][k] = self._ev[row]

    def _read(self, name: str, row: int, out: NDArray[Any]) -> None:
        stored_type = self._specs[name][1]
        if out.dtype == stored_type:
            self._read_stored(name, row, out)
        else:
            codes = np.empty(out.shape, stored_type)
            self._read_stored(name, row, codes)
            np.multiply(codes, CODE_8_TO_16, out=out, dtype=out.dtype)

    def _read_stored(self, name: str, row: int, out: NDArray[Any]) -> None:
        """Read a row; retry while its file exists, since the failure may be temporary."""
        for pause in (*RETRY_PAUSES_S, None):
            try:
                self._rows.read(name, row, out)
                return
            except (OSError, RuntimeError, ValueError) as e:
                file = Path(self._data.files[self._data.locate(row)[0]].filename)
                if pause is None or not file.exists():
                    text = f"{file}: row {row} can't be read ({e}); 'labelgen verify' it"
                    raise UserError(text) from e
                time.sleep(pause)

    def read(self, rows: Iterable[int]) -> Arrays:
        """Return the samples of some rows, each array with a leading axis."""
        listed = list(rows)
        out = self.allocate(len(listed))
        self.read_into(listed, out)
        return out

    def scenes(self) -> NDArray[np.bytes_]:
        """Return the bracket of each row, (N,) bytes, UTF-8."""
        return np.asarray(self._data.column("scene"), np.bytes_)

    def check_unchanged(self) -> None:
        """Raise an error if a file was modified since it was opened.

        Raises
        ------
        UserError
            A file was modified, replaced or removed.
        """
        stats = zip(self._data.files, self._file_stats(), self._opened_stats, strict=True)
        for file, now, opened in stats:
            if now != opened:
                raise UserError(
                    f"{file.filename}: changed while it was trained on; what was saved before is "
                    f"whole, go on with --resume if the dataset is the same again"
                )

    def _file_stats(self) -> list[tuple[int, int, int] | None]:
        """Return inode, size and modification time (ns) of each file; None if it is gone."""
        paths = [Path(file.filename) for file in self._data.files]
        stats = [path.stat() if path.exists() else None for path in paths]
        return [s and (s.st_ino, s.st_size, s.st_mtime_ns) for s in stats]

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
    """Samples for a network and its loss, float32 on the device."""

    inputs: Tensor
    """(B, F, 6, P, P), made by `network_input`."""
    label: Tensor
    """(B, 3, P, P) linear radiance, 1.0 where the shortest frame clips."""
    weight: Tensor
    """(B, 1, P, P) trust in the label, 0 to 1."""


def network_input(codes: Tensor, ev: Tensor) -> Tensor:
    """Return the input of a network: the codes of each frame and the radiance they encode.

    Follows Kalantari and Ramamoorthi 2017 (doi:10.1145/3072959.3073609): the gamma domain shows
    noise and clipping, and in the linear domain frames can be compared.

    Parameters
    ----------
    codes : (B, F, H, W, 3) uint8 or uint16
        RGB, shortest frame first.
    ev : (B, F) float32
        Stops relative to the shortest frame.

    Returns
    -------
    (B, F, 6, H, W) float32
        Codes / full scale (RGB), then radiance code^2.2 / 2^ev (RGB), on the same device.

    Examples
    --------
    >>> codes = torch.full((1, 3, 4, 4, 3), 255, dtype=torch.uint8)
    >>> inputs = network_input(codes, torch.tensor([[0.0, 2.0, 4.0]]))
    >>> inputs.shape, inputs[0, :, 3, 0, 0]
    (torch.Size([1, 3, 6, 4, 4]), tensor([1.0000, 0.2500, 0.0625]))
    """
    # torch.uint16 has no arithmetic, so convert first. Both depths give the same floats.
    full_scale = 255 if codes.dtype == torch.uint8 else 65535
    return add_radiance(codes.to(torch.float32).div_(full_scale).movedim(-1, 2), ev)


def add_radiance(codes: Tensor, ev: Tensor) -> Tensor:
    """Append the radiance code^2.2 / 2^ev to codes (B, F, 3, H, W) of 0 to 1."""
    return torch.cat([codes, codes**GAMMA * torch.exp2(-ev)[:, :, None, None, None]], 2)


def to_batch(
    samples: Mapping[str, NDArray[Any] | Tensor],
    device: torch.device,
    symmetries: NDArray[np.bool_] | None = None,
) -> Batch:
    """Move samples to the device as stored, then convert and augment them there.

    Parameters
    ----------
    samples : dict
        From `PatchDataset.read`, or from a `torch.utils.data.DataLoader` of one.
    device : torch.device
        Device of the result.
    symmetries : (3, B) bool, optional
        Flips and quarter turns of each sample, see `dihedral`. By default samples stay as they are.
    """
    moved = {name: devices.to_device(torch.as_tensor(x), device) for name, x in samples.items()}
    inputs = network_input(moved["inputs"], moved["ev"])
    label = moved["label"].to(torch.float32).movedim(-1, 1)
    weight = moved["weight"].to(torch.float32).div_(255)[:, None]
    if symmetries is not None:
        choice = devices.to_device(torch.from_numpy(np.ascontiguousarray(symmetries)), device)
        inputs, label, weight = (dihedral(x, choice) for x in (inputs, label, weight))
    return Batch(inputs, label.contiguous(), weight)


def dihedral(images: Tensor, choice: Tensor) -> Tensor:
    """Transform each sample by one of the eight symmetries of a square.

    Parameters
    ----------
    images : (B, ..., P, P)
        Square images.
    choice : (3, B) bool
        Whether to reverse the columns, reverse the rows, and transpose.

    Returns
    -------
    (B, ..., P, P)
    """
    transforms: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x.flip(-1),
        lambda x: x.flip(-2),
        lambda x: x.transpose(-1, -2),
    )
    for chosen, transform in zip(choice, transforms, strict=True):
        images = torch.where(chosen.view(-1, *[1] * (images.ndim - 1)), transform(images), images)
    return images
