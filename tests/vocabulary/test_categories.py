"""Categories: the published names, default skeletons, taxonomy."""

import json
from pathlib import Path

import pytest

from xpose.vocabulary import (
    default_skeleton,
    find_category,
    list_categories,
    load_skeleton,
    normalise,
    taxonomy_coverage,
)
from xpose.vocabulary.categories import FOLDER, RANKS, other_spelling

PUBLISHED = json.loads(Path(__file__).with_name("published_categories.json").read_text(encoding="utf-8"))
ALL = list_categories()
KINDS = {"person", "face", "hand", "animal", "clothes", "vehicle", "furniture", "thing"}


def test_all_842_published_names_are_found_in_their_own_spelling() -> None:
    spellings = {text for category in ALL for texts in category.published.values() for text in texts}
    names = [name for names in PUBLISHED.values() for name in names]
    assert len(names) == 842
    assert [name for name in names if name not in spellings] == []
    assert [name for name in names if find_category(name) is None] == []


def test_no_spelling_means_two_categories() -> None:
    owners: dict[str, str] = {}
    for category in ALL:
        for text in (category.name, *category.also, *(t for texts in category.published.values() for t in texts)):
            assert owners.setdefault(normalise(text), category.name) == category.name


def test_every_category_is_complete() -> None:
    for category in ALL:
        assert category.kind in KINDS, category.name
        assert category.published, f"{category.name} names no collection that shows it"
        for skeleton in category.skeletons:
            assert load_skeleton(skeleton).name == skeleton, category.name
        if category.kind == "animal":
            assert category.skeletons[0] not in ("person", "face", "hand"), category.name


def test_every_stated_rank_has_a_source() -> None:
    for category in ALL:
        taxonomy = category.taxonomy
        stated = [rank for rank in RANKS if taxonomy.rank(rank) is not None]
        assert bool(stated) == (taxonomy.stated_by is not None), category.name
        assert not stated or category.kind == "animal", category.name
        if taxonomy.species is not None:
            assert taxonomy.species.split()[0] == taxonomy.genus, category.name


@pytest.mark.parametrize(
    ("name", "skeleton"),
    [
        ("person", "person"),
        ("people", "person"),
        ("face", "face"),
        ("human face", "face"),
        ("cartoon face", "face"),
        ("hand", "hand"),
        ("dog", "animal"),
        ("dogs", "animal"),
        ("bird", "animal"),
        ("macaque", "animal"),
        ("raccon", "animal"),
        ("Сommon Eider", "animal"),  # the published name begins with a Cyrillic letter
        ("common eider", "animal"),
        ("dog face", "animal_face"),
        ("golden retriever face", "animal_face"),
        ("fly", "fly"),
        ("locust", "locust"),
        ("honey bee", "honeybee"),
        ("zebrafish larva", "zebrafish_larva"),
        ("steel T-beam", "steel_t_beam"),
        ("glue tube", "glue_tube"),
        ("bus", "car"),
        ("red car", "car"),
        ("swivelchair", "swivelchair"),
        ("t-shirt", "short_sleeved_shirt"),
        ("sling dress", "sling_dress"),
        ("lspet_person", "lspet_person"),
    ],
)
def test_default_skeletons(name: str, skeleton: str) -> None:
    chosen = default_skeleton(name)
    assert chosen is not None
    assert chosen.skeleton.name == skeleton


@pytest.mark.parametrize(
    "name", ["unicorn", "lunar rover", "", "face of nobody known", "truck", "plant leaf", "x.toml"]
)
def test_unknown_things_have_no_skeleton(name: str) -> None:
    assert default_skeleton(name) is None


def test_another_spelling_differs_by_one_typing_error() -> None:
    words = {"persn": "person", "hrose": "horse", "brid": "bird", "catt": "cat", "dgo": "dog"}
    assert {word: other_spelling(word) for word in words} == words
    assert other_spelling("bird") is other_spelling("excavator") is None
    assert other_spelling("hors", ["hers"]) == "hers", "known names first"


def test_every_kind_of_clothes_and_furniture_has_its_own_skeleton() -> None:
    own = [category.skeletons[0] for category in ALL if category.kind in ("clothes", "furniture")]
    assert len(own) == len(set(own)) == 18


def test_the_protocol_families_of_ap10k() -> None:
    """Bovidae, Canidae and Felidae are the families of the zero-shot protocol: 6, 4 and 10 categories."""
    counts = {"Bovidae": 6, "Canidae": 4, "Felidae": 10}
    for family, count in counts.items():
        assert sum(category.taxonomy.family == family for category in ALL) == count


def test_unknown_taxonomy_is_counted() -> None:
    coverage = taxonomy_coverage()
    animals = sum(category.kind == "animal" for category in ALL)
    assert set(coverage) == set(RANKS)
    assert all(known + unknown == animals for known, unknown in coverage.values())
    assert all(known > 0 and unknown > 0 for known, unknown in coverage.values())


def test_a_wrong_family_is_not_passed_on() -> None:
    """AP-10K files New World monkeys under a family of the Old World."""
    for name in ("alouatta", "spider monkey", "uakari", "noisy night monkey"):
        category = find_category(name)
        assert category is not None
        assert category.taxonomy.family is None
        assert category.note is not None


def test_category_files_use_known_keys_only() -> None:
    import tomllib

    allowed = {"name", "kind", "skeleton", "skeletons", "also", "published", "stated_by", "note", *RANKS}
    for file in FOLDER.glob("*.toml"):
        for row in tomllib.loads(file.read_text(encoding="utf-8")).get("categories", []):
            assert set(row) <= allowed, row["name"]
