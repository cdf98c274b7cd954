"""Settings of the method, by section of a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def setting(default: Any, unit: str, source: str, allowed: tuple[Any, Any] | list[str]) -> Any:
    """A field of a recipe: its default, unit, source, and range (low, high) or list of choices."""
    return field(default=default, metadata={"unit": unit, "source": source, "allowed": allowed})


@dataclass(frozen=True)
class Patches:
    """Which patches of a frame become samples."""

    size: int = setting(128, "px", "side of the samples; SS-HDR has 125 px cells", (16, 1024))
    variants: int = setting(
        2, "samples per patch", "SS-HDR: several; the number is ours", (1, 1000)
    )
    min_trust: float = setting(
        0.5, "mean weight, 0..1", "ours: a patch trusted less is left out", (0, 1)
    )
    choice: str = setting(
        "grid",
        "grid | score",
        "SS-HDR: every cell of a grid; score (ours): more of those that teach more",
        ["grid", "score"],
    )
    hard: float = setting(
        0.45, "score, 0..1", "ours, for choice = score: patches from here on are hard", (0, 1)
    )
    hard_variants: int = setting(3, "samples per hard patch", "likewise", (1, 1000))
    ordinary: float = setting(
        0.6, "share of the patches that are not hard", "likewise: an even choice of them", (0, 1)
    )
    clipped_share: float = setting(
        0.1,
        "share of a patch",
        "likewise: so much clipped and so much not scores in full",
        (0, 0.5),
    )
    moving_share: float = setting(
        0.1, "share of a patch", "likewise: so much motion scores in full", (0, 1)
    )
    texture: float = setting(
        0.02, "mu-law per px, mean gradient", "likewise: so much texture scores in full", (0, 1)
    )


@dataclass(frozen=True)
class Align:
    """Geometry of the frames for the label; inputs always stay as they were taken."""

    method: str = setting(
        "homography",
        "none | homography | flow",
        "SS-HDR shows none, so hand-held frames would leave no static patch; SelfHDR: flow",
        ["none", "homography", "flow"],
    )
    features: int = setting(2000, "SIFT keypoints per frame", "ours", (50, 100_000))
    refine: float = setting(
        0.0,
        "px, sigma",
        "ours: window of a refinement on the pixels, for parallax; 0 is off",
        (0, 200),
    )
    megapixels: float = setting(
        0.6, "megapixels", "ours: larger frames are reduced to find their geometry", (0.1, 1000)
    )
    inlier: float = setting(1.0, "px", "ours: reprojection error of a matching point", (0.1, 20))
    variational: int = setting(
        5, "iterations per scale", "of dense flow. Kroeger 2016; for guesses 0 is as good", (0, 100)
    )


@dataclass(frozen=True)
class Camera:
    """How much of its weight a label keeps where the response of the camera is in doubt."""

    assumed: float = setting(
        0.75, "share of the weight", "ours: gamma 2.2, for want of evidence", (0, 1)
    )
    misfit: float = setting(
        1.5,
        "codes of 255, median",
        "ours: weight falls in inverse proportion above, since no response explains the frames",
        (0.1, 255),
    )


@dataclass(frozen=True)
class Noise:
    """Noise that an honest difference between frames may have."""

    estimate: str = setting(
        "fixed",
        "fixed | brackets",
        "ours: by camera and ISO from the brackets; the two below where these don't tell",
        ["fixed", "brackets"],
    )
    full_well: float = setting(
        10_000.0, "electrons at clipping", "ours: a small sensor at base ISO", (100, 1e6)
    )
    read: float = setting(4.0, "electrons", "ours: likewise", (0, 1000))
    lossy: float = setting(
        0.0, "codes of JPEG, standard deviation", "ours: beyond their rounding", (0, 20)
    )


@dataclass(frozen=True)
class Motion:
    """Motion cue: a pixel moved if frame and reference differ by more than all these allow."""

    threshold: float = setting(
        10 / 255, "mu-law", "SelfHDR: 10/255, the larger of its two; 4/255 is ours", (0, 1)
    )
    sigmas: float = setting(3.0, "standard deviations of the noise", "ours", (0, 20))
    gradient: float = setting(0.0, "px of misalignment", "ours; 0 trusts the alignment", (0, 5))
    smooth: float = setting(1.0, "px, sigma of a Gaussian over the difference", "ours", (0.3, 10))
    speck: int = setting(1, "px, motion narrower than this is noise", "ours; 1 drops none", (1, 9))
    close: int = setting(
        1, "px, odd, width of gaps that are filled", "ours; 1 fills none", (1, 101)
    )
    grow: int = setting(
        1, "px, odd, width by which motion is widened", "ours; 1 is not at all", (1, 101)
    )
    cell_share: float = setting(
        0.005, "share of a cell", "ours: a static cell has at most this", (0, 1)
    )


@dataclass(frozen=True)
class Exposure:
    """Exposure cue: where the reference can be its own label."""

    clip: float = setting(0.98, "code, 0..1", "ours: any channel from here on is clipped", (0.5, 1))
    dark: float = setting(0.02, "code, 0..1", "ours: no channel above it is too dark", (0, 0.5))
    clipped_share: float = setting(
        0.01, "share of a cell", "ours: well exposed has at most this", (0, 1)
    )
    dark_share: float = setting(
        0.5, "share of a cell", "ours: well exposed has at most this", (0, 1)
    )


@dataclass(frozen=True)
class Fusion:
    """How frames become one label, and where it is trusted."""

    weights: str = setting(
        "triangle",
        "triangle | variance",
        "SS-HDR: Kalantari 2017, by the code of the reference; variance: Hasinoff 2010",
        ["triangle", "variance"],
    )
    trust: str = setting(
        "cell",
        "cell | pixel | difference",
        "SS-HDR: whole cells; SelfHDR: difference of label and reference; pixel: ours",
        ["cell", "pixel", "difference"],
    )
    guess: int = setting(
        0, "weight, 0..255", "ours: of pixels that only dense flow explains; 0 drops them", (0, 255)
    )
    misplaced: float = setting(
        0.0,
        "px",
        "ours: error of the geometry; other frames count less, and are trusted less, at edges",
        (0, 5),
    )
    tolerance: float = setting(
        0.035,
        "mu-law",
        "ours: an error that halves the trust, where the reference clips",
        (0.001, 1),
    )
    doubt: float = setting(
        0.0,
        "share",
        "ours: so much a pixel that moved counts against one that stood still, around pixels "
        "that the reference clips; 0 trusts them all",
        (0, 1),
    )
    around: float = setting(4.0, "px, sigma, and twice that", "ours: how far for `doubt`", (1, 200))
    chroma: int = setting(
        0,
        "px, radius",
        "ours: windows in which colour that a JPEG halved follows brightness; 0 leaves it",
        (0, 16),
    )
    denoise: float = setting(
        0.0,
        "standard deviations of the noise",
        "ours: bilateral, as far as a label is no cleaner than the reference; 0 is off",
        (0, 20),
    )
    difference: float = setting(
        5 / 255, "mu-law", "SelfHDR: its mask, used by trust = difference", (0, 1)
    )


@dataclass(frozen=True)
class Illumination:
    """Synthetic light: a gain over the label and the frames."""

    frames: str = setting(
        "modelled",
        "modelled | real",
        "SS-HDR: modelled from the lit label, in perfect register; real (ours): lit as they are",
        ["modelled", "real"],
    )
    share: float = setting(
        0.35, "share of the samples, less those that have no room for a gain", "ours", (0, 1)
    )
    kinds: str = setting(
        "edge",
        "edge | any",
        "SS-HDR: a soft straight edge; any (ours): also spots, windows and clouds, equally often",
        ["edge", "any"],
    )
    gain_low: float = setting(1.5, "stops", "ours", (0, 10))
    gain_high: float = setting(3.5, "stops", "SS-HDR: 11 to 12 x in its figure; 4 is ours", (0, 10))
    ramp_low: float = setting(
        0.25, "share of the patch", "SS-HDR: measured in its figure", (0.01, 2)
    )
    ramp_high: float = setting(
        0.34, "share of the patch", "SS-HDR: measured in its figure", (0.01, 2)
    )


@dataclass(frozen=True)
class Warp:
    """Synthetic motion: a Gaussian homography per frame; the reference stays."""

    patches: str = setting(
        "static",
        "static | all",
        "SS-HDR: static ones and modelled frames; all (ours): also those that hold real motion",
        ["static", "all"],
    )
    share: float = setting(0.75, "share of their samples", "ours", (0, 1))
    shift: float = setting(6.0, "px, sigma", "SS-HDR: Gaussian; the size is ours", (0, 200))
    turn: float = setting(1.5, "degrees, sigma", "likewise", (0, 45))
    zoom: float = setting(0.02, "relative, sigma", "likewise", (0, 0.3))
    tilt: float = setting(1e-4, "1/px, sigma", "likewise", (0, 2e-3))


@dataclass(frozen=True)
class Pieces:
    """Synthetic things that move: laid into all frames and the label, which is exact there."""

    share: float = setting(0.0, "share of the samples", "ours; 0 lays none", (0, 1))
    most: int = setting(2, "pieces per sample", "ours: 1 to this, to hide each other", (1, 8))
    at_clipped: float = setting(
        0.7, "share of the pieces", "ours: laid where the reference clips, if it does", (0, 1)
    )
    measured: float = setting(
        0.5,
        "share of the pieces",
        "ours: as large and as fast as something that the bracket shows moving, if it does",
        (0, 1),
    )
    size_low: float = setting(0.15, "share of the patch", "ours", (0.02, 2))
    size_high: float = setting(0.7, "share of the patch", "ours", (0.02, 2))
    speed_low: float = setting(2.0, "px per frame", "ours", (0, 500))
    speed_high: float = setting(40.0, "px per frame", "ours", (0, 500))
    thin: float = setting(0.3, "share of the pieces", "ours: arms and branches", (0, 1))
    bright: float = setting(
        0.35, "share of the pieces", "ours: brighter than the reference can show", (0, 1)
    )
    bright_stops: float = setting(
        1.5, "stops above the clip of the reference, at most", "ours: half of it by median", (0, 10)
    )
    dark: float = setting(0.3, "share of the pieces", "ours: darker than what is around", (0, 1))
    dark_stops: float = setting(3.5, "stops below what is around, at most", "ours", (0, 10))
    alike_stops: float = setting(
        0.5, "stops, sigma", "ours: the other pieces, about what is around", (0, 5)
    )
    turn: float = setting(4.0, "degrees between frames, sigma", "ours", (0, 90))
    zoom: float = setting(0.03, "relative, sigma", "ours", (0, 0.3))
    ripple: float = setting(0.03, "share of the size, sigma", "ours: how it deforms", (0, 0.3))
    blur: float = setting(
        0.25, "share of the way between frames", "ours: while the longest frame is open", (0, 1)
    )
    shadow: float = setting(0.35, "share of the pieces", "ours: those that cast one", (0, 1))
    shade: float = setting(0.4, "share of the light", "ours: that a shadow takes", (0, 1))
