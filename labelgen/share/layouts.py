"""Export a dataset in layouts that other training code reads.

``webdataset``: tar files of PNG and NPY, ``000000.tar`` and so on [1]_.
``sig17``: a folder for each sample, like the crops of the SIGGRAPH'17 set [2]_.

References
----------
.. [1] A. Aizman, G. Maltby, T. Breuel, "High Performance I/O For Large Scale Deep Learning",
       IEEE Big Data 2019. https://doi.org/10.1109/BigData47090.2019.9005703
.. [2] N. K. Kalantari, R. Ramamoorthi, "Deep High Dynamic Range Imaging of Dynamic Scenes",
       ACM TOG 36(4), 2017. https://doi.org/10.1145/3072959.3073609
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes
from labelgen.core.errors import UserError
from labelgen.core.files import check_free_space, check_parent, sync, temporary_path, write_synced
from labelgen.core.progress import Progress, Silent
from labelgen.core.response import to_depth
from labelgen.dataset.columns import BRANCHES, IMAGES
from labelgen.dataset.reader import Dataset, scene_name
from labelgen.photos.pictures import encode_hdr, encode_png
from labelgen.share.rows import OpenDataset, reporting_damage

LAYOUTS = ("webdataset", "sig17")
SHARD_BYTES = 1 << 28
"""Default size above which another tar file is begun."""
KEY_DIGITS = 8
SIG17_FILE = re.compile(r"\d+\.tif|label\.hdr|weight\.png|exposure\.txt")
"""Files of a sample in the layout sig17."""


class ExportedSample(NamedTuple):
    """A sample to write. `key` is its name in the export: the number of its row in the dataset."""

    key: str
    inputs: Codes
    label: Array
    weight: Array
    row: int


def export(
    path: Path,
    out: Path,
    layout: str = "webdataset",
    *,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Export a dataset into a new folder, in a layout that other training code reads.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    out : Path
        Folder to make.
    layout : {"webdataset", "sig17"}
        ``webdataset``: tar files with ``KEY.0.png`` ... (codes of 8 or 16 bits, lossless),
        ``KEY.label.npy`` (float16 radiance), ``KEY.weight.png`` and ``KEY.json`` (ev, scene,
        origin, branch, variant, reference) for each sample. ``sig17``: a folder for each sample
        with ``0.tif`` ... (16 bits), ``label.hdr`` (radiance as RGBE, in steps of 0.4 to 0.8 %),
        ``weight.png`` and ``exposure.txt`` (stops, one per line).
    shard_bytes : int
        Size above which another tar file is begun.
    overwrite : bool
        Replace an earlier export.
    progress : Progress, optional
        Reports every sample.

    Returns
    -------
    int
        Number of samples.

    Raises
    ------
    UserError
        The folder exists, the disk has no room, or a sample is damaged.
    """
    if layout not in LAYOUTS:
        raise UserError(f"--layout is '{layout}', expected {' or '.join(LAYOUTS)}")
    if shard_bytes < 1:
        raise UserError(f"--shard-size is {shard_bytes} bytes, expected at least 1")
    progress = progress or Silent()
    with Dataset(path) as data:
        source = OpenDataset.of(data)
        _check_folder(out, overwrite)
        # The exported images are never larger than the uncompressed samples.
        check_free_space(out.parent, len(data) * source.layout.sample_bytes)
        temporary = temporary_path(out)
        temporary.mkdir()
        try:
            progress.start("export", len(data))
            if layout == "sig17":
                _write_folders(source, temporary, progress)
            else:
                _write_tars(source, temporary, shard_bytes, progress)
            sync(temporary)
            _check_folder(out, overwrite)  # again: it may have been made in the meantime
            if out.exists():
                shutil.rmtree(out)
            temporary.replace(out)
            sync(out.parent)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        return len(data)


def _check_folder(out: Path, overwrite: bool) -> None:
    """Refuse an existing folder, unless it is an earlier export that may be replaced."""
    check_parent(out)
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"{out}: exists; give --overwrite to replace it, or another name")
    if out.is_symlink() or not out.is_dir() or not all(map(_is_exported, out.iterdir())):
        raise UserError(f"{out}: holds more than an export, so not ours to replace; give another")


def _is_exported(path: Path) -> bool:
    """Whether a file or folder looks like one that an export makes."""
    if path.is_symlink() or not path.stem.isdigit():
        return False
    if path.is_dir():
        return all(SIG17_FILE.fullmatch(p.name) and not p.is_dir() for p in path.iterdir())
    return path.suffix == ".tar"


def _read_samples(source: OpenDataset, progress: Progress) -> Iterator[ExportedSample]:
    data = source.data
    for row in range(len(data)):
        with reporting_damage(data, row):
            inputs, label, weight = (data.image(name, row) for name in IMAGES)
        yield ExportedSample(f"{row:0{KEY_DIGITS}d}", inputs, label, weight, row)
        progress.step(1, False)


def _write_folders(source: OpenDataset, out: Path, progress: Progress) -> None:
    """Write all samples in the layout sig17."""
    for key, inputs, label, weight, row in _read_samples(source, progress):
        folder = out / key
        folder.mkdir()
        for i, codes in enumerate(to_depth(inputs, 16)):
            ok, data = cv2.imencode(".tif", np.ascontiguousarray(codes[..., ::-1]))
            if not ok:
                raise UserError(f"{folder}: a frame can't be encoded as TIFF")
            write_synced(folder / f"{i}.tif", data.tobytes())
        write_synced(folder / "label.hdr", encode_hdr(label.astype(np.float32)))
        write_synced(folder / "weight.png", encode_png(weight))
        lines = [f"{ev:.6f}\n" for ev in source.columns["ev"][row]]
        write_synced(folder / "exposure.txt", "".join(lines).encode())
        sync(folder)


def _write_tars(source: OpenDataset, out: Path, shard_bytes: int, progress: Progress) -> None:
    """Write all samples in the layout webdataset."""
    samples = _read_samples(source, progress)
    for number in count():
        first = next(samples, None)
        if first is None:
            return
        path = out / f"{number:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in chain([first], samples):
                _add_sample(tar, source, sample)
                if tar.offset > shard_bytes:
                    break
        sync(path)


def _add_sample(tar: tarfile.TarFile, source: OpenDataset, sample: ExportedSample) -> None:
    key, inputs, label, weight, row = sample
    files = {f"{i}.png": encode_png(codes) for i, codes in enumerate(inputs)}
    files |= {
        "label.npy": _encode_npy(label),
        "weight.png": encode_png(weight),
        "json": _describe(source, row),
    }
    for name, data in files.items():
        entry = tarfile.TarInfo(f"{key}.{name}")  # no time and no owner, so the bytes do not vary
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


def _encode_npy(values: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _describe(source: OpenDataset, row: int) -> bytes:
    """Return the small columns of a sample, and the number of its reference frame, as JSON."""
    columns = source.columns
    description = {
        "ev": [float(ev) for ev in columns["ev"][row]],
        "scene": scene_name(columns["scene"][row]),
        "origin": columns["origin"][row].tolist(),
        "branch": BRANCHES[int(columns["branch"][row])],
        "variant": int(columns["variant"][row]),
        "reference": source.data.header.reference,
    }
    return json.dumps(description).encode()
