"""Check an untrusted HDF5 file before any data in it is read.

An HDF5 file can refer to other files (links, external storage, virtual datasets), claim more data
than it holds, and hold chunks that inflate to any size. Datasets of labelgen do none of this, but
for an index, whose virtual datasets refer to the parts beside it. So files that do are refused. All
checks read headers only, except `check_chunk`.

"Dataset" has two meanings here: a dataset of labelgen is a file, which holds several HDF5 datasets.
"""

from __future__ import annotations

import errno
import math
import re
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.validation import MAX_JSON_BYTES

DAMAGE = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OSError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)
"""What h5py, NumPy and json raise for damaged files. RecursionError is a RuntimeError."""

PART = re.compile(r".*-\d{5,}-of-\d{5,}\.[^.]*")
"""File name of a part of a dataset, such as out-00000-of-00002.h5."""
BITSHUFFLE = 32008
"""Registered number of the bitshuffle filter, which hdf5plugin adds to HDF5."""
DEFLATE = h5py.h5z.FILTER_DEFLATE
PIPELINES: dict[tuple[int, ...], int] = {
    (): 1,
    (h5py.h5z.FILTER_FLETCHER32,): 1,
    (h5py.h5z.FILTER_SHUFFLE, DEFLATE, h5py.h5z.FILTER_FLETCHER32): 1032,
    (BITSHUFFLE, h5py.h5z.FILTER_FLETCHER32): 255,
}
"""Filters that labelgen writes, in the order of their use, with their largest compression ratio."""
MAX_OBJECTS, MAX_ATTRIBUTES = 64, 64
"""Objects in the root of a file, and attributes of each object."""
MAX_CHUNK = 2**28
"""Bytes of a sample or chunk: 40 frames of 1,024 x 1,024 px and 16 bits."""
MAX_COLUMN = 2**30
"""Bytes of a column with a few numbers or a text per sample."""
MAX_TEXT = MAX_JSON_BYTES
"""Bytes of an attribute; the longest are JSON."""
MAX_OTHER = 2**28
"""Bytes of a file outside its columns: as many as inside, plus this number."""
ALLOWED_CLASSES = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)


class Refused(Exception):
    """A file is not safe to read. The caller adds the name of the file to the message."""


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading, without any check of its content.

    Raises
    ------
    UserError
        The file is missing, not a regular file, unreadable, or not HDF5; or too many are open.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; 'labelgen build RAW {path.name}' makes one")
    if not path.is_file():  # opening a pipe would wait for its other end
        raise UserError(f"{path}: not a file; expected a dataset")
    try:
        return h5py.File(path, "r", locking=False)
    except PermissionError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e
    except (OSError, RuntimeError, ValueError) as e:
        if f"errno = {errno.EMFILE}," in str(e):
            raise UserError(
                f"{path}: more files than this process may open (ulimit -n); 'labelgen pack' it"
            ) from e
        raise UserError(f"{path}: not a whole HDF5 file; copy or build it again") from e


def filter_ids(dataset: h5py.h5d.DatasetID) -> tuple[int, ...]:
    """Return the numbers of the filters of a dataset, in the order in which they are applied."""
    settings = dataset.get_create_plist()
    return tuple(settings.get_filter(k)[0] for k in range(settings.get_nfilters()))


def load_filters(file: h5py.File, names: tuple[str, ...], path: Path) -> None:
    """Load the bitshuffle filter, which HDF5 lacks, if one of these datasets is stored with it.

    Parameters
    ----------
    file : h5py.File
        A file that `check_datasets` accepted.
    names : tuple of str
        Datasets that will be read, if they exist.
    path : Path
        Path of the file, for the message.

    Raises
    ------
    UserError
        hdf5plugin is not installed.
    """
    datasets = [file[name].id for name in names if isinstance(file.get(name), h5py.Dataset)]
    if any(BITSHUFFLE in filter_ids(dataset) for dataset in datasets):
        try:
            import hdf5plugin  # noqa: F401
        except ImportError:
            raise UserError(
                f"{path}: is compressed by bitshuffle, which needs hdf5plugin: "
                "pip install 'labelgen[codecs]'"
            ) from None


def check_attributes(owner: h5py.HLObject, max_values: int = 1) -> None:
    """Refuse attributes that are neither numbers nor text, too many, or too large.

    Parameters
    ----------
    owner : h5py.HLObject
        File, group or dataset.
    max_values : int
        Largest number of elements of an attribute.

    Raises
    ------
    Refused
        An attribute is refused.
    """
    if len(owner.attrs) > MAX_ATTRIBUTES:
        raise Refused(f"{len(owner.attrs)} attributes, expected at most {MAX_ATTRIBUTES}")
    for name in owner.attrs:
        stored = owner.attrs.get_id(name)
        if (
            stored.get_type().get_class() not in ALLOWED_CLASSES
            or _product(stored.shape) > max_values
        ):
            raise Refused(f"attribute {name!r} is neither one text nor one number")
        if stored.get_storage_size() > MAX_TEXT:
            raise Refused(f"attribute {name!r} is larger than {MAX_TEXT >> 20} MiB")


def check_datasets(file: h5py.File, names: tuple[str, ...], path: Path) -> None:
    """Refuse a file that refers to other files, or claims more data than it holds.

    Parameters
    ----------
    file : h5py.File
        The open file.
    names : tuple of str
        Datasets that will be read, if they exist. The others are not checked.
    path : Path
        Path of the file. An index may refer to the parts beside it; a part may refer to no file.

    Raises
    ------
    Refused
        The file is refused.
    """
    if len(file) > MAX_OBJECTS:
        raise Refused(f"{len(file)} objects, expected at most {MAX_OBJECTS}")
    for name in file:
        if file.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise Refused(f"{name!r} is a link; a dataset holds none")
    stored = sum(_check_dataset(file, name, path) for name in names if name in file)
    size = path.stat().st_size
    if stored > size:
        raise Refused(f"claims {stored:,} bytes of samples, and has {size:,} in all")
    if size - stored > MAX_OTHER + stored:
        raise Refused(f"{size - stored:,} bytes are no samples, expected few")


