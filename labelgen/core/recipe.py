"""Recipes: named sets of all settings of the method, read from TOML and written to it.

A TOML file only needs the settings that it changes; the others have the values of `sshdr`. Types
and ranges are declared in `labelgen.core.settings` and checked here by hand: messages name the
setting, its value, its range and its unit, which schema libraries leave out.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.core.settings import (
    Align,
    Camera,
    Exposure,
    Fusion,
    Illumination,
    Motion,
    Noise,
    Patches,
    Pieces,
    Warp,
)
from labelgen.core.validation import one_line, read_toml, short_repr

MAX_TEXT_LENGTH = 1000
"""Characters of the name and of the summary of a recipe."""
LOW_HIGH_SETTINGS = {"illumination": ("gain", "ramp"), "pieces": ("size", "speed")}
"""Ranges that consist of two settings, NAME_low and NAME_high, by section."""


@dataclass(frozen=True)
class Recipe:
    """All settings of a dataset, in sections.

    Raises
    ------
    UserError
        A setting has another type or is outside its range.

    Examples
    --------
    >>> recipe = Recipe("mine", "smaller patches", patches=Patches(size=64))
    >>> Recipe.from_dict(recipe.as_dict()) == recipe
    True
    """

    name: str
    summary: str
    patches: Patches = field(default_factory=Patches)
    align: Align = field(default_factory=Align)
    camera: Camera = field(default_factory=Camera)
    noise: Noise = field(default_factory=Noise)
    motion: Motion = field(default_factory=Motion)
    exposure: Exposure = field(default_factory=Exposure)
    fusion: Fusion = field(default_factory=Fusion)
    illumination: Illumination = field(default_factory=Illumination)
    warp: Warp = field(default_factory=Warp)
    pieces: Pieces = field(default_factory=Pieces)

    def __post_init__(self) -> None:
        for section, settings in self.sections().items():
            for f in dataclasses.fields(settings):
                _check_setting(f"{section}.{f.name}", getattr(settings, f.name), f)
        for name in ("close", "grow"):  # an even kernel would shift the mask
            if getattr(self.motion, name) % 2 == 0:
                raise UserError(f"motion.{name} is even, expected an odd width in px")
        for section, names in LOW_HIGH_SETTINGS.items():
            for name in names:
                low, high = f"{name}_low", f"{name}_high"
                settings = getattr(self, section)
                if getattr(settings, low) > getattr(settings, high):
                    raise UserError(f"{section}.{low} is above {section}.{high}")

    def sections(self) -> dict[str, Any]:
        """Return the dataclass of each section by the name of the section."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if dataclasses.is_dataclass(value)}

    def as_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, as stored in a dataset."""
        return dataclasses.asdict(self)

    def as_toml(self) -> str:
        """Return TOML, with the unit, meaning and source of every setting as a comment."""
        lines = [f"name = {_quote(self.name)}", f"summary = {_quote(self.summary)}"]
        for section, settings in self.sections().items():
            lines += ["", f"# {(type(settings).__doc__ or '').strip()}", f"[{section}]"]
            for f in dataclasses.fields(settings):
                value = json.dumps(getattr(settings, f.name), ensure_ascii=False)
                comment = "[{unit}] {meaning} ({source})".format_map(f.metadata)
                lines.append(f"{f.name} = {value}  # {comment}")
        return "\n".join(lines) + "\n"

    @staticmethod
    def from_dict(values: dict[str, Any], where: str = "recipe") -> Recipe:
        """Return the recipe that plain dictionaries describe.

        Parameters
        ----------
        values : dict
            As `as_dict` returns them. Settings that are left out have the value of `sshdr`.
        where : str
            File of the recipe, for messages; its stem is the default name.

        Raises
        ------
        UserError
            An unknown setting, or a value of another type or outside its range.
        """
        known = [f.name for f in dataclasses.fields(Recipe)]
        section_types = {name: type(section) for name, section in SSHDR.sections().items()}
        parsed: dict[str, Any] = {"name": Path(where).stem, "summary": ""}
        for key, value in values.items():
            if key not in known:
                raise UserError(
                    f"{where}: no setting {short_repr(key)}; there are {', '.join(known)}"
                )
            if key in section_types:
                parsed[key] = _parse_section(section_types[key], key, value, where)
            elif isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH:
                parsed[key] = value
            else:
                raise UserError(f"{where}: {key} is {short_repr(value)}, expected a short text")
        try:
            return Recipe(**parsed)
        except UserError as e:
            raise UserError(f"{where}: {e}") from e


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _parse_section(section_type: type[Any], name: str, values: Any, where: str) -> Any:
    """Return a section with the given settings. Their types and ranges are checked by `Recipe`."""
    if not isinstance(values, dict):
        raise UserError(f"{where}: '{name}' is a section; write [{name}] and its settings below")
    known = [f.name for f in dataclasses.fields(section_type)]
    if unknown := [key for key in values if key not in known]:
        raise UserError(
            f"{where}: no setting {short_repr(f'{name}.{unknown[0]}')}; "
            f"there are {', '.join(known)}"
        )
    return section_type(**values)


def _check_setting(name: str, value: Any, f: dataclasses.Field[Any]) -> None:
    """Check type and range of a setting."""
    allowed = f.metadata["allowed"]
    if isinstance(allowed, list):
        if value not in allowed:
            raise UserError(f"{name} is {short_repr(value)}, expected one of {', '.join(allowed)}")
        return
    number = (int,) if isinstance(f.default, int) else (int, float)
    low, high = allowed
    if isinstance(value, bool) or not isinstance(value, number) or not low <= value <= high:
        kind = "a whole number" if number == (int,) else "a number"
        raise UserError(
            f"{name} is {short_repr(value)}, "
            f"expected {kind} of {low} to {high} ({f.metadata['unit']})"
        )


SSHDR = Recipe(
    "sshdr",
    "the published method: whole cells, Kalantari weights, synthetic light, homography motion",
)
SELFHDR = Recipe(
    "selfhdr",
    "colour label of SelfHDR: flow-aligned frames, Kalantari weights, masked by difference",
    patches=Patches(variants=1),
    align=Align(method="flow", megapixels=2.0),
    fusion=Fusion(trust="difference"),
    illumination=Illumination(share=0.0),
    warp=Warp(share=0.0),
)
DEFAULT = Recipe(
    "default",
    "a weight per pixel: noise-aware motion cue, inverse-variance fusion of the frames that agree",
    patches=Patches(choice="score"),
    align=Align(refine=12.0, gain="undone", variational=0),
    noise=Noise(estimate="brackets"),
    motion=Motion(threshold=4 / 255, measured=3.0, gradient=0.5, speck=2, close=9, grow=7),
    fusion=Fusion(
        weights="variance",
        trust="pixel",
        guess=120,
        misplaced=0.2,
        doubt=1 / 16,
        chroma=3,
        denoise=4.0,
        rendered=1.0,
    ),
    illumination=Illumination(frames="real", kinds="any", share=0.5, gain_low=0.5, gain_high=4.0),
    warp=Warp(patches="all", share=0.5, shift=10.0),
)
RECIPES = {r.name: r for r in (DEFAULT, SSHDR, SELFHDR)}


def load_recipe(name_or_file: str) -> Recipe:
    """Return a built-in recipe by its name, or read one from a TOML file.

    Parameters
    ----------
    name_or_file : str
        "default", "sshdr", "selfhdr", or a path that ends in .toml.

    Raises
    ------
    UserError
        No such recipe or file, or a file with unknown or unusable settings.
    """
    if name_or_file in RECIPES:
        return RECIPES[name_or_file]
    path = Path(name_or_file)
    if path.suffix != ".toml":
        raise UserError(
            f"no recipe '{name_or_file}'; there are {', '.join(RECIPES)}, or give a .toml file"
        )
    try:
        values = read_toml(path)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{path}: not TOML: {one_line(e)}") from e
    return Recipe.from_dict(values, str(path))
