"""Open the HDF5 of a stranger: what a file holds is looked at before any of it is read.

HDF5 files can name other files (links, external storage, virtual datasets), claim sizes that they
don't have, and hold chunks that inflate to anything. A dataset of labelgen does none of this, so
that whatever does is refused. What is looked at here are headers alone, but for `check_chunk`.
"""

from __future__ import annotations

import errno
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
"""What h5py, numpy and json raise on damaged files (RecursionError is a RuntimeError)."""


PART = re.compile(r".*-\d{5,}-of-\d{5,}\.[^.]*")
"""Names of parts, which hold their samples themselves."""
BITSHUFFLE = 32008
DEFLATE = h5py.h5z.FILTER_DEFLATE
PIPELINES: dict[tuple[int, ...], int] = {
    (): 1,
    (h5py.h5z.FILTER_FLETCHER32,): 1,
    (h5py.h5z.FILTER_SHUFFLE, DEFLATE, h5py.h5z.FILTER_FLETCHER32): 1032,
    (BITSHUFFLE, h5py.h5z.FILTER_FLETCHER32): 255,
}
"""Filters that datasets pass, in order, and how many times smaller these can make them."""
MAX_OBJECTS, MAX_ATTRIBUTES = 64, 64
MAX_CHUNK = 2**28
"""Bytes of a sample, or of a chunk: 40 frames of 1,024 px and 16 bits."""
MAX_COLUMN = 2**30
MAX_TEXT = MAX_JSON_BYTES
"""Bytes of a root attribute, the longest of which are JSON."""
MAX_REST = 2**28
"""Bytes that are neither samples nor columns, beyond as many as those are themselves."""
KINDS = (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING)


class Refused(Exception):
    """Why a file is not read; the message names no file."""


def open_hdf5(path: Path) -> h5py.File:
    """Open an HDF5 file for reading; nothing in it has been looked at yet.

    Raises
    ------
    UserError
        Not there, no file, or not HDF5.
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
    """HDF5's numbers of the filters that the chunks of a dataset pass, in order."""
    settings = dataset.get_create_plist()
    return tuple(settings.get_filter(k)[0] for k in range(settings.get_nfilters()))


def load_filters(file: h5py.File, names: tuple[str, ...], path: Path) -> None:
    """Make the filter known that HDF5 does not have itself, if datasets that were checked pass it.

    Raises
    ------
    UserError
        The library that has it is not installed.
    """
    found = [file[name].id for name in names if isinstance(file.get(name), h5py.Dataset)]
    if any(BITSHUFFLE in filter_ids(dataset) for dataset in found):
        try:
            import hdf5plugin  # noqa: F401
        except ImportError:
            raise UserError(
                f"{path}: is compressed by bitshuffle, which needs hdf5plugin: "
                "pip install 'labelgen[codecs]'"
            ) from None


def check_attributes(thing: h5py.HLObject, most_values: int = 1) -> None:
    """Refuse attributes that are no numbers or texts, or too many or too large to be read.

    Raises
    ------
    Refused
        One is.
    """
    if len(thing.attrs) > MAX_ATTRIBUTES:
        raise Refused(f"{len(thing.attrs)} attributes, expected at most {MAX_ATTRIBUTES}")
    for name in thing.attrs:
        stored = thing.attrs.get_id(name)
        values = int(np.prod(stored.shape, dtype=object))
        if stored.get_type().get_class() not in KINDS or values > most_values:
            raise Refused(f"attribute {name!r} is neither one text nor one number")
        if stored.get_storage_size() > MAX_TEXT:
            raise Refused(f"attribute {name!r} is larger than {MAX_TEXT >> 20} MiB")


