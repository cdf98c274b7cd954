"""Render the card of a dataset, README.md, so that texts of strangers stay plain text.

Markdown includes HTML, so HTML autoescaping would not do: each expression of the template is
escaped for Markdown instead, unless a filter has returned `Verbatim`.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files as package_files

from jinja2 import Environment, StrictUndefined, Template

from labelgen.dataset.reader import Dataset
from labelgen.share.card_facts import gather_facts
from labelgen.share.card_metadata import CardMetadata
from labelgen.share.manifest import ManifestEntry
from labelgen.share.text import single_line

MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!&~$])")
"""Characters that mean something in Markdown or HTML."""


class Verbatim(str):
    """Markdown that is not escaped again."""


def readme(
    data: Dataset, metadata: CardMetadata, files: Sequence[ManifestEntry], has_recipe: bool
) -> str:
    """Return the card of a dataset, in Markdown.

    Parameters
    ----------
    data : Dataset
        Open.
    metadata : CardMetadata
        What its maker says, completed.
    files : sequence of ManifestEntry
        The files of the dataset; the first is the one that users open.
    has_recipe : bool
        Whether ``recipe.toml`` lies beside it.
    """
    return _template().render(gather_facts(data, metadata, files, has_recipe))


def plain(value: object) -> Verbatim:
    r"""Escape a text so that Markdown and HTML show it as it is, on one line.

    Examples
    --------
    >>> print(plain("<b>*bold*</b>"))
    \<b\>\*bold\*\</b\>
    """
    return (
        value if isinstance(value, Verbatim) else Verbatim(MARKUP.sub(r"\\\1", single_line(value)))
    )


def code(text: str) -> Verbatim:
    """Return a text as code, on one line; characters that could end it are replaced.

    Examples
    --------
    >>> print(code("a `b` | c"))
    `a 'b' / c`
    """
    shown = single_line(text).replace("`", "'").replace("|", "/").replace("<", "(")
    return Verbatim(f"`{shown}`")


def _join(items: Iterable[object], separator: str) -> Verbatim:
    return Verbatim(separator.join(map(plain, items)))


@cache
def _template() -> Template:
    environment = Environment(
        finalize=plain,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "code": code,
        "join": _join,
        "json": json.dumps,
        "percent": lambda share: f"{share:.1%}",
        "shell": shlex.quote,
        "single_line": single_line,
        "verbatim": Verbatim,
    }
    source = package_files(__package__).joinpath("README.md.jinja").read_text("utf-8")
    return environment.from_string(source)
