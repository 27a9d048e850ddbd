"""APT-36K (`AP-36k-patr1/apt36k_annotations.json`): COCO-like json over clips of 15 frames, with Windows paths."""

from __future__ import annotations

import re
from collections.abc import Iterator

from xpose.data.datasets.converters.ap10k import ANIMAL
from xpose.data.datasets.converters.base import LOADER_ONLY, Entry, Expected, Need
from xpose.data.datasets.converters.coco_like import CocoLike
from xpose.data.datasets.converters.names import category_of
from xpose.data.datasets.sources import Fields, Source, safe_name
from xpose.errors import DataError
from xpose.records import Skipped

WHERE = "the home page (APT-36k.zip)"
FOLDER = "AP-36k-patr1"
FILE = f"{FOLDER}/apt36k_annotations.json"
PREFIX = re.compile(r".*?AP-36k-patr\d+/", re.IGNORECASE)
# As the file spells animals, and as they are spelt: folders have one or the other.
RESPELLED = {"howling-monkey": "howler-monkey", "raccon": "raccoon", "hourse": "horse"}


class APT36K(CocoLike):
    """Animals of 30 categories in clips; a clip (`group`) must not be parted by a split."""

    name = "apt36k"
    title = "APT-36K"
    licence = "MIT by its README; there is no licence file"
    terms = "the pictures are frames of YouTube videos"
    homepage = "https://github.com/pandorgan/APT-36K"
    status = LOADER_ONLY
    left_right = "anatomical"
    origin = "not stated; taken as 0-based"
    visibility = "as in the file, whose rule is that of AP-10K: 2 visible, 1 labelled but hidden"
    evaluation = "none: the original ships no split, so it is used for training only"
    expected = Expected(unikpt=36_000, images=36_000, instances=53_006)
    splits = {"train": "everything; by the README's counts. Two public loaders found 35,483 pictures, 53,134 animals"}
    annotation_files = {"train": FILE}
    picture_folders = {"train": FOLDER}
    keypoint_names = tuple(ANIMAL.names)
    crowd_key = "is_crowd"
    needs = (Need(FILE, WHERE),)
    tables = {"animal": ANIMAL}

    def table_of(self, category: Fields) -> str:
        """AP-10K's points, which a category that lists its own has to confirm."""
        if "keypoints" in category and tuple(category.list("keypoints")) != self.keypoint_names:
            raise DataError(f"{category.where}: its keypoints are {category.list('keypoints')}, not those of AP-10K")
        return super().table_of(category)

    def category_name(self, category: Fields) -> str:
        """The vocabulary's name, for which three have to be spelt anew."""
        name = category.text("name")
        return category_of(RESPELLED.get(name, name))

    def file_name(self, image: Fields, split: str) -> str:
        """`D:\\...\\AP-36k-patr1\\29wolf\\v3c2\\frame7.jpg` without the authors' own drive."""
        name = image.text("file_name").replace("\\", "/")
        return safe_name(f"{FOLDER}/{safe_name(PREFIX.sub('', name, count=1))}")

    def group(self, image: Fields) -> str | None:
        """The clip."""
        return str(image.integer("video_id")) if "video_id" in image else None

    def entries(self, source: Source, split: str) -> Iterator[Entry | Skipped]:
        """One entry per frame, under the name that it has on this disk."""
        folders = Folders(source)
        listed = []
        for entry in super().entries(source, split):
            if isinstance(entry, Entry):
                folder, _, file = entry.name.rpartition("/")
                entry = Entry(f"{folders.find(folder)}/{file}", entry.data)
                listed.append(entry.name)
            yield entry
        yield from self.unlisted(source, FOLDER, listed, deep=True)


class Folders:
    """Where the file's folders lie: three animals are misspelt, and five clips have tails that unpack differently."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.known: dict[str, str] = {}

    def find(self, folder: str) -> str:
        """The folder's name on this disk; the name as it came if no folder, or more than one, fits."""
        if folder not in self.known:
            parent, _, last = folder.rpartition("/")
            self.known[folder] = self._inside(self.find(parent), last) if parent else last
        return self.known[folder]

    def _inside(self, parent: str, last: str) -> str:
        place = self.source.path(parent)
        there = {path.name for path in place.iterdir() if path.is_dir()} if place.is_dir() else set()
        if last not in there:
            near = [name for name in sorted(there) if _same(name, last)]
            last = near[0] if len(near) == 1 else last
        return f"{parent}/{last}"


def _same(there: str, wanted: str) -> bool:
    """Whether a folder is the wanted one, spelt anew or with another tail after its plain letters."""
    start = _plain(wanted)
    unpacked = start != wanted and there.startswith(start) and not there[len(start) :][:1].isdigit()
    return there in _spellings(wanted) or (start != "" and (_plain(there) == start or unpacked))


def _plain(name: str) -> str:
    return re.match(r"[\x20-\x7e]*", name)[0]  # type: ignore[index]


def _spellings(name: str) -> set[str]:
    return {name.replace(wrong, right) for wrong, right in RESPELLED.items() if wrong in name} | {
        name.replace(right, wrong) for wrong, right in RESPELLED.items() if right in name
    }
