"""Train deghosting networks on datasets of labelgen, and turn brackets into HDR pictures.

Each command of the `trainer` program is one function with the same options and defaults:

- `trainer.training.fit.fit` trains a network.
- `trainer.training.bench.bench` measures how fast data is read and a network trains.
- `trainer.evaluation.evaluate.evaluate` scores a network on scenes with truth, and
  `trainer.evaluation.evaluate.compare` scores several.
- `trainer.evaluation.predict.predict` merges brackets into HDR pictures.
- `trainer.evaluation.export.export` writes a network as an ONNX file.

For a training loop of your own:

- `trainer.data.dataset.PatchDataset` reads the samples of a dataset as a PyTorch dataset.
- `trainer.models.build` makes a network by name.

The folders:

- `data`: from datasets to batches on the device.
- `models`: the networks.
- `training`: the training loop, losses, logs and pictures.
- `evaluation`: prediction, metrics and export.
"""

DISTRIBUTION = "labelgen"
"""Distinguishes this package from another one on PyPI that is also imported as `trainer`."""
