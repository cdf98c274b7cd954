"""Readers that `fuzz.py` feeds: valid inputs of each, and a function that reads one input.

Modules of labelgen are imported by the target that reads with them, so that a process of the
fuzzer loads only those.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np

from labelgen.core.errors import UserError


@dataclass(frozen=True)
class Target:
    """A reader to fuzz."""

    seeds: list[bytes]
    """Valid inputs."""
    name: str
    """File name of the inputs."""
    read: Callable[[Path], object]
    head: int = 0
    """Most mutations fall into this many first bytes; 0 is anywhere."""


def write_frames(folder: Path, count: int = 3) -> list[Path]:
    """Write small frames without exposures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{k}.png" for k in range(count)]
    for k, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((8, 8, 3), 40 * k, np.uint8))
    return paths


def exposure_lists(folder: Path) -> Target:
    """Lists of exposures, such as exposure.txt."""
    from labelgen.discovery.exposures import read_exposures
    from labelgen.discovery.layouts import LAYOUTS
    from labelgen.photos.header import read_photo_header

    frames = write_frames(folder / "bracket")
    headers = [read_photo_header(f) for f in frames]
    names = [name for layout in LAYOUTS for name in layout.exposure_lists]

    def read(path: Path) -> None:
        data = path.read_bytes()
        for name in names:
            listed = frames[0].parent / name
            listed.write_bytes(data)
            read_exposures(frames, headers)
            listed.unlink()

    npy = folder / "x.npy"
    np.save(npy, np.array([0.0, 2.0, 4.0]))
    texts = ["0\n2\n4\n", "1/60 1/15 1/4\n", "1,2,4\n-2,0,2", "# file name 1/s\n0.png 60\n1.png 4"]
    return Target([*(t.encode() for t in texts), npy.read_bytes()], "list", read)


def photos(folder: Path) -> Target:
    """Headers, EXIF, maker notes and pixels of photos."""
    from PIL import Image, TiffImagePlugin

    from labelgen.photos.decode import decode_photo
    from labelgen.photos.header import read_photo_header

    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canon", "EOS", 6
    exif.get_ifd(0x8769).update(
        {0x829A: TiffImagePlugin.IFDRational(1, 60), 0x829D: 5.6, 0x8827: 100, 0x927C: canon_note()}
    )
    image = Image.fromarray(np.arange(32 * 24 * 3, dtype=np.uint8).reshape(24, 32, 3))
    seeds = []
    for suffix in ("jpg", "png", "tif", "webp", "avif", "bmp"):
        path = folder / f"seed.{suffix}"
        image.save(path, **({} if suffix == "bmp" else {"exif": exif}))
        seeds.append(path.read_bytes())
    wide = np.arange(24 * 32 * 3, dtype=np.uint16).reshape(24, 32, 3) * 80
    for suffix, values in (("png", wide), ("tif", wide), ("tif", wide.astype(np.float32) / 65535)):
        seeds.append(cv2.imencode(f".{suffix}", values)[1].tobytes())
        clear = np.dstack([values, values[..., :1]])
        seeds.append(cv2.imencode(f".{suffix}", clear)[1].tobytes())
    try:
        import pillow_heif

        pillow_heif.from_pillow(image).save(folder / "seed.heic", exif=exif.tobytes())
        seeds.append((folder / "seed.heic").read_bytes())
    except ImportError:
        pass

    def read(path: Path) -> None:
        for named in (path, path.with_suffix(".heic"), path.with_suffix(".dng")):
            if named != path:
                os.link(path, named)
            read_photo_header(named)
            if named != path:
                named.unlink()
        decode_photo(path)

    return Target(seeds, "photo.jpg", read, 600)


def canon_note() -> bytes:
    """Return a maker note as Canon writes one."""
    shot = np.zeros(34, "<i2")
    shot[0], shot[17] = 68, 32
    entry = b"\x04\x00\x03\x00" + (34).to_bytes(4, "little") + (500).to_bytes(4, "little")
    return b"\x01\x00" + entry + bytes(4) + shot.tobytes()


def maker_notes(folder: Path) -> Target:
    """Maker notes, without the photo around them."""
    from labelgen.photos.makernote import read_bracketing

    entry = b"\x00\x11\x03\x00\x01\x00\x00\x00\x01\x00\x00\x00"
    fuji = b"FUJIFILM\x0c\x00\x00\x00\x01\x00" + entry
    nikon = b"Nikon\0\x02\x10\0\0II*\0\x08\0\0\0\x01\x00" + entry
    sony = b"SONY DSC \0\0\0\x01\x00\x49\xb0" + entry[2:]

    def read(path: Path) -> None:
        for make in ("Canon", "NIKON", "SONY", "FUJIFILM"):
            for order in "<>":
                read_bracketing(path.read_bytes(), make, order)

    return Target([canon_note(), fuji, nikon, sony], "note", read)


