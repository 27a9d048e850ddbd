"""Stage 5: the folder of results. A shard is written at once and renamed, so that it is there completely or not at all.

`manifest.json` states what the run is; the shard files themselves state which of them are finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xpose import __version__
from xpose.batch.plan import Plan, pyarrow
from xpose.batch.stages import ROW, Rows
from xpose.errors import ConfigError, quote
from xpose.pictures import UPRIGHT
from xpose.pictures.atomic import write_atomically, write_bytes, write_text
from xpose.prompts import PromptClass
from xpose.results import Poses
from xpose.results.formats import coco
from xpose.results.formats.csv import from_parquet

FORMAT = "xpose-batch-1"
_SHARDS, _MANIFEST, _PLAN, _FAILED, _COCO = "shards", "manifest.json", "plan.parquet", "failed.jsonl", "poses.json"
_KEY = b"xpose"  # of the metadata of a shard


@dataclass(frozen=True)
class Shard:
    """A finished shard, as the manifest lists it."""

    file: str
    pictures: int
    objects: int
    failed: int
    sha256: str


class ResultsFolder:
    """The results of one run, begun or continued.

    Attributes:
        plan: its pictures, in the file `plan_file`.
        shards: the finished ones, by number.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], make_plan: Callable[[Path], object]) -> None:
        """`settings` are what must be the same when a run is continued. `make_plan` writes the plan of a new run.

        Raises:
            ConfigError: the folder holds another run.
        """
        self.folder, self._settings = folder, json.loads(json.dumps(settings))
        if (folder / _MANIFEST).exists():
            self._identity = self._check()
        else:
            if any((folder / _SHARDS).glob("*.parquet")):
                raise ConfigError(
                    f"{quote(folder)} has shards but no {_MANIFEST}. Choose another folder with -o, or delete them "
                    "with --fresh."
                )
            make_plan(folder / _PLAN)
            self._identity = _digest((folder / _PLAN).read_bytes())
        self.plan_file = folder / _PLAN
        self.plan = Plan(self.plan_file)
        for left in (folder / _SHARDS).glob(".*"):  # by a process that was killed while it wrote
            left.unlink()
        self.shards: dict[int, Shard] = {}
        for number in range(self.plan.shards):
            if shard := self._finished(number):
                self.shards[number] = shard
        self._parts: dict[int, dict[int, Rows]] = {}
        self._write_manifest()

    @property
    def pending(self) -> list[int]:
        """The numbers of the shards that are not finished."""
        return [number for number in range(self.plan.shards) if number not in self.shards]

    def total(self, what: str) -> int:
        """The number of pictures, objects or failed pictures in the finished shards."""
        return sum(getattr(shard, what) for shard in self.shards.values())

    def add(self, rows: Rows) -> None:
        """Keep the results of a chunk, and write its shard if it was the last one; a repeated chunk counts once.

        Raises:
            XPoseError: the shard cannot be written.
        """
        if rows.shard in self.shards:
            return
        parts = self._parts.setdefault(rows.shard, {})
        parts[rows.start] = rows
        if sum(part.pictures for part in parts.values()) == self.plan.size(rows.shard):
            self._write([parts[start] for start in sorted(parts)])
            del self._parts[rows.shard]

    def finish(self) -> None:
        """List the finished shards in the manifest, and the failed pictures in a file."""
        self._write_manifest()
        failed = (number for number in sorted(self.shards) if self.shards[number].failed)

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8") as file:
                for number in failed:
                    table = pyarrow().parquet.read_table(self._path(number), columns=["picture", "error"])
                    rows = table.filter(pyarrow().compute.is_valid(table["error"])).to_pylist()
                    file.writelines(json.dumps(row) + "\n" for row in rows)

        if self.total("failed"):
            write_atomically(self.failed, write)
        else:
            self.failed.unlink(missing_ok=True)

    @property
    def failed(self) -> Path:
        """The file that lists the failed pictures, if there are any."""
        return self.folder / _FAILED

    def write_coco(self, classes: list[PromptClass]) -> Path:
        """Write the results as a COCO file, shard by shard; failed pictures are left out."""
        path, edges = self.folder / _COCO, {names.label: names.edges for names in classes}
        file = coco.InstancesFile(path, list(edges), {"description": "Found by xpose", "coordinates": UPRIGHT})
        first = 1
        for number in sorted(self.shards):
            for place, poses in self._poses(number):
                known = replace(poses, edges=tuple(edges[label] for label in poses.categories))
                file.add(known, first + place, str(poses.source))
            first += self.shards[number].pictures
        file.finish()
        return path

    def _poses(self, number: int) -> Iterator[tuple[int, Poses]]:
        """The pictures of a shard by their places, without failed ones."""
        data = self._path(number).read_bytes()
        with_objects = {poses.source: poses for poses in from_parquet(data, Poses)}
        table = pyarrow().parquet.read_table(pyarrow().BufferReader(data), columns=["picture", "height", "width"])
        sizes = {row["picture"]: (row["height"], row["width"]) for row in table.to_pylist()}
        for place, (key, size) in enumerate(sizes.items()):
            if None not in size:
                poses = with_objects.get(key)
                yield place, Poses.empty(size, key) if poses is None else replace(poses, image_size=size)

    def _path(self, number: int) -> Path:
        return self.folder / _SHARDS / f"{number:05}.parquet"

    def _write(self, parts: list[Rows]) -> None:
        number = parts[0].shard
        counts = {name: sum(getattr(part, name) for part in parts) for name in ("pictures", "objects", "failed")}
        about = json.dumps({"plan": self._identity, "shard": number, **counts})
        table = pyarrow().concat_tables([part.table for part in parts]).combine_chunks()
        stream = pyarrow().BufferOutputStream()
        pyarrow().parquet.write_table(table.replace_schema_metadata({_KEY: about}), stream, compression="zstd")
        data = stream.getvalue().to_pybytes()
        write_bytes(self._path(number), data)
        self.shards[number] = Shard(f"{_SHARDS}/{self._path(number).name}", **counts, sha256=_digest(data))

    def _finished(self, number: int) -> Shard | None:
        """What a shard file says, or None if it is missing or damaged."""
        path = self._path(number)
        try:
            data = path.read_bytes()
            about = json.loads(pyarrow().parquet.read_schema(pyarrow().BufferReader(data)).metadata[_KEY])
        except (OSError, pyarrow().ArrowInvalid, KeyError, TypeError, ValueError):
            return None
        if (about.pop("plan"), about.pop("shard")) != (self._identity, number):
            raise ConfigError(f"{quote(path)} belongs to another run. Move it away, or start over with --fresh.")
        return Shard(f"{_SHARDS}/{path.name}", **about, sha256=_digest(data))

    def _check(self) -> str:
        """Compare the settings with those of the run in the folder, and return the identity of its plan."""
        try:
            manifest = json.loads((self.folder / _MANIFEST).read_text("utf-8"))
            before, identity = manifest["settings"], str(manifest["plan"])
            known = manifest["format"] == FORMAT and identity == _digest((self.folder / _PLAN).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise ConfigError(
                f"{quote(self.folder)} holds a damaged run, or one of another version: {_MANIFEST} and {_PLAN} do not "
                "fit. Start over with --fresh, or choose another folder with -o."
            )
        pairs = {name: (before.get(name), now) for name, now in self._settings.items()}
        changes = [f"{name}: {was!r} is now {now!r}" for name, (was, now) in pairs.items() if was != now]
        if changes:
            raise ConfigError(
                f"{quote(self.folder)} holds a run with other settings ({'; '.join(changes)[:400]}). Repeat its "
                "command to continue it, choose another folder with -o, or delete it with --fresh."
            )
        return identity

    def _write_manifest(self) -> None:
        counts = {name: self.total(name) for name in ("pictures", "objects", "failed")}
        content = {
            "format": FORMAT,
            "xpose": __version__,
            "settings": self._settings,
            "plan": self._identity,
            "listed": {"pictures": self.plan.pictures, "shards": self.plan.shards},
            "finished": {**counts, "shards": len(self.shards)},
            "complete": not self.pending,
            "columns": list(ROW),
            "shards": [asdict(self.shards[number]) for number in sorted(self.shards)],
        }
        write_text(self.folder / _MANIFEST, json.dumps(content, indent=1) + "\n")


def clear(folder: Path) -> None:
    """Delete a run; other files stay."""
    (folder / _MANIFEST).unlink(missing_ok=True)
    for path in (*(folder / name for name in (_PLAN, _FAILED, _COCO)), *(folder / _SHARDS).glob("*.parquet")):
        path.unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
