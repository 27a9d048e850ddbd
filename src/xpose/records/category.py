"""What an object is: its category with the keypoints that a set labels on it, and where an animal stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from xpose.errors import quote


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Where an animal stands, as far as the source says so; None is unknown, never a guess."""

    species: str | None = None
    family: str | None = None
    order: str | None = None
    class_: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """The four ranks by name (`class` without the underscore that Python needs)."""
        return {"species": self.species, "family": self.family, "order": self.order, "class": self.class_}

    @classmethod
    def from_json(cls, value: Mapping[str, str | None]) -> Taxonomy:
        """The inverse of `to_json`."""
        return cls(value.get("species"), value.get("family"), value.get("order"), value.get("class"))


@dataclass(frozen=True, slots=True)
class Category:
    """What an object is, and the keypoints which its set labels on objects of that kind."""

    name: str
    skeleton: str  # of xpose.vocabulary, or the name that a user's own file gives
    keypoints: tuple[str, ...]  # unified names
    edges: tuple[tuple[str, str], ...] = ()
    taxonomy: Taxonomy = Taxonomy()

    def faults(self) -> list[str]:
        """Everything that is wrong with it, in words."""
        found = []
        if not self.name.strip():
            found.append("the category has no name")
        doubled = sorted({name for name in self.keypoints if self.keypoints.count(name) > 1})
        if doubled:
            found.append(f"the category {quote(self.name)} names {', '.join(map(quote, doubled))} more than once")
        unknown = sorted({end for edge in self.edges for end in edge} - set(self.keypoints))
        if unknown:
            found.append(
                f"edges of {quote(self.name)} end at {', '.join(map(quote, unknown))}, which is not a keypoint"
            )
        return found
