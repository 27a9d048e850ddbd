"""Rules for bare keypoint names: how names are compared and mirrored, and the default sigma of a point.

These rules apply to free names (`"left fin"` typed by a user) and to what a user's own skeleton file omits. The
skeleton files of this package state all flips and sigmas; the tests check that they agree with these rules if they
claim to.
"""

from __future__ import annotations

import re
from typing import Literal

Side = Literal["left", "right", "middle"]

_SWAP = {"left": "right", "right": "left", "Left": "Right", "Right": "Left", "LEFT": "RIGHT", "RIGHT": "LEFT"}
_SIDE_WORD = re.compile(r"(?<![^\W_])(left|right)(?![^\W_])", re.IGNORECASE)
_GAPS = re.compile(r"[\s_\-]+")

# Official per-point constants k/2 of the COCO keypoint evaluation (person) and of AP-10K (neck, tail base, paws). For
# points in both (eye, nose, shoulder, elbow, hip, knee), the numbers are equal.
OFFICIAL_SIGMAS = {"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062}
OFFICIAL_SIGMAS |= {"hip": 0.107, "knee": 0.087, "ankle": 0.089, "neck": 0.035, "tail base": 0.035}
OFFICIAL_SIGMAS |= {"root of tail": 0.035, "front paw": 0.062, "back paw": 0.089}
UNKNOWN_SIGMA = 0.05
# Groups without official constants; the first group that shares a word with the name is used.
_INSECT = {"foreleg", "midleg", "hindleg", "thorax", "abdomen", "antenna", "mandible", "proboscis"}
_FACE = {"eye", "eyes", "eyelid", "eyebrow", "brow", "pupil", "nose", "nostril", "lip", "lips", "mouth", "beak"}
_FACE |= {"snout", "cheek", "cheekbone", "chin", "jaw"}
_HAND = {"hand", "finger", "fingertip", "forefinger", "thumb", "pinky", "knuckle", "palm"}
_GROUPS = ((0.035, _INSECT), (0.025, _FACE), (0.035, _HAND))
# Veterinary names for joints of four-legged animals.
_SAME_AS = {"hock": "ankle", "stifle": "knee", "carpus": "wrist", "fetlock": "ankle", "hoof": "ankle"}


def normalise(name: str) -> str:
    """The form in which names are compared: case, underscores, hyphens, blanks and apostrophes do not matter.

    "center" and "centre" are the same word, so that American spelling finds names in the files.
    """
    text = _GAPS.sub(" ", name.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")).strip().casefold()
    return text.replace("center", "centre")


def flip_name(name: str) -> str:
    """The name of the point on the other side: every whole word "left" becomes "right" and the reverse.

    A name without a side is its own mirror image.
    """
    return _SIDE_WORD.sub(lambda side: _SWAP.get(side[0], _SWAP[side[0].lower()]), name)


def side_of(name: str) -> Side:
    """The side in a name, by its first side word; "middle" if it has none."""
    word = _SIDE_WORD.search(name)
    if word is None:
        return "middle"
    return "left" if word[0].lower() == "left" else "right"


def has_one_typing_error(word: str, name: str) -> bool:
    """Whether the word becomes the name if one letter is added, removed or replaced, or two neighbours are swapped."""
    typed, meant = normalise(word), normalise(name)
    for _ in range(2):  # without what both begin with, then without what both end in
        while typed and meant and typed[0] == meant[0]:
            typed, meant = typed[1:], meant[1:]
        typed, meant = typed[::-1], meant[::-1]
    return max(len(typed), len(meant)) == 1 or (len(typed) == 2 and typed == meant[::-1])


def unsided(name: str) -> str:
    """The normalised name without "left" and "right": "left front leg" becomes "front leg"."""
    return normalise(_SIDE_WORD.sub(" ", name))


def sigma_for(name: str) -> float:
    """The object keypoint similarity constant of a free name.

    The official COCO or AP-10K value if the name (without its side) or its last words are one of their points; else
    0.025 for faces, 0.035 for hands and insects, and 0.05 for the rest (clothes, furniture, vehicles, unknown).
    """
    words = [_SAME_AS.get(word, word) for word in normalise(name).split() if word not in ("left", "right")]
    for start in range(len(words)):
        official = OFFICIAL_SIGMAS.get(" ".join(words[start:]))
        if official is not None:
            return official
    return next((sigma for sigma, members in _GROUPS if members.intersection(words)), UNKNOWN_SIGMA)
