"""What weights have learned, found by words: the keypoints of an object, and words that the weights do not know."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import numpy as np

from xpose.errors import VocabularyError, quote
from xpose.model.checkpoints.categories import LearnedCategory
from xpose.model.prompting import NanoTextEncoder
from xpose.model.prompting.sentences import DIM
from xpose.prompts import PromptClass, TextPrompt
from xpose.vocabulary import (
    CategoryEntry,
    Skeleton,
    default_skeleton,
    find_category,
    list_skeletons,
    normalise,
)
from xpose.vocabulary.categories import (
    FALLBACK,
    OTHER_THINGS,
    RANKS,
    DefaultSkeleton,
    category_of,
    last_words,
    other_spelling,
    unknown_object,
)
from xpose.vocabulary.names import has_one_typing_error

# Limits for the cosine of the sentence embeddings of a word and of the nearest category. Only words are compared, so
# they hold for weights with any text encoder. Measured for xpose-nano with `python benchmarks/never_learned.py`:
# - FAR is for words that the vocabulary does not know, which must also be nearer to the category than to all
#   `OTHER_THINGS`. Of 34 words for learned things, 91 % pass ("pony" 0.67, "robin" 0.54), and of 78 words for other
#   things, 5 % ("glove" is like a hand, 0.67). "keyboard" is like a mouse (0.55), but more like a computer (0.57).
# - NEAR is for other categories of the vocabulary, which are something else unless they mean nearly the same: "rabbit"
#   (bird 0.50) and "elephant" (horse 0.53) were never learned. Words of no category that are
#   between both limits get the keypoints of the category, with a message, or a warning if keypoints were named.
FAR, NEAR = 0.45, 0.6
_LISTED, _LISTED_FROM = 3, 0.4  # at most so many nearest categories in a message, from this cosine on


class Learned:
    """The categories of weights, and the vocabulary for everything else; only the vocabulary if they are unknown."""

    def __init__(self, categories: Sequence[LearnedCategory] = ()) -> None:
        """The first category of each name has its usual skeleton."""
        self.categories = tuple(categories)
        self._text = NanoTextEncoder()

    def find(self, word: str) -> LearnedCategory | None:
        """The category with this name, another name in the vocabulary or a plural "s", or that the last words name."""
        for words in last_words(word):
            entry = find_category(words)
            for name in (words, words.removesuffix("s"), *([normalise(entry.name)] if entry else [])):
                if name in self._by_name:
                    return self._by_name[name]
            if entry is not None or words.endswith(" face"):
                return None  # the last words of "toy car" and "dog face" mean something else
        return None

    def nearest(self, word: str, among: Sequence[LearnedCategory] | None = None) -> list[tuple[LearnedCategory, float]]:
        """Categories, by default one for each name, with the cosines of their names and the word, the nearest first."""
        chosen = list(self._usual.values()) if among is None else among
        if not chosen:
            return []
        vectors = self._text.encode([word, *(category.name for category in chosen)])[:, :DIM]
        cosines = vectors[1:] @ vectors[0]
        return [(chosen[row], float(cosines[row])) for row in np.argsort(-cosines, kind="stable")]

    def default_skeleton(self, word: str, /) -> DefaultSkeleton | None:
        """The skeleton for an object that is prompted without keypoints; None for an unknown object.

        It is what was learned for the object, or else the vocabulary's. Instead of the vocabulary's skeleton for any
        animal, it is that of a similar animal that was learned, if there is one.
        """
        learned, usual = self.find(word), default_skeleton(word)
        if learned is not None and learned.keypoints:
            return DefaultSkeleton(learned.as_skeleton(), f'learned for "{learned.name}" by these weights')
        if usual is not None and usual.skeleton.name != FALLBACK and (learned is None or self._has(usual.skeleton)):
            return usual
        if (relative := self._relative(word, learned)) is not None:
            reason = f'learned for "{relative.name}" by these weights, the most similar animal to "{word}"'
            return DefaultSkeleton(relative.as_skeleton(), reason)
        if learned is not None and not _is_animal(learned):
            return DefaultSkeleton(learned.as_skeleton(), f'these weights have learned only boxes of "{learned.name}"')
        return usual

    def unknown_object(self, word: str, /) -> VocabularyError:
        """The error for an object without default keypoints."""
        return unknown_object(word, self._names, self._nearest_names(word))

    def warnings(self, prompt: TextPrompt, names: PromptClass) -> Iterator[str]:
        """What may be wrong with the words of a prompt, whose class is `names`."""
        word = prompt.object
        if word is not None and self.categories and not self._knows(word, similar=names.reason is not None):
            spelling, nearest = other_spelling(word, self._names), self._nearest_names(word)
            advice = f". Did you mean {quote(spelling)}?" if spelling else f"; nearest: {nearest}." if nearest else "."
            yield f"never learned: {word}{advice} Results may be wrong."
        if names.skeleton is None:
            default = None if word is None else self.default_skeleton(word)
            meant = default.skeleton.keypoints if default else () if word else sorted(self._keypoints)
            for name in names.names:
                other = next((other for other in meant if has_one_typing_error(name, other)), None)
                if other is not None and normalise(name) not in self._keypoints:
                    of = f" of {quote(word)}" if word else ""
                    yield f"Unknown keypoint {quote(name)}{of}. Did you mean {quote(other)}?"

    def _nearest_names(self, word: str) -> str:
        """The nearest categories, without those that have nothing to do with the word."""
        return ", ".join(category.name for category, cosine in self.nearest(word)[:_LISTED] if cosine >= _LISTED_FROM)

    def _knows(self, word: str, *, similar: bool = True) -> bool:
        """Whether a category, a relative of an animal, or a word with nearly the same meaning was learned.

        With `similar`, a category that is like a word of no category is enough, as for the choice of keypoints.
        """
        entry = category_of(word)
        if self.find(word) is not None or (entry is not None and self._kin(entry)):
            return True
        if entry is None and self._meant(word) is None:
            return False
        return (entry is None and similar) or self.nearest(word)[0][1] >= NEAR

    def _relative(self, word: str, learned: LearnedCategory | None) -> LearnedCategory | None:
        """The learned animal that is most like an animal; None for other things. `learned` may have only boxes."""
        entry = category_of(word) if learned is None else find_category(learned.name)
        if (entry is None and learned is not None) or (entry is not None and entry.kind != "animal"):
            return None
        if entry is not None and (kin := self._kin(entry)):
            return self.nearest(word, kin)[0][0]
        if entry is None:
            meant = self._meant(word)
            return meant if meant is not None and meant.keypoints and _is_animal(meant) else None
        return next((animal for animal, cosine in self.nearest(word, self._animals)[:1] if cosine >= NEAR), None)

    def _meant(self, word: str) -> LearnedCategory | None:
        """The category that a word means which the vocabulary does not know; None if it means something else."""
        if not self.categories:
            return None
        category, cosine = self.nearest(word)[0]
        others: list[float] = (self._others @ self._text.encode([word])[0, :DIM]).tolist()
        return category if cosine >= max(FAR, *others) else None

    def _kin(self, entry: CategoryEntry) -> list[LearnedCategory]:
        """The learned animals of the same species, or else genus, family, order or class."""
        for rank in RANKS:
            name = entry.taxonomy.rank(rank)
            kin = [animal for animal in self._animals if name is not None and _rank(animal, rank) == name]
            if kin:
                return kin
        return []

    def _has(self, skeleton: Skeleton) -> bool:
        return any(category.keypoints and category.skeleton == skeleton.name for category in self.categories)

    @property
    def _names(self) -> list[str]:
        return [category.name for category in self.categories]

    @cached_property
    def _usual(self) -> dict[str, LearnedCategory]:
        """The category with the usual skeleton of each name."""
        return {normalise(category.name): category for category in reversed(self.categories)}

    @cached_property
    def _by_name(self) -> dict[str, LearnedCategory]:
        """The same, also by the names in the vocabulary."""
        entries = ((find_category(name), category) for name, category in self._usual.items())
        return {normalise(entry.name): category for entry, category in entries if entry} | self._usual

    @cached_property
    def _others(self) -> np.ndarray:
        """The embeddings of `OTHER_THINGS`, except those that were learned."""
        return self._text.encode([thing for thing in OTHER_THINGS if self.find(thing) is None])[:, :DIM]

    @cached_property
    def _animals(self) -> list[LearnedCategory]:
        return [category for category in self._usual.values() if category.keypoints and _is_animal(category)]

    @cached_property
    def _keypoints(self) -> set[str]:
        """The normalised names of all known keypoints."""
        points = [point for skeleton in list_skeletons() for point in skeleton.points]
        spellings = [name for point in points for name in (point.name, point.alias or point.name, *point.source_names)]
        spellings += [name for category in self.categories for name in category.keypoints]
        return set(map(normalise, spellings))


def _is_animal(category: LearnedCategory) -> bool:
    """Whether it is an animal of the vocabulary."""
    entry = find_category(category.name)
    return entry is not None and entry.kind == "animal"


def _rank(category: LearnedCategory, rank: str) -> str | None:
    entry = find_category(category.name)
    return None if entry is None else entry.taxonomy.rank(rank)
