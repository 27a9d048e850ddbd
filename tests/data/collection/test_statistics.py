"""What a collection holds beside the papers' figures, and collections of real samples where they are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.data.collection.test_unify import records_in, simple
from tests.data.datasets.test_folder_sets import shared_index
from tests.data.small_sets import category
from tests.data.trees import SHARED, check_pycocotools, link, shared

from xpose.data.collection.manifest import read_manifest
from xpose.data.collection.unify import PRINTS, SAMPLES, Choices, unify


def test_statistics_stand_beside_the_papers(tmp_path: Path) -> None:
    simple(tmp_path / "sets", "coco", train=5)
    simple(tmp_path / "sets", "onehand10k", train=5, start=20, kind=category("hand", "hand"))
    simple(tmp_path / "sets", "mine", train=5, start=40)
    done = unify([tmp_path / "sets"], tmp_path / "out", Choices(samples={"onehand10k": 4}))
    told = json.loads((tmp_path / "out/statistics.json").read_text())
    assert told["totals"]["images"] == 20
    assert told["papers"]["totals"]["images"] == 226_547
    assert told["papers"]["sum_of_rows"] == {"images": 239_490, "instances": 431_307}
    assert told["papers"]["rows_exceed_totals_by_images"] == 12_943
    rows = {title: here for title, _, here in done.statistics.paper_rows()}
    assert rows["COCO"] == 7, "training and evaluation together"
    assert rows["OneHand10K"] == 4, "of a sampled set the sample alone"
    assert len(told["missing_sets"]) == 11
    assert told["further_sets"] == ["mine"]
    assert told["sets"]["mine"]["keypoints_hidden"] == 7 * 9
    assert told["sets"]["mine"]["keypoints_visible"] == 7 * 8
    assert done.statistics.totals()["keypoint names"] == 17 + 21
    page = (tmp_path / "out/statistics.html").read_text()
    assert "12,943" in page
    assert "226,547" in page


def test_the_papers_rows_are_those_of_the_converters() -> None:
    from xpose.data.collection.statistics import PAPER_ROWS
    from xpose.data.datasets.converters import CONVERTERS, load_converter

    rows = {name: images for _, images, names in PAPER_ROWS for name in names}
    for name in CONVERTERS:
        expected = load_converter(name).expected.get("unikpt_images")
        assert rows.get(name) == expected, name
    for name in SAMPLES:
        assert rows[name] == 2000


def test_samples_of_original_formats_become_a_collection(tmp_path: Path) -> None:
    """Through a converter, and through the importer for COCO files."""
    from xpose.data.datasets.importers import import_set
    from xpose.data.datasets.pipeline import prepare

    for file in shared("format_samples/300w_pts").iterdir():
        link(file, tmp_path / "300w/afw" / file.name)
    for folder in ("helen/trainset", "lfpw/trainset"):
        (tmp_path / "300w" / folder).mkdir(parents=True)
    prepare("300w", tmp_path / "300w", tmp_path / "sets", splits=["train"])
    for name in ("ap10k", "macaque", "fly", "locust", "onehand10k"):
        (file,) = shared(f"format_samples/{name}").glob("*.json")
        import_set("coco", file, tmp_path / "sets", name=f"sample-{name}")
    unify([tmp_path / "sets"], tmp_path / "a")
    counts = {role: entry["counts"] for role, entry in read_manifest(tmp_path / "a")["splits"].items()}
    assert sum(counted["images"] for counted in counts.values()) >= 10
    assert {one.source for one in records_in(tmp_path / "a").values()} >= {"300w", "sample-ap10k", "sample-fly"}
    check_pycocotools(tmp_path / "a")
    unify([tmp_path / "sets"], tmp_path / "b")
    for file in ("train.json", "manifest.json", "statistics.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_real_collection(tmp_path: Path) -> None:
    """The small ones of every fifth of its sets; the second run has no workers, and the fingerprints of the first."""
    index = [x for x in sorted(shared_index(), key=lambda entry: entry["name"])[::5] if x["images"] < 130]
    assert len(index) > 5
    names = [entry["name"] for entry in index]
    done = unify([SHARED], tmp_path / "a", Choices(workers=2), only=names)
    pictures = sum(entry["images"] for entry in index)
    dropped = read_manifest(tmp_path / "a")["leaks"]["pictures_dropped"]
    assert dropped < 20
    assert sum(counts.images for counts in done.counts.values()) + dropped == pictures
    assert done.unread == []
    check_pycocotools(tmp_path / "a")
    (tmp_path / "b").mkdir()
    shutil.copy(tmp_path / "a" / PRINTS, tmp_path / "b" / PRINTS)
    unify([SHARED], tmp_path / "b", Choices(workers=1), only=names)
    for file in ("train.json", "evaluation.json", "manifest.json", "leaks.json", "statistics.json", "statistics.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
