"""What a unified collection holds, set by set, beside what the papers say they used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import read_manifest, write_json
from xpose.data.collection.store import CocoSet
from xpose.pages import render
from xpose.pictures.atomic import write_text
from xpose.records import Record

# The papers' rows: the set, its images, and the names of the converters that bring it.
PAPER_ROWS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("COCO", 58_945, ("coco",)),
    ("300W", 3_837, ("300w",)),
    ("OneHand10K", 2_000, ("onehand10k",)),
    ("Human-Art", 50_000, ("humanart",)),
    ("AP-10K", 10_015, ("ap10k",)),
    ("APT-36K", 36_000, ("apt36k",)),
    ("MacaquePose", 2_000, ("macaquepose",)),
    ("Animal Kingdom", 33_099, ("animal-kingdom", "animal-kingdom-coco")),
    ("AnimalWeb", 22_451, ("animalweb",)),
    ("Vinegar Fly", 1_500, ("vinegar-fly",)),
    ("Desert Locust", 700, ("desert-locust",)),
    ("Keypoint-5", 2_000, ("keypoint-5",)),
    ("MP-100", 16_943, ("mp100", "mp-100")),
)
PAPER_TOTALS = {
    "images": 226_547,
    "instances": 418_487,
    "keypoint names": 338,
    "categories": 1_237,
    "species": 1_216,
    "families": 66,
    "orders": 23,
    "classes": 7,
}
PAPER_ROWS_SUM = {"images": sum(images for _, images, _ in PAPER_ROWS), "instances": 431_307}
DIFFERENCE = PAPER_ROWS_SUM["images"] - PAPER_TOTALS["images"]
RANKS = {"species": "species", "families": "family", "orders": "order", "classes": "class_"}


@dataclass
class SetStatistics:
    """What one set brings."""

    images: Counter[str] = field(default_factory=Counter)  # by role
    with_keypoints: Counter[str] = field(default_factory=Counter)  # images, by role
    instances: Counter[str] = field(default_factory=Counter)  # by role
    labelled: int = 0  # instances with keypoints
    visible: int = 0
    hidden: int = 0
    categories: set[str] = field(default_factory=set)
    keypoint_names: set[str] = field(default_factory=set)
    licences: Counter[str] = field(default_factory=Counter)  # of the pictures
    left_right: Counter[str] = field(default_factory=Counter)
    ranks: dict[str, set[str]] = field(default_factory=lambda: {rank: set() for rank in RANKS})

    def add(self, record: Record, role: str) -> None:
        """Count one more record."""
        self.images[role] += 1
        self.with_keypoints[role] += any(instance.keypoints for instance in record.instances)
        self.instances[role] += len(record.instances)
        self.licences[record.licence] += 1
        self.left_right[record.left_right] += 1
        for instance in record.instances:
            self.labelled += bool(instance.keypoints)
            visible = sum(1 for *_, v in instance.keypoints.values() if v == 2)
            self.visible += visible
            self.hidden += len(instance.keypoints) - visible
            if instance.category.name not in self.categories or not self.keypoint_names.issuperset(instance.keypoints):
                self.categories.add(instance.category.name)
                self.keypoint_names.update(instance.keypoints)
            for rank, attribute in RANKS.items():
                if value := getattr(instance.category.taxonomy, attribute):
                    self.ranks[rank].add(value)

    def to_json(self) -> dict[str, Any]:
        """As it stands in `statistics.json`."""
        return {
            "images": dict(sorted(self.images.items())),
            "images_with_keypoints": dict(sorted(self.with_keypoints.items())),
            "instances": dict(sorted(self.instances.items())),
            "instances_with_keypoints": self.labelled,
            "keypoints_visible": self.visible,
            "keypoints_hidden": self.hidden,
            "categories": len(self.categories),
            "keypoint_names": len(self.keypoint_names),
            "picture_licences": dict(sorted(self.licences.items())),
            "left_right": dict(sorted(self.left_right.items())),
        }


@dataclass
class Statistics:
    """The whole collection."""

    sets: dict[str, SetStatistics]
    manifest: Mapping[str, Any]

    def totals(self) -> dict[str, int]:
        """The figures that the papers print, for this collection."""
        sets = self.sets.values()
        return {
            "images": sum(one.images.total() for one in sets),
            "instances": sum(one.instances.total() for one in sets),
            "keypoint names": len({name for one in sets for name in one.keypoint_names}),
            "categories": len({name for one in sets for name in one.categories}),
            **{rank: len({name for one in sets for name in one.ranks[rank]}) for rank in RANKS},
        }

    def paper_rows(self) -> list[tuple[str, int, int | None]]:
        """The papers' sets: name, images there, images with keypoints here (None where the set is missing).

        Of a set that was sampled only the sample counts, as the papers count it.
        """
        rows: list[tuple[str, int, int | None]] = []
        for title, images, names in PAPER_ROWS:
            here = [self._like_papers(name) for name in names if name in self.sets]
            rows.append((title, images, sum(here) if here else None))
        return rows

    def _like_papers(self, name: str) -> int:
        counted = self.sets[name].with_keypoints
        return counted["train"] if name in self.manifest.get("sampled", {}) else counted.total()

    def missing(self) -> list[str]:
        """The papers' sets that the collection lacks."""
        return [title for title, _, here in self.paper_rows() if here is None]

    def further(self) -> list[str]:
        """The sets that the papers do not use."""
        known = {name for *_, names in PAPER_ROWS for name in names}
        return sorted(set(self.sets) - known)

    def to_json(self) -> dict[str, Any]:
        """As it stands in `statistics.json`."""
        return {
            "sets": {name: one.to_json() for name, one in sorted(self.sets.items())},
            "totals": self.totals(),
            "papers": {
                "totals": PAPER_TOTALS,
                "sum_of_rows": PAPER_ROWS_SUM,
                "rows_exceed_totals_by_images": DIFFERENCE,
                "rows": [{"set": name, "images": images, "here": here} for name, images, here in self.paper_rows()],
            },
            "missing_sets": self.missing(),
            "further_sets": self.further(),
        }


