"""Select rows of datasets for another dataset; chunks are copied as they are stored if possible."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.response import to_depth
from labelgen.core.validation import one_line
from labelgen.dataset.chunks import Chunks, Encoder, dataset_filters
from labelgen.dataset.columns import IMAGES, SMALL_COLUMNS, SampleLayout, count_branches
from labelgen.dataset.fletcher32 import has_valid_checksum
from labelgen.dataset.reader import Dataset, scene_runs
from labelgen.dataset.safe_hdf5 import DAMAGE, read_chunk


def refuse_part(data: Dataset) -> None:
    """Refuse a single part of a dataset: it has the fingerprint of the whole.

    Raises
    ------
    UserError
        It is one.
    """
    if "part" in data.files[0].attrs and not data.header.parts:
        raise UserError(f"{data.path}: is a part; give the dataset that it is a part of")


@contextlib.contextmanager
def reporting_damage(data: Dataset, row: int) -> Iterator[None]:
    """Report errors in reading a sample as damage of the dataset.

    Raises
    ------
    UserError
        For any of `DAMAGE`.
    """
    try:
        yield
    except DAMAGE as e:
        raise UserError(
            f"{data.path}: sample {row} is damaged ({one_line(e)}); 'labelgen verify' says more"
        ) from e


@dataclass(frozen=True)
class OpenDataset:
    """An open dataset to take rows from, with its small columns in memory."""

    data: Dataset
    columns: Mapping[str, Array]
    layout: SampleLayout
    is_copyable: bool
    """Whether its chunks are filtered exactly as `Encoder` would filter them."""

    @staticmethod
    def of(data: Dataset) -> OpenDataset:
        """Read the small columns of a dataset.

        Raises
        ------
        UserError
            They are damaged, or there are no samples.
        """
        refuse_part(data)
        if not len(data):
            raise UserError(f"{data.path}: no samples in it; build it again from more brackets")
        layout = data.layout
        encoder = Encoder(layout)
        filters = encoder.filters()
        encoder.close()
        is_copyable = all(
            [dataset_filters(images[name]) for name in IMAGES] == filters for images in data.images
        )
        columns = {name: data.column(name) for name in SMALL_COLUMNS}
        return OpenDataset(data, columns, layout, is_copyable)

    def select(self, indices: Array, layout: SampleLayout, prefix: str = "") -> list[SelectedRows]:
        """Select rows, grouped by bracket.

        Parameters
        ----------
        indices : (N,) int
            The rows, in ascending order.
        layout : SampleLayout
            Of the dataset they are written to.
        prefix : str
            Put before the names of the brackets.
        """
        return [
            SelectedRows(self, indices[first:end], prefix + name, layout)
            for name, first, end in scene_runs(self.columns["scene"][indices])
        ]

    def select_all(self, layout: SampleLayout, prefix: str = "") -> list[SelectedRows]:
        """Select all rows, as `select`."""
        return self.select(np.arange(len(self.data)), layout, prefix)


@dataclass(frozen=True)
class SelectedRows:
    """Rows of one bracket, as a source of samples for another dataset (`SampleSource`)."""

    source: OpenDataset
    indices: Array
    """The rows in the source, (N,) int."""
    scene: str
    """Name of the bracket in the other dataset."""
    layout: SampleLayout
    """Of the other dataset. Chunks are copied if the source has the same, else encoded anew."""

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.indices)

    @property
    def branches(self) -> dict[str, int]:
        """Number of samples by branch, sorted by name."""
        return dict(sorted(count_branches(self.source.columns["branch"][self.indices]).items()))

    def columns(self) -> dict[str, Array]:
        """Small columns of the rows, except `scene`."""
        columns = self.source.columns
        return {name: columns[name][self.indices] for name in SMALL_COLUMNS if name != "scene"}

    def chunks(self) -> Iterator[Chunks]:
        """Chunks of each sample, as the other dataset stores them.

        Raises
        ------
        UserError
            A sample is damaged.
        """
        data = self.source.data
        is_copied = self.source.is_copyable and self.source.layout == self.layout
        encoder = None if is_copied else Encoder(self.layout)
        for row in self.indices.tolist():
            with reporting_damage(data, row):
                chunks = self._copy(row) if encoder is None else self._encode(row, encoder)
            yield chunks
        if encoder is not None:
            encoder.close()

    def _copy(self, row: int) -> Chunks:
        file, local_row = self.source.data.locate(row)
        images = self.source.data.images[file]
        chunks = {name: read_chunk(images[name], local_row) for name in IMAGES}
        if not all(mask == 0 and has_valid_checksum(stored) for mask, stored in chunks.values()):
            raise OSError("checksum error")
        return chunks

    def _encode(self, row: int, encoder: Encoder) -> Chunks:
        sample = {name: self.source.data.image(name, row) for name in IMAGES}
        sample["inputs"] = to_depth(sample["inputs"], self.layout.depth)
        return encoder.encode(sample)

    def free(self) -> None:
        """Do nothing: there are no temporary files."""
