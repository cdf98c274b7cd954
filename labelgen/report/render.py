"""Render a page from a template, with styles, scripts, font and images inside it.

All text is escaped by the template engine; data of scripts is JSON that cannot end its element. The
content security policy allows only the scripts with the hashes of labelgen's own, and no requests.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup

from labelgen.dataset.header import DatasetHeader
from labelgen.report.overview import BracketGroup, group_remarks
from labelgen.report.records import BracketRecord
from labelgen.report.text import ellipsize

LIBRARIES = ("vendor/d3.min.js", "vendor/plot.umd.min.js")
SCRIPTS = ("page/charts.js", "page/viewer.js")
FONT = "vendor/ibm-plex-sans-latin-wght-normal.woff2"


def render_page(
    name: str,
    about: dict[str, Any],
    header: DatasetHeader,
    used: Sequence[BracketRecord],
    rejects: Sequence[BracketGroup],
    plots: dict[str, Any],
    gallery: Sequence[dict[str, Any]],
) -> str:
    """Return the HTML of a report.

    Parameters
    ----------
    name : str
        Name of the dataset file.
    about : dict
        As `labelgen.dataset.info.info` returns it.
    header : DatasetHeader
        Of the dataset.
    used : sequence of BracketRecord
        The brackets that gave samples.
    rejects : sequence of BracketGroup
        The rejected ones, by kind of reason.
    plots : dict
        As `chart_data` returns it, with "times" from `build_times`.
    gallery : sequence of dict
        As `choose_brackets` returns it.
    """
    scripts = [_text(path) for path in (*LIBRARIES, *SCRIPTS)]
    index_keys = ("name", "thumb", "shares")
    return _template().render(
        policy=_policy(scripts),
        styles=Markup(_text("page/page.css")),
        font=base64.b64encode(files(__package__).joinpath(FONT).read_bytes()).decode(),
        scripts=[Markup(script) for script in scripts],
        licences=_text("vendor/LICENCES.txt"),
        name=ellipsize(name),
        about=about,
        facts=_facts(about),
        settings=_settings(header.recipe),
        used=used,
        groups=[*rejects, group_remarks(used)],
        rejected=len(about["rejected"]),
        plots=plots,
        gallery=gallery,
        index=[{key: bracket[key] for key in index_keys} for bracket in gallery],
        trust=plots["trust"][0],
    )


def _facts(about: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the origin of the dataset as pairs of term and text."""
    parts = f" in {about['parts']} parts" if about["parts"] else ""
    return [
        ("Fingerprint", ellipsize(about["fingerprint"])),
        ("Made by", ellipsize(about["generator"])),
        ("Recipe", ellipsize(about["recipe"])),
        ("Frames", f"{about['frames']} of {about['depth']} bits"),
        ("Reference", f"frame {about['reference'] + 1}, shortest first"),
        ("Patch", f"{about['patch']} \u00d7 {about['patch']} px"),
        ("On disk", f"{about['bytes'] / 1e6:,.1f} MB{parts}, compression: {about['compress']}"),
        ("Licence", ellipsize(about["license"] or "not stated", 400)),
        ("Citation", ellipsize(about["citation"] or "not stated", 400)),
    ]


def _settings(recipe: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return the recipe by section, first the settings outside of sections."""
    general = [
        (ellipsize(k, 60), ellipsize(v)) for k, v in recipe.items() if not isinstance(v, dict)
    ]
    sections = [
        (
            ellipsize(k, 60),
            [(ellipsize(name, 60), ellipsize(value)) for name, value in list(v.items())[:40]],
        )
        for k, v in recipe.items()
        if isinstance(v, dict)
    ]
    return [("general", general[:40]), *sections[:30]]


def _policy(scripts: Sequence[str]) -> str:
    hashes = (base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data:; font-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _text(path: str) -> str:
    """Return the text of a file of this package, with exactly one line break at its end."""
    return files(__package__).joinpath(path).read_text("utf-8").strip() + "\n"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    return environment.get_template("page/page.html")
