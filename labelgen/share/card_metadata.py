"""What the maker of a dataset states for its card: licence, origin, people, citation."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date as Date

from labelgen.core.errors import UserError
from labelgen.dataset.header import DatasetHeader

PEOPLE = {
    "": "not stated",
    "none": "no people are in it",
    "unrecognisable": "people are in it, none of whom can be recognised",
    "identifiable": "people are in it who can be recognised",
}
"""Values of `CardMetadata.people`, and their wording in the card."""


@dataclass(frozen=True)
class CardMetadata:
    """What the maker of a dataset states for its card; empty texts are not stated.

    Raises
    ------
    UserError
        `people` or `date` is not of its form, or a text is too long or not UTF-8.
    """

    title: str = ""
    license: str = ""
    origin: str = ""
    """Where the photos are from, and on what terms."""
    people: str = ""
    """Whether people are in the photos; one of `PEOPLE`."""
    consent: str = ""
    """Who consented to what."""
    creator: str = ""
    citation: str = ""
    url: str = ""
    """Where the dataset is published."""
    version: str = ""
    date: str = ""
    """Date of publication, YYYY-MM-DD."""
    summary: str = ""

    def __post_init__(self) -> None:
        if self.people not in PEOPLE:
            raise UserError(
                f"--people is '{self.people}', expected {', '.join(filter(None, PEOPLE))}"
            )
        if self.date and not _is_date(self.date):
            raise UserError(f"--date is '{self.date}', expected YYYY-MM-DD")
        for field in fields(self):
            text = getattr(self, field.name)
            if text != text.encode("utf-8", "replace").decode() or len(text) > 10_000:
                raise UserError(f"--{field.name} is not UTF-8 text of at most 10,000 characters")

    def completed(self, header: DatasetHeader) -> CardMetadata:
        """Fill empty fields with what the dataset itself states, and with a default summary."""
        used = sum("rejected" not in scene for scene in header.scenes.values())
        samples = sum(sum(s.get("branches", {}).values()) for s in header.scenes.values())
        brackets = f"{used} exposure bracket{'s' * (used != 1)}"
        summary = (
            f"{samples} samples of {header.frames} x {header.patch} x {header.patch} px from "
            f"{brackets}, to train HDR deghosting networks: frames as taken or augmented, labels "
            "of linear radiance, and a trust weight for every pixel. Made with labelgen."
        )
        return replace(
            self,
            title=self.title or f"HDR deghosting samples from {brackets}",
            license=self.license or header.license,
            citation=self.citation or header.citation,
            summary=self.summary or summary,
        )

    @property
    def missing(self) -> list[str]:
        """Names of required fields that are not stated."""
        return [name for name in ("license", "origin") if not getattr(self, name)]

    @property
    def about_people(self) -> str:
        """People and consent in one text, or nothing if neither is stated."""
        consent = f"; consent: {self.consent}" if self.consent else ""
        return f"{PEOPLE[self.people]}{consent}" if self.people or self.consent else ""


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(Date.fromisoformat(text))
    except ValueError:
        return False
