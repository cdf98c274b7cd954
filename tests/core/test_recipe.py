from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from labelgen.core.errors import UserError
from labelgen.core.recipe import DEFAULT, RECIPES, Recipe, load_recipe
from labelgen.core.validation import tomllib


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_recipes_survive_toml_and_json(recipe: Recipe) -> None:
    assert Recipe.from_dict(tomllib.loads(recipe.as_toml())) == recipe
    assert Recipe.from_dict(recipe.as_dict()) == recipe


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_every_setting_has_a_unit_a_meaning_and_a_source(recipe: Recipe) -> None:
    for settings in recipe.sections().values():
        for f in dataclasses.fields(settings):
            assert f.metadata["unit"], f.name
            assert f.metadata["meaning"], f.name
            assert f.metadata["source"], f.name


def test_any_text_survives_toml() -> None:
    named = dataclasses.replace(DEFAULT, summary='for "night" \u2026 \U0001f600')
    assert Recipe.from_dict(tomllib.loads(named.as_toml())) == named


def test_a_file_needs_only_what_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[patches]\nsize = 64\n")
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.patches.size, recipe.patches.variants) == ("mine", 64, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[patches]\nsise = 64", "no setting 'patches.sise'; there are size"),
        ("[path]\nsize = 64", "no setting 'path'; there are name"),
        ("patches = 3", "'patches' is a section"),
        ("[patches]\nsize = 64.5", "patches.size is 64.5, expected a whole number of 16 to 1024"),
        ("[patches]\nsize = true", "patches.size is True"),
        ("[align]\nmethod = 'sift'", "align.method is 'sift', expected one of none, homography"),
        ("[illumination]\ngain_low = 5", "illumination.gain_low is above illumination.gain_high"),
        ("[warp]\nshift = nan", "warp.shift is nan"),
        ("[motion]\nclose = 4", "motion.close is even, expected an odd width"),
        ("not toml", "not TOML"),
    ],
)
def test_unusable_recipes_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_recipe(str(path))
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match="no recipe 'best'; there are default, sshdr, selfhdr"):
        load_recipe("best")


def test_recipes_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT.name = "x"  # type: ignore[misc]
