"""Datasets read by the programs of others, unchanged; those that are not installed are skipped.

All of them: ``pip install -e '.[dev,interop]'`` and, of Debian, ``hdf5-tools`` and ``octave``.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from labelgen.core.errors import UserError
from labelgen.dataset.reader import Dataset
from labelgen.photos.pictures import read_hdr
from labelgen.pipeline.build import build
from labelgen.share.card import card
from labelgen.share.card_metadata import CardMetadata
from labelgen.share.layouts import export


@pytest.fixture(scope="module", params=["none", "gzip"])
def dataset(
    raw: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    path = tmp_path_factory.mktemp(request.param) / "out.h5"
    build(raw, path, jobs=1, limit=2, compress=request.param)
    return path


def test_h5py_alone(dataset: Path) -> None:
    """In a process that knows nothing of labelgen, by the rule of the format."""
    code = """
import sys, h5py, numpy as np
with h5py.File(sys.argv[1]) as f:
    top = np.iinfo(f["inputs"].dtype).max
    middle = (f["inputs"][:, 1] / top) ** 2.2 / 2.0 ** f["ev"][:][:, 1, None, None, None]
    sure = (f["weight"][:] > 204)[..., None] & (f["inputs"][:, 1] < 0.8 * top)
    apart = np.abs(np.log2((middle + 1e-3) / (f["label"][:] + 1e-3)))[sure]
    print(float(np.median(apart)), "labelgen" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, dataset.name],
        capture_output=True,
        text=True,
        check=True,
        cwd=dataset.parent,
    )
    apart, known = done.stdout.split()
    assert float(apart) < 0.05
    assert known == "False"


def test_a_dataloader_of_torch(dataset: Path) -> None:
    data = pytest.importorskip("torch.utils.data")
    from trainer.data.dataset import PatchDataset

    patches = PatchDataset(dataset)
    for workers in (0, 2):
        loader = data.DataLoader(patches, batch_size=4, num_workers=workers)
        batches = list(loader)
        assert sum(len(b["weight"]) for b in batches) == len(patches)
    with Dataset(dataset) as whole:
        assert np.array_equal(batches[0]["label"][2].numpy(), whole.image("label", 2))


@pytest.mark.parametrize("tool", ["h5dump", "octave-cli"])
def test_tools_of_hdf5(dataset: Path, tool: str) -> None:
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed")
    with h5py.File(dataset) as file:
        corner = file["weight"][1, :2, :3]
        rows = len(file["label"])
    if tool == "h5dump":
        select = ["-d", "/weight", "-s", "1,0,0", "-c", "1,2,3", "-y", "-w", "0"]
        said = subprocess.run(
            ["h5dump", *select, str(dataset)], capture_output=True, text=True, check=True
        ).stdout
        listed = said.split("DATA {")[1].split("}")[0]
        assert [int(n) for n in re.findall(r"\d+", listed)] == corner.ravel().tolist()
        return
    # Of all at once it leaves out what follows text.
    code = f'd = load("{dataset}", "weight"); disp(size(d.weight)); disp(d.weight(1:3, 1:2, 2)\')'
    said = subprocess.run(
        ["octave-cli", "--eval", code], capture_output=True, text=True, check=True
    ).stdout
    numbers = [int(n) for n in re.findall(r"\d+", said)]
    assert numbers[:3] == [128, 128, rows]
    assert numbers[3:] == corner.ravel().tolist()


def test_hugging_face_datasets(dataset: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "load_dataset"):  # the folder of this project, which is no package
        pytest.skip("pip install 'labelgen[interop]'")
    table = datasets.load_dataset(
        "hdf5", data_files=str(dataset), split="train", cache_dir=str(tmp_path)
    )
    with Dataset(dataset) as whole:
        assert len(table) == len(whole)
        for row in (0, len(whole) - 1):
            found = table[row]
            assert np.array_equal(np.array(found["weight"]), whole.image("weight", row))
            assert np.array_equal(np.array(found["inputs"]), whole.image("inputs", row))
            assert np.allclose(np.array(found["label"]), whole.image("label", row))
            assert found["scene"] in ("five", b"five", "moving", b"moving")


