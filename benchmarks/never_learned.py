"""How far words are from what weights have learned: the figures behind FAR and NEAR in src/xpose/inference/learned.py.

    python benchmarks/never_learned.py [WEIGHTS]

Prints the cosine of each word and its nearest category, for words that mean a category (or a kind or breed of it) and
for words that mean something else; and which share of both is nearer than some limits, and which passes as a learned
thing (nearer than FAR, and than all other things). Words that the vocabulary assigns to a category are left out, since
they are found without any comparison.
"""

from __future__ import annotations

import sys

from xpose.inference.learned import FAR, NEAR, Learned
from xpose.model.checkpoints.categories import read_categories
from xpose.model.checkpoints.known import bundled_weights

# Of the categories of xpose-nano.
LEARNED = """
pony, stallion, foal, mare, calf, heifer, lamb, ewe, hen, rooster, chick, robin, pigeon, poodle, labrador, hound,
terrier, tabby, bumblebee, housefly, mice, fingers, fist, taxi, sedan, automobile, van, truck, athlete, player, boy,
girl, portrait, head
"""
OTHER = """
licence plate, number plate, violin, piano, guitar, airplane, helicopter, bicycle, boat, ship, train, traffic light,
sign, house, door, window, tree, leaf, plant leaf, flower, rose, mushroom, banana, apple, strawberry, pizza, bottle,
cup, fork, knife, plate, laptop, computer, keyboard, phone, camera, clock, lamp, book, pencil, scissors, hammer,
wrench, screwdriver, umbrella, ball, racket, shoe, hat, glove, shirt, robot, robot arm, excavator, crane hook, bridge,
tower, statue, tooth, spine, bone, heart, tongue, cell, bacterium, x-ray, QR code, chess board, mountain, cloud,
stone, grass, cactus, pumpkin, tomato, doll, drone, motorcycle
"""
LIMITS = (0.4, FAR, 0.5, 0.55, NEAR, 0.65, 0.7)


def main() -> None:
    """Print the cosines and the shares."""
    learned = Learned(read_categories(bundled_weights()[sys.argv[1] if len(sys.argv) > 1 else "xpose-nano"]))
    for title, words in {"learned": LEARNED, "other": OTHER}.items():
        texts = [" ".join(text.split()) for text in words.split(",")]
        nearest = {text: learned.nearest(text)[0] for text in texts if learned.find(text) is None}
        passing = [word for word in nearest if learned._meant(word) is not None]
        print(f"{title}: {len(nearest)} words, of which {len(passing) / len(nearest):.0%} pass")
        for word, (category, cosine) in sorted(nearest.items(), key=lambda row: -row[1][1]):
            print(f"  {cosine:.2f}  {word}: {category.name}{' (passes)' * (word in passing)}")
        cosines = [cosine for _, cosine in nearest.values()]
        for limit in LIMITS:
            print(f"  nearer than {limit:.2f}: {sum(cosine >= limit for cosine in cosines) / len(cosines):.0%}")


if __name__ == "__main__":
    main()
