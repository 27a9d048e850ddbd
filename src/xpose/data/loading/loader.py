"""Batches for training, in an order that depends only on the seed.

    pool = open_pool(["../shared/data"], "train")
    loader = Loader(pool, batch=16, seed=0, augmentation=Augmentation(size=256), workers=2)
    for batch in loader.steps(start=0, stop=1000):     # start=500 continues a run that stopped there
        batch.images, batch.targets, batch.shots

Sample k of step s depends only on (seed, s, k): the numbers of workers and ranks do not change a pixel. Each worker
makes whole batches.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from xpose.data.loading.batches import Batch, Mode, PromptedKind, Target, collate, move_between, target_of
from xpose.data.loading.examples import CutOut, ExampleFinder, ExampleSettings
from xpose.data.loading.labelling import Rule, labelling_of
from xpose.data.loading.pictures import Form, Pictures
from xpose.data.loading.pool import Pool
from xpose.data.loading.samples import Key, Kind, Sample
from xpose.data.loading.sampling import Sampling, SamplingPlan, Step
from xpose.data.loading.transforms import Augmentation, good_view, mosaic, paste, show, vary_colours
from xpose.errors import ConfigError, XPoseError, out_of_range, refuse
from xpose.pictures.decoding import opencv

# The purpose of a random stream, which is part of its seed. Pictures have purpose 0 and a stream for each place.
_MODE, _CLASSES, _NEGATIVES, _EXAMPLES, _BETWEEN = 1, 2, 3, 4, 5
_AHEAD = 2  # batches that each worker or thread prepares in advance


@dataclass(frozen=True)
class Prompting:
    """Which kinds a picture is prompted with, and how."""

    visual: float = 0.5  # share of steps with example pictures
    combined: float = 0.0  # share of steps with text and examples; the rest use text only
    absent: tuple[int, int] = (0, 80)  # least and most kinds per picture that are known not to be in it
    only_absent: float = 0.0  # share of pictures prompted only with such kinds, if there are any
    further: int = 4  # kinds added to those of the batch's pictures; absent ones are taken from all
    between: float = 0.0  # share of example-only steps with points between the labelled ones
    examples: ExampleSettings = field(default_factory=ExampleSettings)

    def __post_init__(self) -> None:
        faults = out_of_range(self, 0, "visual", "combined", "only_absent", "between", high=1)
        faults += out_of_range(self, 0, "further", whole=True)
        if self.visual + self.combined > 1:
            faults.append(f"visual {self.visual} and combined {self.combined} must be shares that add up to at most 1")
        if self.only_absent == 1:
            faults.append("only_absent is 1; some pictures must be prompted with what they show")
        if not 0 <= self.absent[0] <= self.absent[1]:
            faults.append(f"absent is {self.absent}, not two numbers from 0 up, the smaller one first")
        refuse("The settings of the prompts do", faults)


class Absences:
    """Tells which categories are certainly absent from a picture, from the `labelling` of the pool's sets."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        labelled: list[set[str]] = [set() for _ in pool.sets]
        pictures = pool.picture_of()
        for number, kind in enumerate(pool.kinds):
            for set_number in set(pool.set_of[pictures[pool.kind_of == number]].tolist()):
                labelled[set_number].add(kind.category)
        self.rules = tuple(
            Rule(labelling_of(name, pool.labelling), frozenset(categories))
            for name, categories in zip(pool.sets, labelled, strict=True)
        )

    def rule(self, number: int) -> Rule:
        """The rule of the picture's set."""
        return self.rules[self.pool.set_of[number]]

    def absent(self, number: int, categories: Iterable[str], present: Iterable[str] = ()) -> list[str]:
        """The given categories that are certainly absent from the picture, in order, each once.

        `present` are categories added by other pictures, as in a mosaic.
        """
        shown = {self.pool.kinds[kind].category for kind in self.pool.kinds_in(number)} | set(present)
        return self.rule(number).absent(categories, self.pool.file(number), shown)


