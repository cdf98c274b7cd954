"""A dataset in the forms that other training code reads: tar files, or folders of crops.

``webdataset``: samples of `IMAGES` as PNG and NPY in tar files, ``000000.tar`` and so on [1]_.
``sig17``: a folder a sample, as code for the SIGGRAPH'17 set [2]_ reads its crops.

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
from collections.abc import Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeAlias

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
DIGITS = 8
CROP = re.compile(r"\d+\.tif|label\.hdr|weight\.png|exposure\.txt")
"""Files of a sample in the layout sig17."""

SampleArrays: TypeAlias = tuple[str, Codes, Array, Array, int]
"""Key, codes, label, weight and row."""


def export(
    path: Path,
    out: Path,
    layout: str = "webdataset",
    *,
    shard_bytes: int = SHARD_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write a dataset into a new folder, in a form that other code reads.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    out : Path
        Folder to make.
    layout : {"webdataset", "sig17"}
        ``webdataset``: tar files, which for each sample hold ``KEY.0.png`` ... (codes, 8 or 16
        bits, lossless), ``KEY.label.npy`` (float16 radiance), ``KEY.weight.png`` and ``KEY.json``
        (ev, scene, origin, branch, variant). ``sig17``: for each sample a folder with ``0.tif``
        ... (16 bits), ``label.hdr`` (radiance, RGBE: steps of 0.4 to 0.8 %), ``weight.png`` and
        ``exposure.txt`` (stops, one a line).
    shard_bytes : int
        Size above which another tar file is begun.
    overwrite : bool
        Replace an earlier export.
    progress : Progress, optional
        Told what happens.

    Returns
    -------
    int
        Number of samples.

    Raises
    ------
    UserError
        The folder is there already, or a sample is damaged.
    """
    if layout not in LAYOUTS:
        raise UserError(f"--layout is '{layout}', expected {' or '.join(LAYOUTS)}")
    if shard_bytes < 1:
        raise UserError(f"--shard-size is {shard_bytes} bytes, expected at least 1")
    tell = progress or Silent()
    with Dataset(path) as data:
        source = OpenDataset.of(data)
        _check_folder(out, overwrite)
        # Pictures are at most as large as the samples.
        check_free_space(out.parent, len(data) * source.layout.sample_bytes)
        work = temporary_path(out)
        work.mkdir()
        try:
            tell.start("export", len(data))
            if layout == "sig17":
                _folders(source, work, tell)
            else:
                _tars(source, work, shard_bytes, tell)
            sync(work)
            _check_folder(out, overwrite)  # once more: it may have been made meanwhile
            if out.exists():
                shutil.rmtree(out)
            work.replace(out)
            sync(out.parent)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        return len(data)


def _check_folder(out: Path, overwrite: bool) -> None:
    """Refuse a folder that is there, but for an earlier export that is to be replaced."""
    check_parent(out)
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"{out}: exists; give --overwrite to replace it, or another name")
    if out.is_symlink() or not out.is_dir() or not all(map(_is_ours, out.iterdir())):
        raise UserError(f"{out}: holds more than an export, so not ours to replace; give another")


def _is_ours(path: Path) -> bool:
    """Whether a thing in a folder is one that an export makes."""
    if path.is_symlink() or not path.stem.isdigit():
        return False
    if path.is_dir():
        return all(CROP.fullmatch(p.name) and not p.is_dir() for p in path.iterdir())
    return path.suffix == ".tar"


def _samples(source: OpenDataset, tell: Progress) -> Iterator[SampleArrays]:
    """Every sample: its key, codes, label, weight and row."""
    data = source.data
    for row in range(len(data)):
        with reporting_damage(data, row):
            inputs, label, weight = (data.image(name, row) for name in IMAGES)
        yield f"{row:0{DIGITS}d}", inputs, label, weight, row
        tell.step(1, False)


def _folders(source: OpenDataset, work: Path, tell: Progress) -> None:
    for key, inputs, label, weight, row in _samples(source, tell):
        folder = work / key
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


def _tars(source: OpenDataset, work: Path, shard_bytes: int, tell: Progress) -> None:
    samples = _samples(source, tell)
    for number in count():
        first = next(samples, None)
        if first is None:
            return
        path = work / f"{number:06d}.tar"
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
            for sample in chain([first], samples):
                _add(tar, source, sample)
                if tar.offset > shard_bytes:
                    break
        sync(path)


def _add(tar: tarfile.TarFile, source: OpenDataset, sample: SampleArrays) -> None:
    key, inputs, label, weight, row = sample
    files = {f"{i}.png": encode_png(codes) for i, codes in enumerate(inputs)}
    files |= {
        "label.npy": _npy(label),
        "weight.png": encode_png(weight),
        "json": _facts(source, row),
    }
    for name, data in files.items():
        entry = tarfile.TarInfo(f"{key}.{name}")  # no time, no owner: the same bytes again
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))


def _npy(values: Array) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _facts(source: OpenDataset, row: int) -> bytes:
    """What a sample is, as JSON."""
    columns = source.columns
    facts: Mapping[str, Any] = {
        "ev": [float(ev) for ev in columns["ev"][row]],
        "scene": scene_name(columns["scene"][row]),
        "origin": columns["origin"][row].tolist(),
        "branch": BRANCHES[int(columns["branch"][row])],
        "variant": int(columns["variant"][row]),
        "reference": source.data.header.reference,
    }
    return json.dumps(facts).encode()
