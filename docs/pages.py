"""What the site has beside docs/*.md: pages from the top of the project; and a look at it."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
TOP = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
"""Pages of the site, and the files that are read on GitHub."""
FETCHED = re.compile(
    r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"'](?:https?:)?//[^\"']*[\"'][^>]*>"
)

WIDE = "---\nhide: [navigation]\n---\n"
"""The home page is alone in its part of the navigation."""

log = logging.getLogger("mkdocs.hooks.pages")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie at the top."""
    for name, source in TOP.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        for page, file in TOP.items():
            text = text.replace(f"]({file}", f"]({page}")
        text = re.sub(r"\]\(docs/", "](", text)
        text = WIDE + text if name == "index.md" else text
        files.append(File.generated(config, name, content=text))
    for path in sorted((ROOT / "datasets").rglob("README.md")):
        name = path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8").replace("](../../docs/", "](../../")
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links of docs/*.md to the top find the pages of the site."""
    for name, source in TOP.items():
        markdown = markdown.replace(f"](../{source}", f"]({name}")
    if "/" not in page.file.src_uri:
        markdown = markdown.replace("](../datasets/", "](datasets/")
    return markdown


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn, which --strict makes an error, of a page that would fetch something from elsewhere."""
    for found in FETCHED.findall(output):
        if 'rel="canonical"' not in found:
            log.warning("%s fetches from elsewhere: %s", page.file.src_uri, found)
    return output