def collect(folder: Path) -> Statistics:
    """Read a collection's files and count."""
    manifest = read_manifest(folder)
    sets: dict[str, SetStatistics] = {name: SetStatistics() for name in manifest.get("sets", {})}
    for role, entry in sorted(manifest["splits"].items()):
        for record in CocoSet(folder / entry["file"]):
            sets.setdefault(record.source, SetStatistics()).add(record, role)
    return Statistics(sets, manifest)


def write_statistics(folder: Path, statistics: Statistics) -> None:
    """Write `statistics.json` and the page `statistics.html`."""
    write_json(folder / "statistics.json", statistics.to_json())
    write_text(folder / "statistics.html", _page(statistics))


def _page(statistics: Statistics) -> str:
    totals = statistics.totals()
    return render(
        "statistics.html",
        title="What the collection holds",
        totals=totals,
        about=_about(statistics.manifest),
        sets=_set_rows(statistics),
        rows_sum=PAPER_ROWS_SUM,
        paper_totals=PAPER_TOTALS,
        paper_rows=_paper_rows(statistics),
        missing=statistics.missing(),
        further=statistics.further(),
        total_rows=[(name, value, PAPER_TOTALS[name]) for name, value in totals.items()],
    )


def _about(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    leaks = manifest.get("leaks", {})
    sampled = sorted(manifest.get("sampled", {}).items())
    compared = (
        f"{leaks.get('found', 0):,} pairs found, {leaks.get('pictures_dropped', 0):,} pictures left out of "
        f"training, {leaks.get('not_compared', 0):,} pictures could not be compared"
    )
    return [
        ("sampling seed", str(manifest.get("sampling_seed"))),
        (
            "sampled",
            "; ".join(f"{name}: {entry['taken']:,} of {entry['of']:,}" for name, entry in sampled)
            or "no set; all are taken whole",
        ),
        ("leaks", "not looked for" if leaks.get("rule") == "off" else compared),
        ("sides exchanged", ", ".join(manifest.get("sides_swapped", [])) or "in no set"),
    ]


def _set_rows(statistics: Statistics) -> list[tuple[str | int, ...]]:
    return [
        (
            name,
            entry.images["train"],
            entry.images["evaluation"],
            entry.instances.total(),
            entry.visible + entry.hidden,
            entry.hidden,
            len(entry.categories),
            len(entry.keypoint_names),
            ", ".join(sorted(entry.left_right)) or "none",
            statistics.manifest.get("sets", {}).get(name, {}).get("licence", ""),
        )
        for name, entry in sorted(statistics.sets.items())
    ]


def _paper_rows(statistics: Statistics) -> list[tuple[str | int, ...]]:
    rows: list[tuple[str | int, ...]] = []
    for title, images, here in statistics.paper_rows():
        difference = "missing" if here is None else f"{here - images:+,}" if here != images else "equal"
        rows.append((title, images, "" if here is None else here, difference))
    total = sum(here or 0 for *_, here in statistics.paper_rows())
    rows.append(("sum of the rows", PAPER_ROWS_SUM["images"], total, ""))
    rows.append(("total as printed", PAPER_TOTALS["images"], "", ""))
    return rows
