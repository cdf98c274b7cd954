"""HDR training sets from exposure brackets, without ground truth.

Each command of the ``labelgen`` program is one function of the same name and defaults:
`labelgen.discover.scan`, `labelgen.build.build`, `labelgen.label.label`, `labelgen.format.info`,
`labelgen.verify.verify`, `labelgen.simulate.simulate`. Nothing here needs torch.
"""

__version__ = "0.1.0"
