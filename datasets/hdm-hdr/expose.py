"""Brackets with real motion and known truth from HDR films: three frames, each at its exposure.

Every folder of OpenEXR frames is a film. Its frames are converted from ALEXA Wide Gamut to sRGB
primaries, scaled so that a tenth of the middle one clips at 0 EV, and exposed by the model of
`labelgen.simulate`: photon and read noise, clipping, gamma 2.2, 16 bits. NTIRE 2021 made its
brackets from the same films in such a way (arXiv 2106.01439).
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Float
from labelgen.core.errors import Rejected
from labelgen.core.files import natural_key, write_bytes
from labelgen.photos.pictures import read_hdr, write_hdr
from labelgen.simulate import SceneSettings, expose

BORDER = 10
"""Pixels at the border of a frame that the reconstruction of the films left dark."""
CLIPPED = 0.1
"""Share of the middle frame that clips."""
UPDATE = "_reconstruction_update_2015"
"""Ending of a film that replaces the one without it."""
WHITE = (0.3127, 0.3290)
ALEXA = ((0.6840, 0.3130), (0.2210, 0.8480), (0.0861, -0.1020))
"""Chromaticities of ALEXA Wide Gamut: ARRI, *ALEXA Log C Curve, Usage in VFX*, 2012."""
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


def to_xyz(primaries: tuple[tuple[float, float], ...]) -> Float:
    """The matrix (3, 3) float64 from linear RGB of these primaries and D65 white to CIE XYZ."""
    x, y = np.asarray([*primaries, WHITE]).T
    xyz = np.stack([x / y, np.ones(4), (1 - x - y) / y])
    return xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])


def read_frame(path: Path) -> Float:
    """A frame of a film, (H, W, 3) float32, linear, sRGB primaries, not negative."""
    alexa = read_hdr(path)[BORDER:-BORDER, BORDER:-BORDER]
    matrix = np.linalg.solve(to_xyz(SRGB), to_xyz(ALEXA))
    return np.maximum(alexa @ matrix.T.astype(np.float32), 0)


def films(footage: Path) -> Iterator[tuple[str, list[Path]]]:
    """Name and frames of each film, without those that an update replaces."""
    found = {}
    for folder, _, names in os.walk(footage):
        frames = [Path(folder) / n for n in names if n.lower().endswith(".exr")]
        if len(frames) >= 3:
            found[Path(folder).name] = sorted(frames, key=lambda p: natural_key(p.name))
    for name in sorted(found, key=natural_key):
        if name + UPDATE not in found:
            yield name, found[name]


def write(folder: Path, frames: list[Path], scene: SceneSettings) -> None:
    """One bracket in the SIGGRAPH'17 layout; its list of exposures is the last file written."""
    views = [read_frame(p) for p in frames]
    scale = 1 / max(float(np.quantile(views[1].max(-1), 1 - CLIPPED)), 1e-6)
    rng = np.random.default_rng(zlib.crc32(folder.name.encode()))
    folder.mkdir(parents=True, exist_ok=True)
    middle = scene.ev[scene.reference]
    for i, (view, ev) in enumerate(zip(views, scene.ev, strict=True), 1):
        codes = expose(rng, view * np.float32(scale), ev - middle, scene)
        _, data = cv2.imencode(".tif", np.ascontiguousarray(codes[..., ::-1]))
        write_bytes(folder / f"input_{i}.tif", data.tobytes())
    write_hdr(folder / "HDRImg.hdr", views[1] * np.float32(scale * 2.0 ** (scene.ev[0] - middle)))
    write_bytes(folder / "exposure.txt", "".join(f"{ev:.6f}\n" for ev in scene.ev).encode())


def main() -> int:
    """Write the brackets that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("footage", type=Path, help="folder of folders of .exr frames")
    parser.add_argument("out", type=Path, help="folder for the brackets")
    parser.add_argument("--every", type=int, default=24, help="frames from bracket to bracket")
    parser.add_argument("--gap", type=int, default=1, help="frames from exposure to exposure")
    parser.add_argument("--step", type=float, default=2.0, help="stops from exposure to exposure")
    args = parser.parse_args()
    if min(args.every, args.gap) < 1 or not 0 < args.step <= 8:
        parser.error("--every and --gap take 1 or more, --step more than 0 and at most 8")
    scene = SceneSettings(ev=(0.0, args.step, 2 * args.step))
    count = 0
    for name, frames in films(args.footage):
        for start in range(0, len(frames) - 2 * args.gap, args.every):
            count += 1
            folder = args.out / f"{name}-{start:05d}"
            if (folder / "exposure.txt").is_file():
                continue
            try:
                write(folder, frames[start : start + 2 * args.gap + 1 : args.gap], scene)
            except Rejected as e:
                print(f"{args.footage}: {name}: {e}", file=sys.stderr)
                return 2
            print(folder.name, file=sys.stderr)
    if not count:
        print(f"{args.footage}: no folder with three .exr frames below it", file=sys.stderr)
    return 0 if count else 2


if __name__ == "__main__":
    sys.exit(main())
