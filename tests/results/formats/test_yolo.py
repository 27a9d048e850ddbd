"""YOLO-pose labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.data.trees import records_of
from tests.results.pose_cases import any_poses, two_dogs_and_a_box

from xpose.errors import ConfigError
from xpose.results.formats import yolo
from xpose.results.formats.table import files

pytest.importorskip("yaml", reason='PyYAML is not installed: pip install "xpose[data]"')
DOGS = two_dogs_and_a_box()


def test_a_line_has_shares_of_the_picture():
    first, second, hand = yolo.encode([DOGS])[0].splitlines()
    assert first == (
        "0 0.300000 0.450000 0.500000 0.500000 0.100000 0.300000 2 0.150630 0.400000 1 0.500000 0.600000 2"
    )
    assert second.endswith("0 0 0")
    assert hand == "1 0.875000 0.750000 0.250000 0.500000 0 0 0 0 0 0 0 0 0"


def test_skeletons_that_differ_share_one_list():
    names = (("left eye", "nose", "tail"), ("nose", "right eye"), ())
    poses = two_dogs_and_a_box(
        keypoint_names=names,
        canonical_names=(),
        edges=(),
        categories=("dog", "cat", "hand"),
        xy=[[[20, 30]] * 3, [[5, 5], [9, 9], [float("nan")] * 2], [[float("nan")] * 2] * 3],
        visibility=[[2] * 3, [2, 2, 0], [0] * 3],
    )
    layout = yolo.layout_of([poses])
    assert layout == yolo.Layout(("dog", "cat", "hand"), ("left eye", "nose", "tail", "right eye"))
    cat = yolo.encode([poses], layout)[0].splitlines()[1].split()
    assert cat[0] == "1"
    assert cat[5:] == ["0", "0", "0", "0.025000", "0.050000", "2", "0", "0", "0", "0.045000", "0.090000", "2"]


@given(any_poses())
def test_every_line_is_within_the_picture(poses):
    layout = yolo.layout_of([poses])
    lines = yolo.encode([poses], layout)[0].splitlines()
    assert len(lines) == (~poses.tentative).sum()
    for line in lines:
        words = line.split(" ")
        assert len(words) == 5 + 3 * len(layout.keypoints)
        assert all(0 <= float(word) <= 1 for word in [*words[1:5], *words[5::3], *words[6::3]])
        assert set(words[7::3]) <= {"0", "1", "2"}


def test_our_own_importer_reads_it(tmp_path):
    """What one part of the package writes, another reads: the same names, places and visibility."""
    from xpose.data.datasets.importers import import_set

    dogs, root = DOGS["dog"], tmp_path / "original"
    for path, content in files([dogs, dogs[:1]], ["sub/dogs", "first"], "yolo"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    for name in ("sub/dogs", "first"):
        (root / f"images/{name}.png").parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (200, 100)).save(root / f"images/{name}.png")
    done = import_set("yolo-pose", root / "data.yaml", tmp_path / "out", name="mine")
    records = sorted(records_of(done.prepared.folder).values(), key=lambda record: len(record.instances))
    assert [len(record.instances) for record in records] == [1, 2]
    record = records[1]
    for instance, dog in zip(record.instances, dogs, strict=True):
        assert instance.category.name == "dog"
        assert set(instance.keypoints) == {name for name, point in dog.points.items() if point.v}
        for name, (x, y, v) in instance.keypoints.items():
            assert (x, y) == pytest.approx(dog[name][:2], abs=1e-3)
            assert v == dog[name].v


@given(st.lists(st.text(), unique=True), st.lists(st.text(), unique=True))
def test_any_names_are_described(classes, keypoints):
    import yaml

    content = yaml.safe_load(yolo.shared([], yolo.Layout(tuple(classes), tuple(keypoints)))["data.yaml"])
    assert content["names"] == (dict(enumerate(classes)) or None)
    if keypoints:
        assert content["kpt_shape"] == [len(keypoints), 3]
        assert content["kpt_names"] == (dict.fromkeys(range(len(classes)), keypoints) or None)
        assert [content["flip_idx"][flip] for flip in content["flip_idx"]] == [*range(len(keypoints))]


def test_partners_of_the_mirror():
    names = ("left eye", "nose", "right eye", "left ear")
    assert "flip_idx: [2, 1, 0, 3]" in yolo.shared([], yolo.Layout(("cat",), names))["data.yaml"]


def test_a_name_that_is_not_in_the_layout_is_refused():
    with pytest.raises(ConfigError, match='"tail" is not in the layout'):
        yolo.encode([DOGS], yolo.Layout(("dog", "hand"), ("left eye", "nose")))
    with pytest.raises(ConfigError, match='"hand" is not in the layout'):
        yolo.encode([DOGS["hand"]], yolo.Layout(("dog",), ()))
