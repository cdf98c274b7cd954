"""The card of a dataset to read: README.md."""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from labelgen.core.errors import UserError
from labelgen.core.validation import one_line
from labelgen.dataset.format import BRANCHES, DAMAGE, Dataset, DatasetHeader
from labelgen.share.card_metadata import PEOPLE, CardMetadata
from labelgen.share.manifest import ManifestEntry

MAX_LOOKED_AT = 512
"""Samples whose weights are read, evenly over all."""
MAX_LISTED = 20


def readme(
    data: Dataset, facts: CardMetadata, files: Sequence[ManifestEntry], has_recipe: bool
) -> str:
    """The card of a dataset, in Markdown.

    Parameters
    ----------
    data : Dataset
        Open.
    facts : Facts
        What its maker says, completed.
    files : sequence of Listed
        The files of the dataset, the one that is passed on first.
    has_recipe : bool
        Whether ``recipe.toml`` goes with it.
    """
    header, name = data.header, files[0].name
    parts = (
        _missing(facts),
        [f"# {plain(facts.title)}", "", plain(facts.summary)],
        ["## What it holds", "", *_holds(data), "", *_coverage(data)],
        ["## Where it is from", "", *_from(header, facts)],
        ["## How it was made", "", *_made(header)],
        ["## Building it again", "", *_again(data, name, has_recipe)],
        ["## Reading it", "", *_reading(name)],
        ["## What to know before training on it", "", *_limits(header)],
        ["## Licence and citation", "", *_terms(facts)],
        ["## Files", "", *_files(files)],
    )
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def plain(text: str) -> str:
    """Text of others on one line, of which Markdown and HTML make nothing but text."""
    return re.sub(r"([\\`*_{}\[\]<>#|!&~$])", r"\\\1", " ".join(_one_line(text).split()))


def code(text: str) -> str:
    """Text of others as code, of which Markdown makes nothing but text."""
    line = " ".join(_one_line(text).split())
    shown = line.replace("`", "'").replace("|", "/").replace("<", "(")
    return f"`{shown}`"


def _missing(facts: CardMetadata) -> list[str]:
    """The first line, where what sharing needs is missing."""
    if not facts.missing:
        return []
    what = " and no ".join(facts.missing)
    return [f"> **Not ready to be shared: no {what} stated.** Ask its maker before using it."]


def _table(rows: Sequence[tuple[str, object]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)]


def _holds(data: Dataset) -> list[str]:
    header, layout = data.header, data.layout
    counts = np.bincount(data.column("branch"), minlength=len(BRANCHES))
    used = {n: s for n, s in header.scenes.items() if "rejected" not in s}
    branches = ", ".join(f"{n} {c}" for n, c in zip(BRANCHES, counts, strict=False) if c)
    steps = Counter(_exposures(scene) for scene in used.values())
    cameras = Counter(plain(str(s.get("camera") or "not stated")) for s in used.values())
    return _table(
        [
            ("samples", f"{len(data):,}"),
            ("by branch", branches),
            ("brackets", f"{len(used):,}"),
            ("frames", f"{header.frames}, reference {header.reference} (shortest first, from 0)"),
            ("patch", f"{header.patch} x {header.patch} px"),
            ("inputs", f"{layout.depth} bit codes of gamma 2.2"),
            ("compression", layout.compress),
            ("exposures in EV (brackets)", _counted(steps)),
            ("cameras (brackets)", _counted(cameras)),
            ("fingerprint", code(header.fingerprint)),
        ]
    )


def _exposures(scene: dict[str, Any]) -> str:
    return " ".join(f"{float(f.get('ev', 0)):+.1f}" for f in scene.get("frames", []))


def _counted(found: Counter[str]) -> str:
    listed = [f"{key} ({count})" for key, count in found.most_common(MAX_LISTED)]
    more = f", and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    return ", ".join(listed) + more