def _check_dataset(file: h5py.File, name: str, path: Path) -> int:
    """Check one dataset, and return the bytes of it that the file stores.

    They are 0 for a virtual dataset, and for groups and datatypes, which are never read.
    """
    dataset = h5py.h5o.open(file.id, name.encode())
    if not isinstance(dataset, h5py.h5d.DatasetID):
        return 0
    datatype, settings = dataset.get_type(), dataset.get_create_plist()
    if settings.get_external_count():
        raise Refused(f"{name!r} lies in another file")
    type_class = datatype.get_class()
    is_variable = type_class == h5py.h5t.STRING and datatype.is_variable_str()
    if type_class not in ALLOWED_CLASSES or is_variable:
        raise Refused(f"{name!r} holds neither numbers nor short texts")
    if settings.get_layout() == h5py.h5d.VIRTUAL:
        _check_virtual(settings, name, path)
        check_attributes(file[name], MAX_OBJECTS)
        return 0
    filters = filter_ids(dataset)
    if filters not in PIPELINES:
        raise Refused(f"{name!r} is stored with filters {list(filters)}, which no dataset has")
    check_attributes(file[name], MAX_OBJECTS)
    item_bytes, shape = int(datatype.get_size()), tuple(map(int, dataset.shape))
    chunk = settings.get_chunk() if settings.get_layout() == h5py.h5d.CHUNKED else ()
    total, stored = item_bytes * _product(shape), int(dataset.get_storage_size())
    if item_bytes * max(_product(chunk), _product(shape[1:])) > MAX_CHUNK:
        raise Refused(f"a sample or chunk of {name!r} has more than {MAX_CHUNK >> 20} MiB")
    if len(shape) < 3 and total > MAX_COLUMN:
        raise Refused(f"{name!r} has {total:,} bytes, expected at most {MAX_COLUMN:,}")
    if total > stored * PIPELINES[filters]:
        raise Refused(f"{name!r} claims {total:,} bytes, which {stored:,} stored ones can't hold")
    return stored


def _product(shape: tuple[int, ...]) -> int:
    """Return the number of elements exactly. `np.prod` would overflow for some claimed shapes."""
    return math.prod(map(int, shape))


def _check_virtual(settings: Any, name: str, path: Path) -> None:
    """Refuse a virtual dataset, unless it is in an index and refers to parts beside it."""
    if PART.fullmatch(path.name):
        raise Refused(f"{name!r} lies in another file")
    for k in range(settings.get_virtual_count()):
        check_part_name(path, settings.get_virtual_filename(k))


def check_part_name(path: Path, name: str) -> None:
    """Refuse the name of a part that is not a regular file in the folder of its index.

    Parameters
    ----------
    path : Path
        Path of the index.
    name : str
        File name of the part, as the index states it. The file may be missing.

    Raises
    ------
    Refused
        The name leads to another folder, a pipe or a device.
    """
    part = path.parent / name
    if Path(name).name != name or not PART.fullmatch(name):
        raise Refused(f"part {name!r} is not a file beside it")
    if part.is_symlink() and part.resolve().parent != path.parent.resolve():
        raise Refused(f"part {name!r} is a link to another folder; copy it here")
    if part.exists() and not part.is_file():
        raise Refused(f"part {name!r} is not a file")


def check_chunk(dataset: h5py.Dataset, row: int) -> None:
    """Refuse a compressed chunk that does not inflate to the size of a sample.

    HDF5 itself would inflate it to any size, and so use up the memory.

    Parameters
    ----------
    dataset : h5py.Dataset
        An image column.
    row : int
        Index of the sample.

    Raises
    ------
    OSError
        The chunk is longer or shorter than a sample, or damaged.
    """
    filters = filter_ids(dataset.id)
    if not {DEFLATE, BITSHUFFLE} & {*filters}:
        return
    _, stored = read_chunk(dataset, row)
    size = dataset.dtype.itemsize * _product(dataset.chunks)
    if BITSHUFFLE in filters:  # its chunks begin with their size, which HDF5's filter trusts
        inflated = int.from_bytes(stored[:8], "big")
    else:
        inflated = _inflated_bytes(stored, size + 1)
    if inflated != size:
        raise OSError(f"a chunk of {inflated} bytes or more, expected {size}")


def _inflated_bytes(stored: bytes, max_bytes: int) -> int:
    """Return the inflated size of a deflated chunk, at most `max_bytes`."""
    try:
        return len(zlib.decompressobj().decompress(stored, max_bytes))
    except zlib.error as e:
        raise OSError(f"can't be inflated: {e}") from e


def read_chunk(dataset: h5py.Dataset, row: int) -> tuple[int, bytes]:
    """Read the chunk of one sample as it is stored.

    Returns
    -------
    mask : int
        Bit k is set if filter k was skipped for this chunk.
    stored : bytes
        The chunk, with its checksum.
    """
    mask, stored = dataset.id.read_direct_chunk((row, *(0,) * (dataset.ndim - 1)))
    return mask, stored


def read_row(dataset: h5py.Dataset, row: int) -> Array:
    """Read one sample of an image column, without its first axis.

    Raises
    ------
    OSError
        The chunk is damaged.
    """
    check_chunk(dataset, row)
    return np.asarray(dataset[row])