class Loader:
    """Makes the batches of a pool."""

    def __init__(
        self,
        pool: Pool,
        *,
        batch: int = 16,  # pictures per step and rank
        seed: int = 0,  # of all random draws
        augmentation: Augmentation | None = None,  # how pictures vary
        sampling: Sampling | None = None,  # how often pictures are shown, and the buckets
        prompting: Prompting | None = None,  # which prompts they get
        workers: int = 0,  # processes that make batches
        threads: int = 0,  # threads that make batches if there are no workers
        rank: int = 0,  # which part of the whole batch to make
        ranks: int = 1,  # how many parts there are
    ) -> None:
        if workers < 0 or threads < 0 or not 0 <= rank < ranks:
            message = "none may be below 0, and the rank must be below the number of ranks."
            raise ConfigError(f"{workers} workers, {threads} threads, rank {rank} of {ranks}: {message}")
        self.pool, self.batch_size, self.seed = pool, batch, seed
        self.augmentation = augmentation or Augmentation()
        self.prompting = prompting or Prompting()
        self.workers, self.threads, self.rank, self.ranks = workers, threads, rank, ranks
        self.pictures = Pictures(pool)
        self.plan = SamplingPlan(pool, sampling or Sampling(), batch * ranks, seed)
        self.absences = Absences(pool)
        self.own_kinds = {*pool.kinds, *(kind.mirror[0] for kind in pool.kinds)}
        self.finder = ExampleFinder(self.pictures, self.prompting.examples)
        self.steps_per_epoch = self.plan.steps_per_epoch

    def keep_pictures(self, megabytes: float, *, form: Form = "pixels") -> int:
        """Keep copies in memory before the first step, as large as they can be shown; returns their number."""
        largest = (self.augmentation.size or self.augmentation.longest) * max(1.0, self.augmentation.scale[1])
        return self.pictures.keep(round(largest), megabytes, form=form, threads=max(1, self.threads))

    def steps(self, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """The batches from step `start` on; without a `stop` they never end."""
        numbers = range(start, sys.maxsize if stop is None else stop)
        if self.workers:
            yield from self._by_processes(numbers)
        elif self.threads:
            yield from self._by_threads(numbers)
        else:
            for number in numbers:
                yield self.batch(number)

    def batch(self, number: int) -> Batch:
        """The batch of one step, made in this thread."""
        step, mode = self.plan.step(number), self.mode(number)
        places = range(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
        samples = [self.sample(step, place) for place in places]
        kinds = self._classes(step)
        pairs = zip(samples, places, strict=True)
        targets = [self._target(sample, self._asked(step, sample, place, kinds)) for sample, place in pairs]
        examples: dict[Key, list[CutOut]] = {}
        if mode != "text":
            shown = {picture for sample in samples for picture in sample.pictures} | set(step.pictures)
            needed = dict.fromkeys(entry.kind.key for target in targets for entry in target.asked)
            examples = self._examples(step, needed, kinds, shown)
            rng = self._rng(step.number, _BETWEEN, self.rank)
            if mode == "visual" and rng.random() < self.prompting.between:
                targets, examples = move_between(rng, targets, examples)
        return collate(step.number, mode, step.limit, samples, targets, examples)

    def mode(self, number: int) -> Mode:
        """The prompt mode of step `number`; the same on every rank."""
        draw = self._rng(number, _MODE).random()
        if draw < self.prompting.visual:
            return "visual"
        return "combined" if draw < self.prompting.visual + self.prompting.combined else "text"

    def sample(self, step: Step, place: int) -> Sample:
        """The picture at a place of the whole batch, as it is shown in this step."""
        settings, rng = self.augmentation, self._rng(step.number, 0, place)
        picture = step.pictures[place]
        mixed, pasted = rng.random(2) < (settings.mosaic, settings.copy_paste)
        partners = self.plan.partners(picture) if mixed or pasted else np.array([picture])
        others = rng.choice(partners, 4)
        if mixed:
            sample = mosaic(rng, self.pictures, [picture, *others[:3].tolist()], settings)
        else:
            sample = show(self.pictures, picture, good_view(rng, self.pictures, picture, settings), settings)
        if pasted:
            sample = paste(rng, sample, self.pictures, int(others[3]), settings)
        return replace(sample, pixels=vary_colours(sample.pixels, settings.colours, rng))

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    def _target(self, sample: Sample, asked: Sequence[PromptedKind]) -> Target:
        # A mixed picture can join kinds with different points, such as a one-sided kind and its mirror image. The
        # joined class has the points of all kinds, but each object is labelled only with those of its own kind.
        as_labelled = self.own_kinds.issuperset(sample.labels.kinds)
        return target_of(sample, asked, as_labelled and self.absences.rule(sample.pictures[0]).labelling.points)

    def _classes(self, step: Step) -> list[int]:
        """The pool's kinds used in a step: those of its pictures, and some others that fit the bucket."""
        present = sorted({kind for picture in step.pictures for kind in self.pool.kinds_in(picture)})
        free = np.setdiff1d(np.flatnonzero(self.pool.lengths <= step.limit), present)
        count = min(self.prompting.further, len(free))
        return [*present, *self._rng(step.number, _CLASSES).choice(free, count, replace=False).tolist()]

    def _asked(self, step: Step, sample: Sample, place: int, kinds: Sequence[int]) -> list[PromptedKind]:
        """The kinds in the picture, then kinds that are known to be absent."""
        rng = self._rng(step.number, _NEGATIVES, place)
        asked = self._present(sample)
        by_category: dict[str, Kind] = {}
        for kind in (self.pool.kinds[number] for number in kinds):
            by_category.setdefault(kind.category, kind)
        # A cropped object is not absent: part of it can be visible.
        present = {kind.category for kind in sample.labels.kinds} | {entry.kind.category for entry in asked}
        absent = self.absences.absent(sample.pictures[0], by_category, present)
        low, high = (min(limit, len(absent)) for limit in self.prompting.absent)
        order = rng.permutation(len(absent))
        chosen = order[: int(rng.integers(low, high + 1))]
        if absent and self.prompting.only_absent and rng.random() < self.prompting.only_absent:
            # Prompted with a dog and a cat, a network can always answer with the dog in the picture; prompted only with
            # a cat, it must answer nothing.
            asked, chosen = [], order[: max(1, len(chosen))]
        asked += [PromptedKind(by_category[absent[i]], False, True) for i in sorted(chosen.tolist())]
        asked = asked or self._present(sample)
        if not asked:
            labelled = self.absences.rule(sample.pictures[0]).labelled
            fallback = next((kind for kind in self.pool.kinds if kind.category in labelled), self.pool.kinds[0])
            asked = [PromptedKind(fallback, False, False)]
        return asked

    def _present(self, sample: Sample) -> list[PromptedKind]:
        exhaustive = self.absences.rule(sample.pictures[0]).labelling.exhaustive
        return [PromptedKind(kind, True, exhaustive) for kind in sample.labels.present()]

    def _examples(
        self, step: Step, needed: Iterable[Key], kinds: Sequence[int], shown: set[int]
    ) -> dict[Key, list[CutOut]]:
        low, high = self.prompting.examples.shots
        # Several kinds can be one class. A kind without examples uses those of another one.
        number_of: dict[Key, int] = {}
        for number in sorted(kinds, key=lambda number: len(self.finder.fit[number]) == 0):
            number_of.setdefault(self.pool.kinds[number].key, number)
        examples = {}
        for key in needed:
            if key in number_of:
                number = number_of[key]
                rng = self._rng(step.number, _EXAMPLES, number, self.rank)
                instances = self.finder.find(rng, number, int(rng.integers(low, high + 1)), shown)
                examples[key] = [self.finder.cut(rng, instance) for instance in instances]
        return examples

    def _by_threads(self, numbers: range) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        executor = ThreadPoolExecutor(self.threads, thread_name_prefix="loading")
        try:
            for number in numbers:
                waiting.append(executor.submit(self.batch, number))
                if len(waiting) >= self.threads * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _by_processes(self, numbers: range) -> Iterator[Batch]:
        from torch.utils.data import DataLoader

        source: DataLoader[Batch | XPoseError] = DataLoader(
            _Steps(self),  # type: ignore[arg-type]  # a map-style dataset without a length: the sampler has it
            batch_size=None,
            sampler=numbers,
            num_workers=self.workers,
            collate_fn=_unchanged,
            worker_init_fn=_prepare_worker,
            prefetch_factor=_AHEAD,
        )
        for result in source:
            if isinstance(result, XPoseError):
                raise result
            yield result


class _Steps:
    """Batches by step, for torch's DataLoader; user errors are returned, so that they can be raised unchanged."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def __getitem__(self, number: int) -> Batch | XPoseError:
        try:
            return self.loader.batch(number)
        except XPoseError as error:
            return error


def _unchanged(value: Any) -> Any:
    return value


def _prepare_worker(_: int) -> None:
    opencv()
    torch.set_num_threads(1)
