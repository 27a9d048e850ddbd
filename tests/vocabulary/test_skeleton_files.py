"""Every skeleton file of the package, against the rules a skeleton has to keep and against the released lists."""

import json
import math
from pathlib import Path

import pytest

from xpose.vocabulary import Skeleton, flip_name, list_skeletons, load_skeleton, normalise, sigma_for
from xpose.vocabulary.names import UNKNOWN_SIGMA
from xpose.vocabulary.skeleton import LEFT_RIGHT

RELEASED = json.loads(Path(__file__).with_name("released_skeletons.json").read_text(encoding="utf-8"))
ALL = list_skeletons()
each_skeleton = pytest.mark.parametrize("skeleton", ALL, ids=lambda skeleton: skeleton.name)
each_released = pytest.mark.parametrize("released", RELEASED)


def components(skeleton: Skeleton, points: set[str]) -> int:
    """How many connected pieces the edges leave the points in."""
    owner = {point: point for point in points}

    def root(point: str) -> str:
        while owner[point] != point:
            point = owner[point]
        return point

    for start, end in skeleton.edges:
        owner[root(start)] = root(end)
    return len({root(point) for point in points})


def test_the_28_released_skeletons_and_more_are_there() -> None:
    assert len(ALL) >= 49
    assert len([skeleton for skeleton in ALL if skeleton.name.startswith("toy_")]) == 4
    assert sorted(skeleton.released for skeleton in ALL if skeleton.released) == sorted(RELEASED)


@each_released
def test_aliases_are_the_released_strings_byte_for_byte(released: str) -> None:
    skeleton = load_skeleton(released)
    assert skeleton.released == released
    assert [alias.encode() for alias in skeleton.aliases] == [name.encode() for name in RELEASED[released]["keypoints"]]


@pytest.mark.parametrize(
    ("skeleton", "point", "alias"),
    [
        ("hand", "thumb tip", "thumb’s first knuckle"),
        ("animal_kingdom", "left ankle", "ankle left "),
        ("car", "exhaust", "none"),
        ("car", "centre", "none"),
        ("locust", "abdomen middle", "abdomen1"),
    ],
)
def test_known_oddities_of_the_released_strings_are_kept(skeleton: str, point: str, alias: str) -> None:
    assert load_skeleton(skeleton).point(point).alias == alias


@each_released
def test_released_edges_are_all_kept(released: str) -> None:
    skeleton = load_skeleton(released)
    kept = {frozenset(pair) for pair in skeleton.edge_indices()}
    assert {frozenset(pair) for pair in RELEASED[released]["edges"]} <= kept


@each_skeleton
def test_every_file_names_its_source(skeleton: Skeleton) -> None:
    source = skeleton.source
    for text in (source.dataset, source.reference, source.names, source.sigmas, source.edges):
        assert text.strip()
        assert "yours" not in text, "the stand-in for a user's own file"


@each_skeleton
def test_names_are_unique_and_plain(skeleton: Skeleton) -> None:
    assert len({normalise(name) for name in skeleton.keypoints}) == len(skeleton)
    for name in skeleton.keypoints:
        assert name == " ".join(name.split()), "single blanks, none at the ends"
        assert "_" not in name
        assert name == name.lower()
        assert name != "none"


def test_no_two_skeletons_share_a_name() -> None:
    owners: dict[str, str] = {}
    for skeleton in ALL:
        for spelling in {normalise(text) for text in (skeleton.name, *skeleton.also)}:
            assert owners.setdefault(spelling, skeleton.name) == skeleton.name


@each_skeleton
def test_edges_join_all_points_into_one_piece(skeleton: Skeleton) -> None:
    assert skeleton.edges
    assert components(skeleton, {point.name for point in skeleton.points if not point.unused}) == 1


def test_only_the_car_has_points_that_are_never_labelled() -> None:
    unused = {(skeleton.name, point.name) for skeleton in ALL for point in skeleton.points if point.unused}
    assert unused == {("car", "exhaust"), ("car", "centre")}


@each_skeleton
def test_sigmas_are_in_the_range_of_published_values(skeleton: Skeleton) -> None:
    assert all(0.007 <= sigma <= 0.107 for sigma in skeleton.sigmas)


@each_skeleton
def test_mirroring_twice_changes_nothing(skeleton: Skeleton) -> None:
    assert skeleton.left_right in LEFT_RIGHT
    assert all(skeleton.flips[skeleton.flips[name]] == name for name in skeleton.keypoints)
    assert set(skeleton.flips.values()) == set(skeleton.keypoints)