def tiff_directories(folder: Path) -> Target:
    """TIFF directories, without decoding pixels."""
    from labelgen.photos.tiff import check_directories, read_layout

    values = np.zeros((24, 32, 3), np.uint16)
    seeds = [cv2.imencode(".tif", v)[1].tobytes() for v in (values, values.astype(np.float32))]

    def read(path: Path) -> None:
        data = path.read_bytes()
        check_directories(data)
        read_layout(data)

    return Target(seeds, "x.tif", read, 10_000)


def radiance_files(folder: Path) -> Target:
    """Ground truth: Radiance and OpenEXR files."""
    from labelgen.photos.pictures import read_hdr, write_exr, write_hdr

    picture = np.random.default_rng(1).random((16, 24, 3)).astype(np.float32)
    write_hdr(folder / "a.hdr", picture)
    coded = cv2.imencode(".hdr", picture)[1].tobytes()
    seeds = [(folder / "a.hdr").read_bytes(), coded]
    try:
        write_exr(folder / "a.exr", picture)
        seeds.append((folder / "a.exr").read_bytes())
    except UserError:
        pass

    def read(path: Path) -> None:
        exr = path.read_bytes()[:4] == b"\x76\x2f\x31\x01"
        read_hdr(path.rename(path.with_suffix(".exr")) if exr else path)

    return Target(seeds, "truth.hdr", read, 400)


def write_datasets(folder: Path, frames: int = 2) -> list[Path]:
    """Write small datasets, one file of each compression."""
    from labelgen.dataset.columns import SampleLayout
    from labelgen.dataset.sample import Patch, Sample
    from labelgen.dataset.shard import Shard, ShardSource
    from tests.helpers.datasets import joined

    rng, made = np.random.default_rng(3), []
    head: dict[str, Any] = {"format": "labelgen", "format_version": 1, "frames": frames}
    head |= {"reference": 1, "patch": 16, "encoding": "gamma2.2", "recipe": {"name": "default"}}
    head |= {"generator": "labelgen", "fingerprint": "f" * 64, "license": "", "citation": ""}
    head |= {"scenes": {"one": {"size": [9, 9]}, "two": {"rejected": "too dark"}}}
    head["responses"] = {"Canon": {"name": "gamma2.2", "brackets": 2, "misfit": 0.5}}
    for compress in ("none", "gzip"):
        layout = SampleLayout(frames, 16, 8, compress)
        with Shard(folder / "shard", layout) as shard:
            for k in range(3):
                codes = rng.integers(0, 256, (frames, 16, 16, 3)).astype(np.uint8)
                label = rng.random((16, 16, 3)).astype(np.float16)
                weight = np.full((16, 16), 255, np.uint8)
                shard.append(Sample(codes, label, weight, Patch(k, 0, 0, 0), 0))
        made.append(folder / f"{compress}.h5")
        source = ShardSource(folder / "shard", "one", 3, (0.0, 2.0))
        joined([source], made[-1], layout, head, 8)
    return made


def dataset_files(folder: Path) -> Target:
    """Datasets, read by `info`, by `verify` and for training."""
    from labelgen.dataset.info import info
    from labelgen.dataset.verify import verify
    from trainer.data import dataset as module

    module.RETRY_PAUSES_S = ()

    def read(path: Path) -> None:
        for command in (info, verify):
            with contextlib.suppress(UserError):
                json.dumps(command(path))
        with module.PatchDataset(path) as data:
            data.scenes()
            for row in range(min(len(data), 3)):
                data[row]

    return Target([p.read_bytes() for p in write_datasets(folder)], "data.h5", read, 9000)


def dataset_copies(folder: Path) -> Target:
    """Datasets, read for cards, splits and exports."""
    from labelgen.dataset.reader import Dataset
    from labelgen.share.card_metadata import CardMetadata
    from labelgen.share.manifest import ManifestEntry
    from labelgen.share.markdown import readme
    from labelgen.share.rows import OpenDataset
    from labelgen.share.split import group_by_scene

    def read(path: Path) -> None:
        with Dataset(path) as data:
            facts = CardMetadata().completed(data.header)
            readme(data, facts, [ManifestEntry("data.h5", 9, "0" * 64)], has_recipe=True)
            group_by_scene(data.header, list(data.header.scenes))
            source = OpenDataset.of(data)
            for rows in source.select_all(source.layout):
                for _ in zip(range(3), rows.chunks(), strict=False):
                    pass

    return Target([p.read_bytes() for p in write_datasets(folder)], "data.h5", read, 9000)


