"""What people say of a dataset that it does not know itself: licence, origin, who is in it."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date as Date

from labelgen.core.errors import UserError
from labelgen.dataset.format import DatasetHeader

PEOPLE = {
    "": "not stated",
    "none": "no people are in it",
    "unrecognisable": "people are in it, none of whom can be recognised",
    "identifiable": "people are in it who can be recognised",
}
"""What `CardMetadata.people` may be, and what a card says of it."""


@dataclass(frozen=True)
class CardMetadata:
    """What goes into the card of a dataset, as its maker says it.

    `origin` is where the photos are from and on what terms, `people` one of `PEOPLE`, `consent`
    who consented to what; `url` is where the dataset is offered, `date` (YYYY-MM-DD) since when.

    Raises
    ------
    UserError
        `people` or `date` is something else, or a text is too long or no UTF-8.
    """

    title: str = ""
    license: str = ""
    origin: str = ""
    people: str = ""
    consent: str = ""
    creator: str = ""
    citation: str = ""
    url: str = ""
    version: str = ""
    date: str = ""
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
        """With what the dataset itself says, and a summary, where nothing was given."""
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
        """What a card should say and this one does not."""
        return [name for name in ("license", "origin") if not getattr(self, name)]

    @property
    def about_people(self) -> str:
        """Whether people are in it, and who consented."""
        consent = f"; consent: {self.consent}" if self.consent else ""
        return f"{PEOPLE[self.people]}{consent}" if self.people or self.consent else ""


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(Date.fromisoformat(text))
    except ValueError:
        return False