@each_skeleton
def test_flip_pairs_exist_unless_the_file_says_there_are_none(skeleton: Skeleton) -> None:
    pairs = [name for name, partner in skeleton.flips.items() if name != partner]
    assert bool(pairs) == (skeleton.left_right != "none")


@each_skeleton
def test_partners_differ_in_left_and_right_only(skeleton: Skeleton) -> None:
    for name, partner in skeleton.flips.items():
        if skeleton.left_right == "none":
            assert flip_name(name) not in set(skeleton.keypoints) - {name}
        elif partner != name and not partner.startswith(("wheel ", "table ")):  # counted, without sides
            assert partner == flip_name(name)
        else:
            assert flip_name(name) == name, "a point with a side must have a partner"


@each_skeleton
def test_mirroring_keeps_the_edges(skeleton: Skeleton) -> None:
    edges = {frozenset(edge) for edge in skeleton.edges}
    mirrored = {frozenset(skeleton.flips[end] for end in edge) for edge in skeleton.edges}
    lopsided = edges ^ mirrored
    # The obstacle of the mirror set-up is joined to the paw that is nearest to it in the drawing.
    assert all("obstacle in side view" in edge for edge in lopsided)


@each_skeleton
def test_layouts_stay_in_the_picture_and_apart(skeleton: Skeleton) -> None:
    assert skeleton.layout is not None
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in skeleton.layout)
    apart = 0.01 if len(skeleton) > 100 else 0.02
    for index, place in enumerate(skeleton.layout):
        assert all(math.dist(place, other) >= apart for other in skeleton.layout[:index])


@each_skeleton
def test_parts_of_one_side_hold_points_of_that_side(skeleton: Skeleton) -> None:
    for part, names in skeleton.parts.items():
        for side in ("left", "right"):
            if part.startswith(f"{side} "):
                assert all(side in name.split() for name in names)


@pytest.mark.parametrize(
    ("skeleton", "sigmas"),
    [
        # the constants of the COCO keypoint evaluation
        ("person", [26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89]),
        # the constants in the authors' configuration of AP-10K
        ("animal", [25, 25, 26, 35, 35, 79, 72, 62, 79, 72, 62, 107, 87, 89, 107, 87, 89]),
    ],
)
def test_official_sigmas(skeleton: str, sigmas: list[int]) -> None:
    assert [round(1000 * sigma) for sigma in load_skeleton(skeleton).sigmas] == sigmas


@pytest.mark.parametrize(
    "name", ["person", "animal", "ap10k", "animal_kingdom", "animal_pose", "cub_bird", "lspet_person"]
)
def test_sigmas_by_rule_agree_with_the_rule_for_free_names(name: str) -> None:
    skeleton = load_skeleton(name)
    assert skeleton.sigmas == tuple(sigma_for(point) for point in skeleton.keypoints)


@pytest.mark.parametrize(
    ("name", "sigma"),
    [("face", 0.025), ("animal_face", 0.025), ("hand", 0.035), ("fly", 0.035), ("sofa", UNKNOWN_SIGMA)],
)
def test_one_sigma_for_faces_hands_insects_and_things(name: str, sigma: float) -> None:
    assert set(load_skeleton(name).sigmas) == {sigma}


def test_the_default_animal_and_ap10k_are_the_same_points() -> None:
    default, original = load_skeleton("animal"), load_skeleton("animal_in_AP10K")
    assert default.points == original.points
    assert default.edges == original.edges


def test_wholebody_is_made_of_person_face_and_hands() -> None:
    whole = load_skeleton("person_wholebody").keypoints
    assert whole[:17] == load_skeleton("person").keypoints
    assert whole[23:91] == load_skeleton("face").keypoints
    fingers = load_skeleton("hand").keypoints[1:]
    assert whole[92:112] == tuple(f"left {name}" for name in fingers)
    assert whole[113:133] == tuple(f"right {name}" for name in fingers)


# Pairs of 68-point faces as their order gives them: the jaw and brows count from the person's right to the left.
FACE_PAIRS = [(0, 16), (7, 9), (8, 8), (17, 26), (21, 22), (30, 30), (31, 35), (32, 34), (36, 45), (37, 44), (39, 42)]
FACE_PAIRS += [
    (40, 47),
    (41, 46),
    (48, 54),
    (49, 53),
    (50, 52),
    (51, 51),
    (55, 59),
    (57, 57),
    (60, 64),
    (61, 63),
    (65, 67),
]


