"""Whether two brackets show one scene: a fingerprint of how a picture looks.

The difference hash, of 64 signs: which of two neighbours in a picture of 9 x 8 is brighter.
Exposure and response do not change it, nor does a hand that shakes.

References
----------
.. [1] N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.core.arrays import Codes

SIDES = 9, 8
STEP, STEPS = 0.005, 0.3
"""Share of full scale by which so large a share of neighbours has to differ: dark pictures, and
those that clip, look like any other."""
DIFFERENT = 12
"""Signs of 64 in which pictures of one scene may differ; those of any two differ in about 32."""
AT_ONCE = 256
SIGNS = np.array([k.bit_count() for k in range(1 << 16)], np.uint8)
"""How many bits of a 16-bit number are set."""


def scene_hash(codes: Codes) -> str:
    """How a frame (H, W, 3) of codes looks: 16 hexadecimal digits, or "" if it shows too little."""
    # Reduced by area in one step: what is smaller than a cell must not decide.
    small = cv2.resize(codes, SIDES, interpolation=cv2.INTER_AREA).astype(np.float32).mean(-1)
    steps = (small[:, 1:] - small[:, :-1]) / np.float32(np.iinfo(codes.dtype).max)
    if (np.abs(steps) > STEP).mean() < STEPS:
        return ""
    return np.packbits(steps > 0).tobytes().hex()


def similar_scenes(pictures: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of pictures, by index, that connect all that look as if they showed one scene.

    Parameters
    ----------
    pictures : sequence of str
        As `scene_hash` says of each that shows enough.
    """
    values = np.array([int(p, 16) for p in pictures], np.uint64)
    signs, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    pairs = [(int(first[k]), i) for i, k in enumerate(inverse.tolist()) if first[k] != i]
    for start in range(0, len(signs), AT_ONCE):
        differ = signs[start : start + AT_ONCE, None] ^ signs
        words = differ.view(np.uint16).reshape(*differ.shape, 4)
        count = sum(SIGNS[words[..., k]] for k in range(4))
        near = np.argwhere(count <= DIFFERENT) + np.array([start, 0])
        pairs += first[near[near[:, 0] < near[:, 1]]].tolist()
    return [(a, b) for a, b in pairs]
