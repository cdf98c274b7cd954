"""Rows of datasets that go into another dataset, samples as they are stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import h5py
import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.response import to_depth
from labelgen.core.validation import one_line
from labelgen.dataset.columns import BRANCHES, IMAGES, SMALL_COLUMNS, SampleLayout
from labelgen.dataset.fletcher32 import has_valid_checksum
from labelgen.dataset.reader import Dataset, scene_runs
from labelgen.dataset.safe_hdf5 import DAMAGE
from labelgen.dataset.shard import Chunks, Encoder, dataset_filters


def refuse_part(data: Dataset) -> None:
    """Refuse a part of a dataset, which has the fingerprint of the whole.

    Raises
    ------
    UserError
        It is one.
    """
    if "part" in data.files[0].attrs and not data.header.parts:
        raise UserError(f"{data.path}: is a part; give the dataset that it is a part of")


@contextlib.contextmanager
def is_row_intact(data: Dataset, row: int) -> Iterator[None]:
    """What is done with a sample; one that is damaged is said to be, on one line."""
    try:
        yield
    except DAMAGE as e:
        raise UserError(
            f"{data.path}: sample {row} is damaged ({one_line(e)}); 'labelgen verify' says more"
        ) from e


@dataclass(frozen=True)
class OpenDataset:
    """A dataset that rows are taken from: open, with its small columns and how it is stored."""

    data: Dataset
    columns: Mapping[str, Array]
    layout: SampleLayout
    plain: bool
    """Whether its chunks are filtered just as we would filter them."""

    @staticmethod
    def of(data: Dataset) -> OpenDataset:
        """Read the small columns of a dataset.

        Raises
        ------
        UserError
            They are damaged, or there is no sample.
        """
        refuse_part(data)
        if not len(data):
            raise UserError(f"{data.path}: no samples in it; build it again from more brackets")
        layout = data.layout
        encoder = Encoder(layout)
        ours = encoder.filters()
        encoder.close()
        plain = all([dataset_filters(images[n]) for n in IMAGES] == ours for images in data.images)
        return OpenDataset(data, {name: data.column(name) for name in SMALL_COLUMNS}, layout, plain)

    def runs(self, numbers: Array, layout: SampleLayout, prefix: str = "") -> list[SelectedRows]:
        """Rows by bracket, those that stand together; to be stored in some layout.

        Parameters
        ----------
        numbers : (N,) int
            The rows, in ascending order.
        layout : Layout
            Of the dataset they go into.
        prefix : str
            What the names of brackets get in front.
        """
        return [
            SelectedRows(self, numbers[first:end], prefix + name, layout)
            for name, first, end in scene_runs(self.columns["scene"][numbers])
        ]

    @property
    def all(self) -> Array:
        """The numbers of all rows."""
        return np.arange(len(self.data))


@dataclass(frozen=True)
class SelectedRows:
    """Rows of one bracket of a dataset, to be written into another (`Samples`).

    `numbers` (N,) int are the rows; `scene` is the name the bracket gets there. Samples are copied
    as they are stored where the `layout` of both is the same.
    """

    source: OpenDataset
    numbers: Array
    scene: str
    layout: SampleLayout

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.numbers)

    @property
    def branches(self) -> dict[str, int]:
        """Samples by branch."""
        counts = np.bincount(self.source.columns["branch"][self.numbers], minlength=len(BRANCHES))
        return {n: int(c) for n, c in sorted(zip(BRANCHES, counts, strict=False)) if c}

    def columns(self) -> dict[str, Array]:
        """The small columns of the rows, but for `scene`."""
        return {n: v[self.numbers] for n, v in self.source.columns.items() if n != "scene"}

    def chunks(self) -> Iterator[Chunks]:
        """The samples, as stored in the other dataset.

        Raises
        ------
        UserError
            One is damaged.
        """
        data = self.source.data
        copied = self.source.plain and self.source.layout == self.layout
        encoder = None if copied else Encoder(self.layout)
        for row in self.numbers.tolist():
            with is_row_intact(data, row):
                chunks = self._copied(row) if encoder is None else self._encoded(row, encoder)
            yield chunks
        if encoder is not None:
            encoder.close()

    def _copied(self, row: int) -> Chunks:
        part, local = self.source.data.locate(row)
        images = self.source.data.images[part]
        chunks = {name: _stored(images[name], local) for name in IMAGES}
        if not all(mask == 0 and has_valid_checksum(stored) for mask, stored in chunks.values()):
            raise OSError("checksum error")
        return chunks

    def _encoded(self, row: int, encoder: Encoder) -> Chunks:
        sample = {name: self.source.data.image(name, row) for name in IMAGES}
        sample["inputs"] = to_depth(sample["inputs"], self.layout.depth)
        return encoder.encode(sample)

    def free(self) -> None:
        """Nothing was made only to be written."""


def _stored(dataset: h5py.Dataset, row: int) -> tuple[int, bytes]:
    mask, data = dataset.id.read_direct_chunk((row, *(0,) * (dataset.ndim - 1)))
    return mask, data