@pytest.mark.parametrize(("index", "partner"), FACE_PAIRS)
def test_face_mirrors_as_its_order_demands(index: int, partner: int) -> None:
    face = load_skeleton("68_face_points")
    assert face.flips[face.keypoints[index]] == face.keypoints[partner]
    assert face.flips[face.keypoints[partner]] == face.keypoints[index]


# 1-based mirror pairs of DeepFashion2 garments, as its public users state them by number.
GARMENT_PAIRS = {
    "short_sleeved_shirt": [(2, 6), (3, 5), (7, 25), (9, 23), (12, 20), (13, 19), (15, 17)],
    "short_sleeved_outwear": [(2, 26), (3, 5), (4, 6), (7, 25), (12, 20), (15, 17), (16, 29), (27, 30), (28, 31)],
    "long_sleeved_outwear": [(2, 6), (3, 5), (4, 34), (7, 33), (16, 24), (19, 21), (20, 37), (35, 38), (36, 39)],
    "vest": [(2, 6), (7, 15), (8, 14), (10, 12)],
    "shorts": [(1, 3), (4, 10), (5, 9), (6, 8)],
    "trousers": [(1, 3), (4, 14), (5, 13), (6, 12), (7, 11), (8, 10)],
    "skirt": [(1, 3), (4, 8), (5, 7)],
    "short_sleeved_dress": [(7, 29), (11, 25), (12, 24), (13, 23), (17, 19)],
    "long_sleeved_dress": [(7, 37), (16, 28), (17, 27), (21, 23)],
    "sling_dress": [(2, 6), (7, 19), (8, 18), (12, 14)],
}


@pytest.mark.parametrize("garment", GARMENT_PAIRS)
def test_garments_mirror_as_their_numbers_demand(garment: str) -> None:
    skeleton = load_skeleton(garment)
    for pair in GARMENT_PAIRS[garment]:
        first, second = (skeleton.keypoints[number - 1] for number in pair)
        assert (skeleton.flips[first], skeleton.flips[second]) == (second, first)


@pytest.mark.parametrize(
    ("skeleton", "field", "name"),
    [
        ("person", "left_eye", "left eye"),
        ("animal_pose", "L_F_Elbow", "left front elbow"),
        ("animal_pose", "left_back_knee", "left hock"),
        ("animal", "root of tail", "tail base"),
        ("animal_kingdom", "Ankle_Left ", "left ankle"),
        ("face", "jaw_0", "right cheekbone 1"),
        ("face", "inner_lip_7", "lower lip inner right"),
        ("fly", "midlegR3", "right midleg second segment"),
        ("honeybee", "right_leg_front_1", "right foreleg base"),
        ("hand", "index_tip", "forefinger tip"),
        ("hand", "pinky_finger4", "pinky finger tip"),
        ("mouse_openfield", "leftear", "left ear"),
        ("mouse_mirror", "paw1LH_bot", "left back paw in bottom view"),
        ("car", "right_back_top", "right back roof corner"),
        ("person_wholebody", "face-30", "nose tip"),
        ("steel_channel", "point_4", "flange end 2"),
    ],
)
def test_fields_of_annotation_files_find_their_points(skeleton: str, field: str, name: str) -> None:
    assert load_skeleton(skeleton).point(field).name == name


def test_the_same_point_has_the_same_name_everywhere() -> None:
    for name, skeletons in {
        "nose": ["person", "animal", "animal_pose", "mouse_openfield", "sitting_person"],
        "tail base": ["animal", "animal_kingdom", "animal_pose", "livestock", "mouse_openfield"],
        "left front paw": ["animal", "animal_pose", "livestock"],
        "left hock": ["animal_pose", "livestock"],
        "right mouth corner": ["face", "animal_face", "animal_kingdom"],
        "left eye": ["person", "animal", "fly", "locust", "cub_bird", "zebrafish_larva"],
        "left foreleg tip": ["fly", "fly_pair", "locust", "honeybee"],
        "right cuff outside": ["short_sleeved_shirt", "long_sleeved_dress", "long_sleeved_outwear"],
        "hem centre": ["vest", "skirt", "long_sleeved_shirt", "sling_dress"],
    }.items():
        for skeleton in skeletons:
            assert name in load_skeleton(skeleton).keypoints