def test_mlcroissant(dataset: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="pip install 'labelgen[interop]'")
    card(
        dataset, CardMetadata(license="CC0-1.0", origin="simulated", people="none"), overwrite=True
    )
    found = mlcroissant.Dataset(jsonld=str(dataset.parent / "croissant.json"))
    assert not found.metadata.ctx.issues.errors
    assert {f.id for f in found.metadata.distribution} == {"out.h5", "README.md", "recipe.toml"}


def test_the_tar_files_hold_the_samples(dataset: Path, tmp_path: Path) -> None:
    """As WebDataset groups them: what a name has before its first dot is a sample."""
    count = export(dataset, tmp_path / "tars", "webdataset", shard_bytes=2 << 20)
    shards = sorted((tmp_path / "tars").iterdir())
    assert len(shards) > 1
    samples: dict[str, dict[str, bytes]] = {}
    for shard in shards:
        with tarfile.open(shard) as tar:
            for entry in tar:
                key, kind = entry.name.split(".", 1)
                file = tar.extractfile(entry)
                assert file is not None
                samples.setdefault(key, {})[kind] = file.read()
    assert len(samples) == count
    with Dataset(dataset) as data:
        for row in (0, count - 1):
            sample = samples[f"{row:08d}"]
            _check_sample(data, row, sample)
            facts = json.loads(sample["json"])
            assert facts["scene"].encode() == bytes(data.column("scene")[row])
            assert facts["ev"] == data.column("ev")[row].tolist()


def _check_sample(data: Dataset, row: int, sample: dict[str, bytes]) -> None:
    for i, codes in enumerate(data.image("inputs", row)):
        image = cv2.imdecode(np.frombuffer(sample[f"{i}.png"], np.uint8), cv2.IMREAD_UNCHANGED)
        assert image.dtype == codes.dtype
        assert np.array_equal(image[..., ::-1], codes)
    assert np.array_equal(np.load(io.BytesIO(sample["label.npy"])), data.image("label", row))
    trust = cv2.imdecode(np.frombuffer(sample["weight.png"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(trust, data.image("weight", row))


def test_webdataset(dataset: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="pip install 'labelgen[interop]'")
    count = export(dataset, tmp_path / "tars", "webdataset", shard_bytes=8 << 20)
    urls = [str(path) for path in sorted((tmp_path / "tars").iterdir())]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert len(samples) == count
    with Dataset(dataset) as data:
        _check_sample(data, 1, samples[1])


def test_folders_of_crops_as_code_for_siggraph17_reads_them(dataset: Path, tmp_path: Path) -> None:
    """Codes of 16 bits, exposures in stops, truth as float RGB: all by OpenCV alone."""
    count = export(dataset, tmp_path / "crops", "sig17")
    folders = sorted((tmp_path / "crops").iterdir())
    assert len(folders) == count
    with Dataset(dataset) as data:
        for row in (0, count - 1):
            folder = folders[row]
            frames = sorted(folder.glob("*.tif"))
            ev = np.loadtxt(folder / "exposure.txt")
            assert np.allclose(ev, data.column("ev")[row], atol=1e-5)
            for path, codes in zip(frames, data.image("inputs", row), strict=True):
                image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                assert image.dtype == np.uint16
                wide = codes if codes.dtype == np.uint16 else codes.astype(np.uint16) * 257
                assert np.array_equal(image[..., ::-1], wide)
            label = data.image("label", row).astype(np.float32)
            top = label.max(-1, keepdims=True)
            assert (np.abs(read_hdr(folder / "label.hdr") - label) <= top / 250 + 1e-6).all()
            trust = cv2.imread(str(folder / "weight.png"), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(trust, data.image("weight", row))


def test_exports_of_users_are_not_replaced(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    export(dataset, out, "sig17")
    with pytest.raises(UserError, match="--overwrite"):
        export(dataset, out, "sig17")
    mine = out / "00000001" / "prediction.png"
    mine.write_bytes(b"mine")
    with pytest.raises(UserError, match="holds more than an export"):
        export(dataset, out, "webdataset", overwrite=True)
    assert mine.read_bytes() == b"mine"
    mine.unlink()
    export(dataset, out, "webdataset", overwrite=True)
    assert all(path.suffix == ".tar" for path in out.iterdir())
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(UserError, match="holds more than an export"):
        export(dataset, tmp_path / "link", overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"crops", "link"}