def _coverage(data: Dataset) -> list[str]:
    """How much of the labels can be trusted, from some samples and from what builds note."""
    rows = np.unique(np.linspace(0, len(data) - 1, MAX_LOOKED_AT).round().astype(int))
    counts = np.zeros(256, np.int64)
    try:
        for row in rows.tolist():
            counts += np.bincount(data.image("weight", row).ravel(), minlength=256)
    except DAMAGE as e:
        raise UserError(f"{data.path}: damaged ({one_line(e)}); 'labelgen verify' says more") from e
    share = counts / counts.sum()
    high, some = float(share[205:].sum()), float(share[128:].sum())
    said = f"Of their pixels, {some:.1%} have a weight of 128 or more, {high:.1%} of 205 or more"
    looked = f" (looked at in {len(rows)} of them)" if len(rows) < len(data) else ""
    labels = [s["label"] for s in data.header.scenes.values() if isinstance(s.get("label"), dict)]
    lines = [f"{said}{looked}; {float(share[0]):.1%} have none."]
    shares = [
        f"{name} {np.mean([label[name] for label in labels]):.1%}"
        for name in ("static", "moving", "clipped", "dark")
        if labels and all(isinstance(label.get(name), int | float) for label in labels)
    ]
    if shares:
        lines.append(f"Of the frames they come from, as means: {', '.join(shares)}.")
    return [" ".join(lines)]


def _from(header: DatasetHeader, facts: CardMetadata) -> list[str]:
    masked = sum("masks" in scene for scene in header.scenes.values())
    origin = plain(facts.origin) or "**Not stated.**"
    consent = plain(facts.consent) or ("" if facts.people == "none" else "not stated")
    lines = [f"- Origin of the photos and their terms: {origin}"]
    lines += [f"- People: {PEOPLE[facts.people]}." + f" Consent: {consent}." * bool(consent)]
    if masked:
        lines += [f"- Brackets with masks, under which nothing was taken: {masked}."]
    rejected = Counter(str(s["rejected"]) for s in header.scenes.values() if "rejected" in s)
    if rejected:
        lines += [f"- {sum(rejected.values())} brackets were rejected:"]
        lines += [f"    - {plain(why)} ({n})" for why, n in rejected.most_common(MAX_LISTED)]
    excluded = _excluded(header.options, header.derived)
    if excluded:
        listed = ", ".join(code(pattern) for pattern in list(excluded)[:MAX_LISTED])
        total = sum(excluded.values())
        lines += [f"- Brackets that were left out on purpose: {total}, by {listed}."]
    return lines


def _excluded(options: dict[str, Any], derived: Sequence[dict[str, Any]]) -> Counter[str]:
    """What builds were told to leave out, also those of the datasets that this was made of."""
    found = Counter(options.get("excluded", {}))
    for step in derived[-1:] if not options else ():
        for source in step.get("of", []):
            found += _excluded(source.get("options", {}), source.get("derived", []))
    return found


def _made(header: DatasetHeader) -> list[str]:
    recipe = header.recipe
    lines = [
        f"With {plain(header.generator)}, recipe {code(str(recipe.get('name', '')))}, labels "
        f"{code(str(recipe.get('labels', 'several')))}."
    ]
    for step in header.derived:
        sources = ", ".join(
            f"{plain(o.get('file', ''))} ({o.get('samples', 0)} samples)"
            for o in step.get("of", [])
        )
        settings = {k: v for k, v in step.items() if k not in ("by", "of")}
        lines += [
            "",
            f"Then {code('labelgen ' + step.get('by', ''))} of {sources}"
            + (f", with {plain(json.dumps(settings))}" if settings else "")
            + ". Fingerprints and recipes of these are in the attribute `derived`.",
        ]
    return lines


