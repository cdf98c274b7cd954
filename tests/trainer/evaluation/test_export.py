from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from labelgen.photos.pictures import read_hdr
from tests.trainer.conftest import MakeDataset, MakeScene, expose, scene
from trainer.data.dataset import network_input
from trainer.evaluation.export import export
from trainer.evaluation.predict import predict
from trainer.training.fit import fit


def test_an_exported_network_is_what_predict_computes(
    make_dataset: MakeDataset, make_scene: MakeScene, tmp_path: Path
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    run, file = tmp_path / "run", tmp_path / "net.onnx"
    # `lean` takes minutes to trace.
    fit(make_dataset(samples=4), run, steps=1, batch=1, device="cpu", model="ahdrnet")
    assert export(run, file) < 1e-4
    radiance = scene(np.random.default_rng(3), 50, 70)
    codes = torch.from_numpy(expose(radiance, (0, 2, 4), 16))[None]
    seen = network_input(codes, torch.tensor([[0.0, 2.0, 4.0]]))[:, :, :3]
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    ev = np.array([[0, 2, 4]], np.float32)
    (got,) = session.run(None, {"codes": seen.numpy(), "ev": ev})
    predict(run, [make_scene(seed=3)], tmp_path / "out", device="cpu")
    want = read_hdr(tmp_path / "out" / "one" / "pred.hdr")
    np.testing.assert_allclose(got[0].transpose(1, 2, 0), want, atol=0.01)  # RGBE has 8 bits
    with pytest.raises(UserError, match=r"net.onnx: exists; remove it"):
        export(run, file)


def test_a_missing_package_is_named(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.evaluation.export.REQUIRED_PACKAGES", ("no_such_package",))
    with pytest.raises(UserError, match=r"needs no_such_package: pip install 'labelgen\[onnx\]'"):
        export(run, tmp_path / "net.onnx")
    assert not (tmp_path / "net.onnx").exists()
