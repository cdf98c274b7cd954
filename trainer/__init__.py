"""Train deghosting networks on labelgen's datasets, and turn brackets into HDR pictures.

Each command of the ``trainer`` program is one function of the same name and defaults:
`fit`, `evaluate`, `predict`. Networks are in
`trainer.models`, the samples for a loop of your own in `trainer.data.dataset`.
"""

DISTRIBUTION = "labelgen"
"""Tells this package from the other one on PyPI that is imported as `trainer`."""