def build_command(header: DatasetHeader, name: str, compress: str) -> list[str]:
    """The lines of a shell that build a dataset again from its photos in RAW.

    Parameters
    ----------
    header : Header
        Of the dataset.
    name : str
        Its file name.
    compress : str
        Its compression.
    """
    options, recipe = header.options, header.recipe
    words = ["labelgen", "build", "RAW", name, "--recipe", "recipe.toml"]
    words += ["--frames", str(header.frames)]
    words += ["--reference", str(options.get("reference", header.reference))]
    words += ["--seed", str(recipe.get("seed", 0)), "--labels", str(recipe.get("labels", "pseudo"))]
    words += ["--augment"] * bool(options.get("augment"))
    for key in ("groups", "response", "bayer", "limit"):
        words += [f"--{key}", str(options[key])] if key in options else []
    words += ["--compress", compress]
    if isinstance(options.get("part_bytes"), int):
        words += ["--part-size", str(options["part_bytes"] / 2**30)]
    for key, text in (("license", header.license), ("citation", header.citation)):
        words += [f"--{key}", text] if text else []
    lines = []
    excluded = options.get("excluded")
    if isinstance(excluded, dict) and excluded:
        listed = " ".join(shlex.quote(_one_line(str(p))) for p in excluded)
        lines.append(f"printf '%s\\n' {listed} > exclude.txt")
        words += ["--exclude", "exclude.txt"]
    return [*lines, " ".join(shlex.quote(_one_line(w)) for w in words)]


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _again(data: Dataset, name: str, has_recipe: bool) -> list[str]:
    header = data.header
    if header.derived or not has_recipe:
        return [
            "Build each dataset that it is made of, then give the same commands again; what each "
            "was built with is in the attribute `derived`.",
        ]
    commands = build_command(header, name, data.layout.compress)
    return [
        "From the photos in `RAW`, with the versions above (on another kind of processor codes "
        "may differ by one):",
        "",
        *(f"    {line}" for line in commands),
        f"    labelgen verify {shlex.quote(name)}",
        "",
        "It is the same if the fingerprint is, and byte for byte if `sha256sum -c SHA256SUMS` "
        "says so.",
    ]


def _reading(name: str) -> list[str]:
    return [
        "HDF5, one sample a row; `h5py` alone reads it:",
        "",
        "    import h5py",
        f"    with h5py.File({json.dumps(name)}) as f:",
        '        codes, label, weight = f["inputs"][0], f["label"][0], f["weight"][0]',
        "",
        "`inputs` are gamma 2.2 codes, shortest frame first, `ev` their exposures in stops;",
        "`radiance = (code / max) ** 2.2 / 2 ** ev`. `label` is linear radiance, 1.0 where the",
        "shortest frame clips; multiply the loss of each pixel by `weight / 255`. All of it:",
        "docs/format.md of labelgen. Training:",
        "",
        f"    trainer fit {shlex.quote(name)} --run run/",
    ]


def _limits(header: DatasetHeader) -> Iterator[str]:
    kinds = {
        "pseudo": "- Labels were made from the frames themselves.",
        "truth": "- Labels are the truth that came with the brackets.",
    }
    several = "- Labels are of several kinds; the attribute `derived` says which."
    yield kinds.get(str(header.recipe.get("labels")), several)
    yield "- Where `weight` is 0 a label means nothing; below 128 it is a guess at best."
    yield "- Nothing is known of radiance beyond the clip of the shortest frame: labels end at 1.0."
    assumed = [c for c, r in header.responses.items() if "assumed" in str(r.get("name"))]
    if assumed:
        listed = ", ".join(plain(c) for c in assumed[:MAX_LISTED])
        yield f"- The response of these cameras was assumed, not found: {listed}."
    noted = sum(bool(s.get("problems")) for s in header.scenes.values() if "rejected" not in s)
    if noted:
        yield f"- Something was noted against {noted} brackets that were used (`problems`)."


def _terms(facts: CardMetadata) -> list[str]:
    lines = [f"- Licence: {plain(facts.license) or '**not stated**'}"]
    lines += [f"- To cite: {plain(facts.citation) or 'not stated'}"]
    for name, text in (("Made by", facts.creator), ("Offered at", facts.url)):
        lines += [f"- {name}: {plain(text)}"] * bool(text)
    dated = " ".join(filter(None, (facts.version, facts.date)))
    return lines + [f"- Version: {plain(dated)}"] * bool(dated)


def _files(files: Sequence[ManifestEntry]) -> list[str]:
    rows = [f"| {plain(f.name)} | {f.bytes:,} | `{f.sha256}` |" for f in files]
    return ["| file | bytes | SHA-256 |", "|---|---|---|", *rows]
