"""The published sets: UniKPT, COCO, Human-Art, AP-10K, Animal Kingdom, the unseen AnimalPose, CLAMP's families."""

from __future__ import annotations

from xpose.evaluation.data import HELD_OUT
from xpose.evaluation.protocols.of_sets import OKS, MeasuredSet, protocol_of
from xpose.vocabulary import load_skeleton

PERSON = tuple(load_skeleton("person").keypoints)

COCO = MeasuredSet(set="coco", splits=("val",), measures=(*OKS, "box AP", "PCK@0.2"))
HUMANART = MeasuredSet(
    set="humanart",
    splits=("val",),
    measures=(*OKS, "box AP", "PCK@0.2"),
    keypoints=PERSON,
    by_style=True,
    note="average precision over the 17 points of COCO, as published.",
)
AP10K = MeasuredSet(set="ap10k", splits=("val",), measures=(*OKS, "box AP", "PCK@0.2"), note="val of split 1.")
MACAQUE = MeasuredSet(
    set="macaquepose", splits=("test",), measures=("AP", "PCK@0.2"), note="no official split; see its info."
)
FACES = MeasuredSet(
    set="300w", splits=("common", "challenge"), measures=("PCK@0.2", "NME"), note="common and challenge: full."
)
HANDS = MeasuredSet(set="onehand10k", splits=("test",), measures=("PCK@0.2", "AUC@30", "EPE"))
KINGDOM = MeasuredSet(
    set="animal-kingdom",
    splits=("test",),
    measures=("PCK@0.05", "PCK@0.2"),
    note="protocol P1; the two papers differ: one reports PCK@0.05, the other PCK@0.2.",
)
FLY = MeasuredSet(set="vinegar-fly", splits=("test",), measures=("PCK@0.2",), note="a random tenth; no official split.")
LOCUST = MeasuredSet(
    set="desert-locust", splits=("test",), measures=("PCK@0.2",), note="a random tenth; no official split."
)
FURNITURE = MeasuredSet(
    set="keypoint-5", splits=("test",), measures=("PCK@0.2",), note="no official split; see its info."
)
APT36K = MeasuredSet(
    set="apt36k",
    splits=(HELD_OUT,),
    measures=("AP", "PCK@0.2"),
    note="no official split: the held-out tenth of this project, not comparable with the papers.",
)
ANIMALWEB = MeasuredSet(
    set="animalweb",
    splits=(HELD_OUT,),
    measures=("PCK@0.2",),
    note="no official split: the held-out tenth of this project, not comparable with the papers.",
)
ANIMALPOSE = MeasuredSet(set="animalpose", splits=("test",), measures=("PCK@0.2", "PCK@0.1", "AP"))

UNIKPT = protocol_of(
    "unikpt",
    "UniKPT's sets, each on its own split",
    "ECCV paper, table 5",
    (COCO, HUMANART, AP10K, APT36K, MACAQUE, KINGDOM, ANIMALWEB, FACES, HANDS, FLY, LOCUST, FURNITURE),
    published_keys=("animal-kingdom",),
)
COCO_TABLE = protocol_of("coco", "COCO persons, the full table", "ECCV paper", (COCO,))
HUMANART_TABLE = protocol_of("humanart", "Human-Art, the full table and each style", "ECCV paper", (HUMANART,))
AP10K_TABLE = protocol_of("ap10k", "AP-10K, the full table", "ECCV paper", (AP10K,), published_keys=("ablations",))
KINGDOM_TABLE = protocol_of(
    "animal-kingdom",
    "Animal Kingdom at both thresholds",
    "both papers",
    (KINGDOM,),
    published_keys=("animal-kingdom",),
)
UNSEEN = protocol_of("animalpose", "AnimalPose, which training has not seen", "ECCV paper", (ANIMALPOSE,))
ALL_PARTS = ("train", "val", "test")
CLAMP = protocol_of(
    "clamp",
    "AP-10K by family, zero-shot: weights trained on one family, tested on another",
    "the CLAMP paper's settings, as in the ECCV paper",
    (
        MeasuredSet(
            set="ap10k",
            splits=ALL_PARTS,
            measures=(*OKS, "PCK@0.2"),
            label="Bovidae → Canidae",
            families=("Canidae",),
            note="weights that were trained on Bovidae alone; all pictures of Canidae in the three parts of split 1.",
        ),
        MeasuredSet(
            set="ap10k",
            splits=ALL_PARTS,
            measures=(*OKS, "PCK@0.2"),
            label="Canidae → Felidae",
            families=("Felidae",),
            note="weights that were trained on Canidae alone; all pictures of Felidae in the three parts of split 1.",
        ),
    ),
    published_keys=("clamp",),
)