def check_datasets(file: h5py.File, names: tuple[str, ...], path: Path) -> None:
    """Refuse a file that reaches outside of itself, or claims more than it holds.

    Parameters
    ----------
    file : h5py.File
        Open.
    names : tuple of str
        The datasets that are going to be read, where they are there.
    path : Path
        Of the file. An index may show its parts, which lie beside it; a part may not.

    Raises
    ------
    Refused
        It does.
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
    if size - stored > MAX_REST + stored:
        raise Refused(f"{size - stored:,} bytes are no samples, expected few")


def _check_dataset(file: h5py.File, name: str, path: Path) -> int:
    """Bytes that a dataset takes in the file; 0 for anything else, which is never read."""
    dataset = h5py.h5o.open(file.id, name.encode())
    if not isinstance(dataset, h5py.h5d.DatasetID):
        return 0
    kind, settings = dataset.get_type(), dataset.get_create_plist()
    if settings.get_external_count():
        raise Refused(f"{name!r} lies in another file")
    text = kind.get_class() == h5py.h5t.STRING and kind.is_variable_str()
    if kind.get_class() not in KINDS or text:
        raise Refused(f"{name!r} holds neither numbers nor short texts")
    if settings.get_layout() == h5py.h5d.VIRTUAL:
        _check_virtual(settings, name, path)
        check_attributes(file[name], MAX_OBJECTS)
        return 0
    filters = filter_ids(dataset)
    if filters not in PIPELINES:
        raise Refused(f"{name!r} is stored with filters {list(filters)}, which no dataset has")
    check_attributes(file[name], MAX_OBJECTS)
    item, shape = int(kind.get_size()), tuple(map(int, dataset.shape))
    chunk = settings.get_chunk() if settings.get_layout() == h5py.h5d.CHUNKED else ()
    total, stored = item * _product(shape), int(dataset.get_storage_size())
    if max(item * _product(chunk), item * _product(shape[1:])) > MAX_CHUNK:
        raise Refused(f"a sample or chunk of {name!r} has more than {MAX_CHUNK >> 20} MiB")
    if len(shape) < 3 and total > MAX_COLUMN:
        raise Refused(f"{name!r} has {total:,} bytes, expected at most {MAX_COLUMN:,}")
    if total > stored * PIPELINES[filters]:
        raise Refused(f"{name!r} claims {total:,} bytes, which {stored:,} stored ones can't hold")
    return stored


def _product(shape: tuple[int, ...]) -> int:
    """Exact, of whatever size."""
    return int(np.prod([int(n) for n in shape], dtype=object))


def _check_virtual(settings: Any, name: str, path: Path) -> None:
    if PART.fullmatch(path.name):
        raise Refused(f"{name!r} lies in another file")
    for k in range(settings.get_virtual_count()):
        source = settings.get_virtual_filename(k)
        check_part_name(path, source)


def check_part_name(path: Path, name: str) -> None:
    """Refuse the name of a part that is not one of a file in the folder of its index.

    Raises
    ------
    Refused
        It leads elsewhere, or to a pipe or device.
    """
    part = path.parent / name
    if Path(name).name != name or not PART.fullmatch(name):
        raise Refused(f"part {name!r} is not a file beside it")
    if part.is_symlink() and part.resolve().parent != path.parent.resolve():
        raise Refused(f"part {name!r} is a link to another folder; copy it here")
    if part.exists() and not part.is_file():
        raise Refused(f"part {name!r} is not a file")


def check_chunk(dataset: h5py.Dataset, row: int) -> None:
    """Refuse a compressed chunk that does not have the size of a sample: HDF5 would inflate it all.

    Raises
    ------
    OSError
        It is longer or shorter, or damaged.
    """
    filters = filter_ids(dataset.id)
    if not {DEFLATE, BITSHUFFLE} & {*filters}:
        return
    _, stored = read_chunk(dataset, row)
    size = dataset.dtype.itemsize * _product(dataset.chunks)
    # Bitshuffle says its size ahead, and HDF5's filter believes it.
    ahead = BITSHUFFLE in filters
    found = int.from_bytes(stored[:8], "big") if ahead else _inflated(stored, size)
    if found != size:
        raise OSError(f"a chunk of {found} bytes or more, expected {size}")


def _inflated(stored: bytes, most: int) -> int:
    """Bytes that a deflated chunk has, looked at up to one more than expected."""
    try:
        return len(zlib.decompressobj().decompress(stored, most + 1))
    except zlib.error as e:
        raise OSError(f"can't be inflated: {e}") from e


def read_chunk(dataset: h5py.Dataset, row: int) -> tuple[int, bytes]:
    """Read the chunk of one sample as it is stored: mask of skipped filters, and bytes."""
    mask, stored = dataset.id.read_direct_chunk((row, *(0,) * (dataset.ndim - 1)))
    return mask, stored


def read_row(dataset: h5py.Dataset, row: int) -> Array:
    """One sample of an image dataset.

    Raises
    ------
    OSError
        Damaged.
    """
    check_chunk(dataset, row)
    return np.asarray(dataset[row])
