"""Settings of the method, one dataclass for each section of a recipe.

The default values make up the recipe `sshdr`, the published method SS-HDR. The recipe that is named
`default` changes many of them (`labelgen.core.recipe`). `labelgen recipes NAME` prints every
setting with its unit, meaning and source, and the docstring of every section.

Sources: SS-HDR is Nazarczuk et al. 2022, arXiv 2203.12311. Its thresholds are not published, so the
source of most values is "ours". SelfHDR is Zhang et al. 2024, arXiv 2310.01840. Kalantari 2017 is
doi:10.1145/3072959.3073609; Hasinoff 2010 is doi:10.1109/CVPR.2010.5540167; Kroeger 2016 is
doi:10.1007/978-3-319-46493-0_29.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def setting(
    default: Any,
    unit: str,
    meaning: str,
    allowed: tuple[Any, Any] | list[str],
    source: str = "ours",
) -> Any:
    """Define a setting of a recipe: a dataclass field with a description as its metadata.

    Parameters
    ----------
    default : int, float or str
        Value of the recipe `sshdr`. Its type is the type of the setting.
    unit : str
        Unit of a number; for a text, the choices separated by " | ".
    meaning : str
        What the setting does, in a few words. It is printed after the unit.
    allowed : (low, high) or list of str
        Closed range of a number, or the choices.
    source : str
        Publication that the value comes from, or "ours".

    Returns
    -------
    dataclasses.Field
        Declared as Any, so that a type checker accepts it as the default of a field of any type.
    """
    metadata = {"unit": unit, "meaning": meaning, "source": source, "allowed": allowed}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Patches:
    """Which patches of a frame become samples."""

    size: int = setting(128, "px", "side of a patch", (16, 1024), "SS-HDR: 125 px")
    variants: int = setting(
        2,
        "samples",
        "augmented samples per patch",
        (1, 1000),
        "SS-HDR: several; the number is ours",
    )
    min_trust: float = setting(0.5, "0..1", "patches with a lower mean weight are left out", (0, 1))
    choice: str = setting(
        "grid",
        "grid | score",
        "every cell of a grid; or all hard patches and some of the others, by a score",
        ["grid", "score"],
        "grid: SS-HDR; score: ours",
    )
    hard: float = setting(
        0.45, "score, 0..1", "choice = score: patches with at least this score are hard", (0, 1)
    )
    hard_variants: int = setting(3, "samples", "choice = score: samples per hard patch", (1, 1000))
    ordinary: float = setting(
        0.6,
        "fraction of patches",
        "choice = score: how many of the other patches are taken, evenly spaced by score",
        (0, 1),
    )
    clipped_share: float = setting(
        0.1,
        "fraction of a patch",
        "score: this much clipped and this much unclipped area scores in full",
        (0, 0.5),
    )
    moving_share: float = setting(
        0.1, "fraction of a patch", "score: this much moving area scores in full", (0, 1)
    )
    texture: float = setting(
        0.02,
        "mu-law per px",
        "score: this mean gradient of the trusted label scores in full",
        (0, 1),
    )


@dataclass(frozen=True)
class Align:
    """How frames are aligned for the label. The inputs of a sample stay as they were taken."""

    method: str = setting(
        "homography",
        "none | homography | flow",
        "model of the displacement between a frame and the reference",
        ["none", "homography", "flow"],
        "SS-HDR states none, which leaves no static patch of hand-held frames; SelfHDR: flow",
    )
    features: int = setting(2000, "keypoints", "SIFT keypoints per frame, at most", (50, 100_000))
    refine: float = setting(
        0.0,
        "px, sigma",
        "narrowest Gaussian window of a refinement by pixels, for parallax; 0 is off",
        (0, 200),
    )
    megapixels: float = setting(
        0.6, "megapixels", "larger frames are downsampled to find displacements", (0.1, 1000)
    )
    inlier: float = setting(
        1.0, "px", "reprojection error up to which a match supports a homography", (0.1, 20)
    )
    gain: str = setting(
        "ignored",
        "ignored | undone",
        "a smooth gain between frames by local tone mapping; undone: towards the reference",
        ["ignored", "undone"],
    )
    variational: int = setting(
        5,
        "iterations per scale",
        "variational refinement of dense flow; 0 is as good if flow only fills guesses",
        (0, 100),
        "Kroeger 2016",
    )


@dataclass(frozen=True)
class Camera:
    """How far the weight of a label is reduced where the camera response is uncertain."""

    assumed: float = setting(
        0.75, "factor", "weight if gamma 2.2 is assumed for lack of evidence", (0, 1)
    )
    misfit: float = setting(
        1.5,
        "codes of 255, median",
        "median misfit of the response above which the weight falls as its inverse",
        (0.1, 255),
    )
    estimated: float = setting(
        0.75, "factor", "weight if exposures are estimated from the pixels alone", (0, 1)
    )


@dataclass(frozen=True)
class Noise:
    """Camera noise: the part of the difference between two frames that is not motion."""

    estimate: str = setting(
        "fixed",
        "fixed | brackets",
        "full_well and read as below; or estimated per camera and ISO where possible",
        ["fixed", "brackets"],
    )
    full_well: float = setting(
        10_000.0, "electrons", "signal at clipping: a small sensor at base ISO", (100, 1e6)
    )
    read: float = setting(4.0, "electrons", "read noise, standard deviation", (0, 1000))
    lossy: float = setting(
        0.0, "codes of 255, standard deviation", "error of lossy files beyond rounding", (0, 20)
    )


@dataclass(frozen=True)
class Motion:
    """Motion cue: a pixel is moving if its difference to the reference exceeds all allowances."""

    threshold: float = setting(
        10 / 255, "mu-law", "constant allowance", (0, 1), "SelfHDR: 10/255; 4/255 is ours"
    )
    sigmas: float = setting(3.0, "standard deviations", "allowance for noise", (0, 20))
    measured: float = setting(
        0.0,
        "standard deviations",
        "allowance for what still frames of the bracket are measured to differ; 0 is off",
        (0, 20),
    )
    gradient: float = setting(
        0.0, "px", "allowance for misalignment, times the gradient; 0 trusts the alignment", (0, 5)
    )
    smooth: float = setting(1.0, "px, sigma", "Gaussian filter of the difference", (0.3, 10))
    speck: int = setting(
        1, "px", "moving regions narrower than this are noise; 1 keeps all", (1, 9)
    )
    close: int = setting(1, "px, odd", "gaps up to this width are filled; 1 is off", (1, 101))
    grow: int = setting(1, "px, odd", "width of the dilation of moving regions; 1 is off", (1, 101))
    cell_share: float = setting(
        0.005, "fraction of a cell", "moving area up to which a cell is static", (0, 1)
    )


@dataclass(frozen=True)
class Exposure:
    """Exposure cue: where the reference is well exposed and can be its own label."""

    clip: float = setting(
        0.98, "code, 0..1", "a pixel is clipped if any channel reaches this", (0.5, 1)
    )
    dark: float = setting(
        0.02, "code, 0..1", "a pixel is too dark if no channel exceeds this", (0, 0.5)
    )
    clipped_share: float = setting(
        0.01, "fraction of a cell", "clipped area up to which a cell is well exposed", (0, 1)
    )
    dark_share: float = setting(
        0.5, "fraction of a cell", "dark area up to which a cell is well exposed", (0, 1)
    )


@dataclass(frozen=True)
class Fusion:
    """How frames are fused into one label, and how much each pixel of it is trusted."""

    weights: str = setting(
        "triangle",
        "triangle | variance",
        "weights of the frames: by the code of the reference, or by inverse variance",
        ["triangle", "variance"],
        "triangle: Kalantari 2017, as SS-HDR; variance: Hasinoff 2010",
    )
    trust: str = setting(
        "cell",
        "cell | pixel | difference",
        "trust by whole cells, by pixel, or by the difference of label and reference",
        ["cell", "pixel", "difference"],
        "cell: SS-HDR; difference: SelfHDR; pixel: ours",
    )
    guess: int = setting(
        0,
        "weight, 0..255",
        "of pixels that only dense flow explains; 0 leaves them unlabelled",
        (0, 255),
    )
    misplaced: float = setting(
        0.0,
        "px",
        "assumed alignment error: lowers weight and trust of the other frames at edges",
        (0, 5),
    )
    tolerance: float = setting(
        0.035, "mu-law", "error that halves the trust where the reference clips", (0.001, 1)
    )
    doubt: float = setting(
        0.0,
        "factor",
        "trust where the reference clips: weight of moving against 1 of static pixels; 0 is off",
        (0, 1),
    )
    around: float = setting(
        4.0,
        "px, sigma",
        "doubt: how near these pixels are; a sum of Gaussians of one and two sigma",
        (1, 200),
    )
    chroma: int = setting(
        0,
        "px, radius",
        "windows in which luma guides the upsampling of subsampled chroma; 0 is off",
        (0, 16),
    )
    denoise: float = setting(
        0.0,
        "standard deviations of the noise",
        "range of a bilateral filter where the label is as noisy as the reference; 0 is off",
        (0, 20),
    )
    rendered: float = setting(
        0.0,
        "factor",
        "trust = pixel: how much the error that rendering leaves counts; 0 counts that of chroma",
        (0, 10),
    )
    difference: float = setting(
        5 / 255, "mu-law", "trust = difference: larger differences are masked", (0, 1), "SelfHDR"
    )


@dataclass(frozen=True)
class Illumination:
    """Synthetic light: a gain that varies over the patch, on the label and on the frames."""

    frames: str = setting(
        "modelled",
        "modelled | real",
        "frames computed from the lit label, or the real frames times the gain",
        ["modelled", "real"],
        "modelled: SS-HDR; real: ours",
    )
    share: float = setting(
        0.35, "fraction of samples", "with synthetic light, if the label has headroom", (0, 1)
    )
    kinds: str = setting(
        "edge",
        "edge | any",
        "a soft straight edge; or an edge, a spot, a window or clouds, equally often",
        ["edge", "any"],
        "edge: SS-HDR; any: ours",
    )
    gain_low: float = setting(1.5, "stops", "smallest gain", (0, 10))
    gain_high: float = setting(
        3.5, "stops", "largest gain", (0, 10), "SS-HDR: 11 to 12 times in its figure; 4 is ours"
    )
    ramp_low: float = setting(
        0.25, "fraction of the patch", "narrowest edge", (0.01, 2), "SS-HDR: measured in its figure"
    )
    ramp_high: float = setting(
        0.34, "fraction of the patch", "widest edge", (0.01, 2), "SS-HDR: measured in its figure"
    )


@dataclass(frozen=True)
class Warp:
    """Synthetic motion: a random homography for each frame except the reference."""

    patches: str = setting(
        "static",
        "static | all",
        "static patches and modelled frames; or also patches with real motion",
        ["static", "all"],
        "static: SS-HDR; all: ours",
    )
    share: float = setting(0.75, "fraction of their samples", "with synthetic motion", (0, 1))
    shift: float = setting(
        6.0, "px, sigma", "translation", (0, 200), "SS-HDR: Gaussian; the size is ours"
    )
    turn: float = setting(
        1.5, "degrees, sigma", "rotation", (0, 45), "SS-HDR: Gaussian; the size is ours"
    )
    zoom: float = setting(
        0.02, "relative, sigma", "scale", (0, 0.3), "SS-HDR: Gaussian; the size is ours"
    )
    tilt: float = setting(
        1e-4, "1/px, sigma", "perspective", (0, 2e-3), "SS-HDR: Gaussian; the size is ours"
    )


@dataclass(frozen=True)
class Pieces:
    """Synthetic moving objects, composited into all frames and into the label."""

    share: float = setting(0.0, "fraction of samples", "with moving objects; 0 is off", (0, 1))
    most: int = setting(2, "objects", "at most this many in a sample; they may overlap", (1, 8))
    at_clipped: float = setting(
        0.7, "fraction of objects", "placed where the reference clips, if it does", (0, 1)
    )
    measured: float = setting(
        0.5,
        "fraction of objects",
        "with the size and speed of something that moves in the bracket, if anything does",
        (0, 1),
    )
    size_low: float = setting(0.15, "fraction of the patch", "smallest object", (0.02, 2))
    size_high: float = setting(0.7, "fraction of the patch", "largest object", (0.02, 2))
    speed_low: float = setting(2.0, "px per frame", "slowest object", (0, 500))
    speed_high: float = setting(40.0, "px per frame", "fastest object", (0, 500))
    thin: float = setting(0.3, "fraction of objects", "shaped like an arm or a branch", (0, 1))
    bright: float = setting(
        0.35, "fraction of objects", "brighter than the reference can show", (0, 1)
    )
    bright_stops: float = setting(
        1.5, "stops", "how far above the clip of the reference, at most", (0, 10)
    )
    dark: float = setting(0.3, "fraction of objects", "darker than their surroundings", (0, 1))
    dark_stops: float = setting(3.5, "stops", "how far below their surroundings, at most", (0, 10))
    alike_stops: float = setting(
        0.5, "stops, sigma", "the other objects: difference to their surroundings", (0, 5)
    )
    turn: float = setting(4.0, "degrees per frame, sigma", "rotation", (0, 90))
    zoom: float = setting(0.03, "relative, sigma", "scale in each other frame", (0, 0.3))
    ripple: float = setting(0.03, "fraction of the size, sigma", "deformation", (0, 0.3))
    blur: float = setting(
        0.25, "fraction of the motion between frames", "motion blur of the longest exposure", (0, 1)
    )
    shadow: float = setting(0.35, "fraction of objects", "that cast a shadow", (0, 1))
    shade: float = setting(0.4, "fraction of the light", "that a shadow takes away", (0, 1))
