"""HDR training sets from exposure brackets, without ground truth.

Each command of the ``labelgen`` program is one function of the same name and defaults:
`scan`, `build`, `label`, `info`,
`labelgen.dataset.verify.verify`, `labelgen.simulate.simulate`. Nothing here needs torch.
"""

__version__ = "0.1.0"
