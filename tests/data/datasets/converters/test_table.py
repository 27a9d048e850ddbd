"""What every converter must state, and that its tables use names of the vocabulary."""

from __future__ import annotations

import tomllib

import pytest

from xpose.data.datasets.converters import CONVERTERS, load_converter
from xpose.data.datasets.converters.base import FORMATS, SETS, Converter, NameTable
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.importers import IMPORTERS, load_importer
from xpose.errors import DataError, UnmappedKeypointError
from xpose.records import LEFT_RIGHT_RULES
from xpose.vocabulary import load_skeleton

ALL = sorted(CONVERTERS)


@pytest.mark.parametrize("name", ALL)
def test_every_unified_name_is_a_keypoint_of_the_declared_skeleton(name: str) -> None:
    for table in load_converter(name).tables.values():
        skeleton = load_skeleton(table.skeleton)
        assert set(table.unified) <= set(skeleton.keypoints), name
        assert len(set(table.unified)) == len(table.unified), "two source names for one point"
        assert table.category("x").faults() == []


@pytest.mark.parametrize("name", ALL)
def test_statements(name: str) -> None:
    converter = load_converter(name)
    assert converter.name == name
    for field in ("title", "licence", "terms", "homepage", "origin", "visibility", "boxes", "evaluation"):
        assert getattr(converter, field).strip(), f"{field}: say it, or say that it is not stated"
    assert converter.status in ("seen", "loader only", "format unverified")
    assert converter.left_right in LEFT_RIGHT_RULES
    assert converter.splits
    assert set(converter.expected.get("split_images", {})) <= set(converter.splits)
    assert all(set(need.splits) <= set(converter.splits) for need in converter.needs)
    assert all(need.where.strip() for need in converter.needs)
    assert (type(converter).entries, type(converter).record) != (Converter.entries, Converter.record)


def test_every_section_of_the_stated_facts_belongs_to_a_converter_and_has_fields_of_it() -> None:
    classes = {base for name in ALL for base in type(load_converter(name)).__mro__}
    for section, facts in tomllib.loads(SETS.read_text("utf-8")).items():
        assert section in {base.__name__ for base in classes}
        assert set(facts) <= {*Converter.__annotations__, *CocoLike.__annotations__, "where"}
        assert set(facts.get("expected", {})) <= {"unikpt_images", "images", "instances", "split_images"}


def test_every_format_is_described() -> None:
    described = tomllib.loads(FORMATS.read_text("utf-8"))
    assert {load_importer(name).__name__: name for name in IMPORTERS} == {
        section: facts["format"] for section, facts in described.items()
    }


def test_an_unknown_dataset_is_answered_with_near_matches() -> None:
    with pytest.raises(DataError, match=r'Unknown dataset "macaque-pose". Did you mean "macaquepose"'):
        load_converter("macaque-pose")


def test_a_table_refuses_names_it_does_not_know_and_leaves_out_what_it_is_told_to() -> None:
    table = NameTable("person", {"nose": "nose", "L_Eye": "left eye", "none": None})
    assert table.unify({"nose": (1, 2, 2), "L_Eye": (3, 4, 0), "none": (5, 6, 2)}) == {"nose": (1, 2, 2)}
    assert table.by_order([(1, 2, 2), (3, 4, 1), (0, 0, 0)]) == {"nose": (1, 2, 2), "left eye": (3, 4, 1)}
    assert table.category("person").keypoints == ("nose", "left eye")
    assert table.category("person").edges == (("nose", "left eye"),)
    with pytest.raises(UnmappedKeypointError, match=r'"L_Eyes" has no unified name. Did you mean "L_Eye"'):
        table.unify({"L_Eyes": (0, 0, 0)})
    with pytest.raises(DataError, match=r"2 points, but must be 3"):
        table.by_order([(1, 2, 2)] * 2)
