"""The options of a build."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from labelgen.calibration.survey import Selection
from labelgen.core.errors import UserError
from labelgen.core.recipe import Recipe, load_recipe
from labelgen.dataset.assemble import PART_BYTES, StorageOptions
from labelgen.pipeline.cluster import CLUSTERS
from labelgen.pipeline.executor import BACKENDS

LABELS = ("pseudo", "truth")


@dataclass(frozen=True)
class BuildOptions:
    """How to build a dataset: one field for each option of ``labelgen build``.

    Raises
    ------
    UserError
        An option has a value that makes no sense.
    """

    recipe: str | Recipe = "default"
    """Name, TOML file, or the recipe itself."""
    frames: int = 3
    """Frames of a sample; brackets with fewer are rejected."""
    reference: int | str | None = None
    """Index of the reference among the frames taken (shortest first, from 0). The default is
    `frames` // 2, in the middle of the bracket; "auto" looks for the best exposed frame."""
    groups: Path | None = None
    """Brackets as ``labelgen scan -o`` listed them, in place of a scan."""
    response: str = "auto"
    """Response of the cameras: "auto" calibrates it from the brackets of each camera; "gamma2.2",
    "srgb" or "linear" declares it; the path of a dataset or .json file takes the responses that it
    holds."""
    bayer: str = ""
    """Colour filters of images with a single channel, which are demosaiced: "RGGB", "BGGR",
    "GRBG", "GBRG"; "" takes them for grey."""
    estimate: bool = True
    """Whether brackets that state no exposure at all are used, by exposures estimated from their
    pixels. ``--strict`` rejects them."""
    labels: str = "pseudo"
    """"pseudo": labels by the recipe; "truth": from the HDRImg.hdr of each bracket."""
    augment: bool = False
    """With "truth": augment by the recipe. Pseudo-labels always are augmented."""
    exclude: Path | None = None
    """Text file with the name or pattern (``*``) of a bracket on each line."""
    limit: int | None = None
    """Take at most this many brackets, the first ones."""
    seed: int = 0
    """Seed of all random draws."""
    compress: str = "none"
    """Filter of the images: "none", "gzip", "bitshuffle"."""
    jobs: int | None = None
    """Workers; all cores, or all of a cluster, by default. The bytes of the dataset do not depend
    on it."""
    backend: str = "loky"
    """"loky" (processes) or "threading" (threads) on this machine; "dask" or "ray" for a cluster
    that is running and shares the file system."""
    scheduler: str = ""
    """Address of the cluster: tcp://host:8786 (Dask), host:6379 (Ray)."""
    memory: float | None = None
    """GB that all workers of this machine may take together; it limits their number."""
    resume: bool = False
    """Continue a build that was interrupted."""
    overwrite: bool = False
    """Replace an existing dataset or unfinished build."""
    part_bytes: int = PART_BYTES
    """Size above which a dataset is split."""
    license: str = ""
    """Licence to store in the dataset."""
    citation: str = ""
    """Citation to store in the dataset."""

    def __post_init__(self) -> None:
        self._check()
        _ = self.storage, self.selection  # these check themselves

    def _check(self) -> None:
        for option, value, allowed in (
            ("--labels", self.labels, LABELS),
            ("--backend", self.backend, BACKENDS),
        ):
            if value not in allowed:
                raise UserError(f"{option} is '{value}', expected {' or '.join(allowed)}")
        if self.augment and self.labels != "truth":
            raise UserError(
                "--augment goes with --labels truth; pseudo-labels are always augmented"
            )
        for option, number, least in (
            ("--jobs", self.jobs, 1),
            ("--limit", self.limit, 1),
            ("--seed", self.seed, 0),
        ):
            if number is not None and number < least:
                raise UserError(f"{option} is {number}, expected at least {least}")

    @cached_property
    def storage(self) -> StorageOptions:
        """How the dataset is stored."""
        return StorageOptions(self.compress, self.part_bytes, self.license, self.citation)

    @cached_property
    def effective_recipe(self) -> Recipe:
        """The recipe without augmentation if labels are the truth, unless `augment` is set."""
        recipe = self.recipe if isinstance(self.recipe, Recipe) else load_recipe(self.recipe)
        if self.labels != "truth" or self.augment:
            return recipe
        return replace(
            recipe,
            patches=replace(recipe.patches, variants=1, hard_variants=1),
            illumination=replace(recipe.illumination, share=0.0),
            warp=replace(recipe.warp, share=0.0),
            pieces=replace(recipe.pieces, share=0.0),
        )

    @cached_property
    def selection(self) -> Selection:
        """Which frames of each bracket are taken."""
        patch, truth = self.effective_recipe.patches.size, self.labels == "truth"
        return Selection.of(
            self.frames, self.reference, patch, truth, self.bayer, estimate=self.estimate
        )

    @property
    def on_cluster(self) -> bool:
        """Whether workers may run on other machines, with another current folder."""
        return self.backend in CLUSTERS

    def record(self, excluded: dict[str, int]) -> dict[str, Any]:
        """The options that a dataset stores: some of those that differ from the default."""
        options = {
            "reference": "auto" if self.reference == "auto" else "",
            "groups": self.groups.name if self.groups else "",
            "response": "" if self.response == "auto" else Path(self.response).name,
            "bayer": self.bayer,
            "augment": self.augment,
            "excluded": excluded,
            "limit": self.limit,
            "part_bytes": self.part_bytes if self.part_bytes != PART_BYTES else None,
        }
        return {name: value for name, value in options.items() if value}