def dataset_texts(folder: Path) -> Target:
    """JSON texts of a dataset: values of any type in an undamaged file."""
    from labelgen.dataset.info import info
    from labelgen.report import report
    from labelgen.share.card import card

    path = write_datasets(folder)[0].rename(folder / "out.h5")
    frames = [{"file": "a.png", "ev": 0.0, "sha256": "a"}, {"file": "b.png", "ev": 2.0}]
    scene = {"frames": frames, "size": [20, 30], "camera": "x", "response": "gamma2.2"}
    scene |= {"branches": {"static": 3}, "label": {"static": 0.5, "alignment_px": [0.0, 1.0]}}
    step = {"by": "merge", "of": [{"file": "c.h5", "samples": 3, "options": {}, "derived": []}]}
    notes = {
        "scenes": {"one": scene | {"looks": "0123456789abcdef", "noise": {"full_well": 2e4}}},
        "options": {"limit": 3, "excluded": {"a*": 2}, "part_bytes": 9, "reference": "auto"},
        "derived": [step],
        "responses": {"x": {"name": "srgb", "brackets": 2, "misfit": None}},
        "recipe": {"name": "default", "labels": "pseudo", "seed": 0},
    }

    def read(given: Path) -> None:
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(given.read_bytes())
            if not isinstance(said, dict):
                return
            with h5py.File(path, "r+") as file:
                for name in notes:
                    file.attrs[name] = json.dumps(said.get(name, notes[name]))
        for command in (
            lambda: json.dumps(info(path)),
            lambda: card(path, overwrite=True),
            lambda: report(path, folder / "report.html", overwrite=True),
        ):
            with contextlib.suppress(UserError):
                command()

    return Target([json.dumps(notes).encode()], "notes.json", read)


def manifests(folder: Path) -> Target:
    """The manifest of a published dataset: SHA256SUMS and croissant.json."""
    from labelgen.share.card import card
    from labelgen.share.card_metadata import CardMetadata
    from labelgen.share.remote_manifest import default_folder, read_remote_manifest

    made = write_datasets(folder)[0]
    offered = folder / "offered"
    offered.mkdir(exist_ok=True)
    made = made.rename(offered / "out.h5")
    card(made, CardMetadata(license="CC0-1.0", origin="mine"), overwrite=True)
    sums, croissant = ((offered / n).read_bytes() for n in ("SHA256SUMS", "croissant.json"))
    digest = hashlib.sha256(croissant).hexdigest().encode()

    def read(path: Path) -> None:
        data = path.read_bytes()
        if data.lstrip()[:1] == b"{":  # with the right digest, so that it is parsed
            (offered / "croissant.json").write_bytes(data)
            data = sums.replace(digest, hashlib.sha256(data).hexdigest().encode())
        (offered / "SHA256SUMS").write_bytes(data)
        default_folder(read_remote_manifest(str(offered)))

    return Target([sums, croissant], "list", read)


def recipes(folder: Path) -> Target:
    """Recipes as TOML."""
    from labelgen.core.recipe import RECIPES, load_recipe

    return Target(
        [r.as_toml().encode() for r in RECIPES.values()],
        "recipe.toml",
        lambda path: load_recipe(str(path)).as_toml(),
    )


def groups(folder: Path) -> Target:
    """groups.json."""
    from labelgen.discovery.groups_file import brackets_as_json, read_groups
    from labelgen.discovery.scan import scan

    raw = folder / "raw"
    for name in ("one", "two"):
        write_frames(raw / name)
        (raw / name / "exposure.txt").write_text("0\n2\n4\n")
    seed = json.dumps(brackets_as_json(scan(raw), raw), indent=1).encode()
    return Target([seed], "groups.json", lambda path: read_groups(path, raw))


def responses(folder: Path) -> Target:
    """Camera responses as JSON."""
    from labelgen.calibration.known_responses import load_responses

    curve = [k / 255 for k in range(256)]
    stored = {"a": {"name": "srgb"}, "b": {"name": "estimated", "curves": [curve] * 3}}
    return Target([json.dumps(stored).encode()], "r.json", lambda path: load_responses(str(path)))


def training_runs(folder: Path) -> Target:
    """Training runs: config.json and last.pt."""
    import torch

    from trainer.checkpoint import load_model
    from trainer.config import Config, read_config, read_responses, write_config
    from trainer.models import build

    config = Config("f", 3, 2, 1, 16, "lean", "mu-l1", 9, 2, 1e-3, 1, 0.0, 0.9, 1)
    write_config(folder, config, {"a": {"name": "srgb"}})
    whole = (folder / "config.json").read_bytes()
    small = {"ema": {"w": torch.ones(3)}, "step": 3}
    torch.save(small, folder / "small.pt")
    torch.save({"ema": build("lean", 2, 1).state_dict(), "step": 3}, folder / "last.pt")
    right = (folder / "last.pt").read_bytes()

    def read(path: Path) -> None:
        data, run = path.read_bytes(), path.parent
        is_config = data[:1] != b"P"
        (run / "config.json").write_bytes(data if is_config else whole)
        (run / "last.pt").write_bytes(right if is_config else data)
        if is_config:
            read_config(run)
            read_responses(run)
        load_model(run, torch.device("cpu"))

    seeds = [whole, (folder / "small.pt").read_bytes(), right]
    return Target(seeds, "input", read)


TARGETS: dict[str, Callable[[Path], Target]] = {
    "lists": exposure_lists,
    "photos": photos,
    "notes": maker_notes,
    "tiff": tiff_directories,
    "truths": radiance_files,
    "datasets": dataset_files,
    "shared": dataset_copies,
    "texts": dataset_texts,
    "offers": manifests,
    "recipes": recipes,
    "groups": groups,
    "responses": responses,
    "runs": training_runs,
}
