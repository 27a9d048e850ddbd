"""The contents of a unified collection, set by set, compared with the papers' figures."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpose.data.collection.manifest import read_manifest, write_json
from xpose.data.collection.store import CocoSet
from xpose.pages import render
from xpose.pictures.atomic import write_text
from xpose.records import VISIBLE, Record

_PAPERS = tomllib.loads(Path(__file__).with_name("papers.toml").read_text(encoding="utf-8"))
PAPER_ROWS: list[tuple[str, int, list[str]]] = _PAPERS["rows"]
PAPER_TOTALS: dict[str, int] = _PAPERS["totals"]
PAPER_ROWS_SUM = {"images": sum(images for _, images, _ in PAPER_ROWS), "instances": _PAPERS["instances_of_rows"]}
DIFFERENCE = PAPER_ROWS_SUM["images"] - PAPER_TOTALS["images"]
RANKS = {"species": "species", "families": "family", "orders": "order", "classes": "class_"}


@dataclass
class SetStatistics:
    """The figures of one set."""

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
            visible = sum(v == VISIBLE for *_, v in instance.keypoints.values())
            self.labelled += bool(instance.keypoints)
            self.visible += visible
            self.hidden += len(instance.keypoints) - visible
            self.categories.add(instance.category.name)
            self.keypoint_names.update(instance.keypoints)
            for rank, attribute in RANKS.items():
                if value := getattr(instance.category.taxonomy, attribute):
                    self.ranks[rank].add(value)

    def to_json(self) -> dict[str, Any]:
        """The set's entry in `statistics.json`, whose keys are sorted."""
        return {
            "images": self.images,
            "images_with_keypoints": self.with_keypoints,
            "instances": self.instances,
            "instances_with_keypoints": self.labelled,
            "keypoints_visible": self.visible,
            "keypoints_hidden": self.hidden,
            "categories": len(self.categories),
            "keypoint_names": len(self.keypoint_names),
            "picture_licences": self.licences,
            "left_right": self.left_right,
        }


@dataclass
class Statistics:
    """The whole collection."""

    sets: dict[str, SetStatistics]
    manifest: Mapping[str, Any]

    def totals(self) -> dict[str, int]:
        """The figures printed in the papers, for this collection."""
        sets = self.sets.values()
        return {
            "images": sum(of_set.images.total() for of_set in sets),
            "instances": sum(of_set.instances.total() for of_set in sets),
            "keypoint names": len(set().union(*(of_set.keypoint_names for of_set in sets))),
            "categories": len(set().union(*(of_set.categories for of_set in sets))),
            **{rank: len(set().union(*(of_set.ranks[rank] for of_set in sets))) for rank in RANKS},
        }

    def paper_rows(self) -> list[tuple[str, int, int | None]]:
        """The papers' sets: name, images in the papers, images with keypoints here (None if the set is missing).

        For a sampled set, only the sample counts, as in the papers.
        """
        sampled = self.manifest.get("sampled", {})
        rows: list[tuple[str, int, int | None]] = []
        for title, images, names in PAPER_ROWS:
            counts = [(name in sampled, self.sets[name].with_keypoints) for name in names if name in self.sets]
            here = sum(count["train"] if sample else count.total() for sample, count in counts)
            rows.append((title, images, here if counts else None))
        return rows

    def missing(self) -> list[str]:
        """The papers' sets that the collection lacks."""
        return [title for title, _, here in self.paper_rows() if here is None]

    def further(self) -> list[str]:
        """The sets that the papers do not use."""
        return sorted(set(self.sets).difference(*(names for *_, names in PAPER_ROWS)))


def collect(folder: Path) -> Statistics:
    """Compute the statistics of a collection."""
    manifest = read_manifest(folder)
    sets: dict[str, SetStatistics] = {name: SetStatistics() for name in manifest.get("sets", {})}
    for role, entry in sorted(manifest["splits"].items()):
        for record in CocoSet(folder / entry["file"]):
            sets.setdefault(record.source, SetStatistics()).add(record, role)
    return Statistics(sets, manifest)


def write_statistics(folder: Path, statistics: Statistics) -> None:
    """Write `statistics.json` and the page `statistics.html`."""
    totals, paper_rows = statistics.totals(), statistics.paper_rows()
    lists = {"missing": statistics.missing(), "further": statistics.further()}
    content = {
        "sets": {name: of_set.to_json() for name, of_set in statistics.sets.items()},
        "totals": totals,
        "papers": {
            "totals": PAPER_TOTALS,
            "sum_of_rows": PAPER_ROWS_SUM,
            "rows_exceed_totals_by_images": DIFFERENCE,
            "rows": [{"set": name, "images": images, "here": here} for name, images, here in paper_rows],
        },
        **{f"{kind}_sets": names for kind, names in lists.items()},
    }
    page = render(
        "statistics.html",
        title="What the collection holds",
        totals=totals,
        about=_about(statistics.manifest),
        sets=_set_rows(statistics),
        rows_sum=PAPER_ROWS_SUM,
        paper_totals=PAPER_TOTALS,
        paper_rows=_paper_table(paper_rows),
        total_rows=[(name, value, PAPER_TOTALS[name]) for name, value in totals.items()],
        **lists,
    )
    write_json(folder / "statistics.json", content)
    write_text(folder / "statistics.html", page)


def _about(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    leaks = manifest.get("leaks", {})
    sampled = [f"{name}: {entry['taken']:,} of {entry['of']:,}" for name, entry in manifest.get("sampled", {}).items()]
    compared = (
        f"{leaks.get('found', 0):,} pairs found, {leaks.get('pictures_dropped', 0):,} pictures left out of "
        f"training, {leaks.get('not_compared', 0):,} pictures could not be compared"
    )
    return [
        ("sampling seed", str(manifest.get("sampling_seed"))),
        ("sampled", "; ".join(sorted(sampled)) or "no set; all are taken whole"),
        ("leaks", "not looked for" if leaks.get("rule") == "off" else compared),
        ("sides exchanged", ", ".join(manifest.get("sides_swapped", [])) or "in no set"),
    ]


def _set_rows(statistics: Statistics) -> list[tuple[str | int, ...]]:
    rows: list[tuple[str | int, ...]] = []
    for name, of_set in sorted(statistics.sets.items()):
        pictures, points = (of_set.images["train"], of_set.images["evaluation"]), of_set.visible + of_set.hidden
        numbers = (*pictures, of_set.instances.total(), points, of_set.hidden, len(of_set.categories))
        licence = statistics.manifest.get("sets", {}).get(name, {}).get("licence", "")
        sides = ", ".join(sorted(of_set.left_right)) or "none"
        rows.append((name, *numbers, len(of_set.keypoint_names), sides, licence))
    return rows


def _paper_table(paper_rows: list[tuple[str, int, int | None]]) -> list[tuple[str | int, ...]]:
    rows: list[tuple[str | int, ...]] = []
    for title, images, here in paper_rows:
        difference = "missing" if here is None else f"{here - images:+,}" if here != images else "equal"
        rows.append((title, images, "" if here is None else here, difference))
    rows.append(("sum of the rows", PAPER_ROWS_SUM["images"], sum(here or 0 for *_, here in paper_rows), ""))
    rows.append(("total as printed", PAPER_TOTALS["images"], "", ""))
    return rows
