"""What is simulated: motion, exposures and camera of a scene, and the bracket that results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from labelgen.core.arrays import Codes, Float, Mask
from labelgen.simulate.camera import IDEAL, Camera

MARGIN = 64
"""px around a frame that the camera sees when it moves."""


@dataclass(frozen=True)
class SceneSettings:
    """Motion of a simulated scene, and the camera."""

    ev: tuple[float, ...] = (0.0, 2.0, 4.0)
    """Exposures in stops, rising."""
    shake: float = 1.5
    """Standard deviation (px) of the camera motion between frames; 0 is a tripod."""
    pieces: int = 3
    """Number of moving objects."""
    travel: float = 24.0
    """Mean motion (px) of an object between frames."""
    full_well: float = 20_000.0
    """Electrons at clipping."""
    read: float = 3.0
    """Read noise in electrons."""
    camera: Camera | None = None
    """The camera; None is the ideal one, of noise, clipping and gamma 2.2 alone."""

    @property
    def reference(self) -> int:
        """Index of the reference frame."""
        return len(self.ev) // 2

    def noise_record(self) -> dict[str, Any]:
        """Return what ``truth/noise.json`` holds: noise, the camera, and whether it lifts regions.

        Labels of a camera that lifts regions differ from the truth by a smooth gain.
        """
        name = self.camera.name if self.camera else IDEAL
        lifts = bool(self.camera and self.camera.lift)
        noise = {"full_well": self.full_well, "read": self.read}
        return noise | {"camera": name, "local": lifts}


@dataclass(frozen=True)
class SimulatedBracket:
    """A bracket and its truth."""

    codes: tuple[Codes, ...]
    """F frames (H, W, 3) uint16: gamma 2.2 of the ideal camera, otherwise finished pictures."""
    truth: Float
    """(H, W, 3) radiance of the reference, linear sRGB. 1.0 is the clip of the shortest frame;
    lights exceed it."""
    moving: Mask
    """(H, W) bool: where an object is in any frame, in the geometry of the reference."""
    scene: SceneSettings | None = None
    """How it was simulated; None if the pixels are from elsewhere."""
