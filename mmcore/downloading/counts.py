"""What became of the links: counted for every part, kept in its file, summed in `download.json`."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, Self

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.downloading.published import size_of
from mmcore.interfaces import Shard

FILE: Final = "download.json"

METADATA: Final = b"mmcore.download"
"""Under this key every part's footer holds its ``Record``: a part that is there is counted."""


_PART: Final = re.compile(r"(.+)-\d{5,}\.parquet")


@attrs.frozen(kw_only=True)
class Counts:
    """Links and what they led to; a link in two slots counts twice.

    Attributes:
        rows: rows of the dataset.
        links: slots with a link.
        alive: of them, those that led to a picture.
        picture_bytes: of these pictures.
        dead: the others, by cause.
        said: for every cause, one message of img2dataset, where there was one.
    """

    rows: int = 0
    links: int = 0
    alive: int = 0
    picture_bytes: int = 0
    dead: Mapping[str, int] = attrs.field(factory=dict)
    said: Mapping[str, str] = attrs.field(factory=dict)

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            rows=self.rows + other.rows,
            links=self.links + other.links,
            alive=self.alive + other.alive,
            picture_bytes=self.picture_bytes + other.picture_bytes,
            dead=dict((Counter(self.dead) + Counter(other.dead)).most_common()),
            said={**other.said, **self.said},
        )


@attrs.frozen(kw_only=True)
class Record:
    """What one part is, and how it was fetched.

    Attributes:
        published: name of the published file.
        published_bytes: its size.
        number: of the part in that file.
        last: whether the file ends with it.
        settings: what all parts of a download have in common.
        img2dataset: its version, where that is known.
        seconds: that fetching and writing took.
        counts: of its links.
    """

    published: str
    published_bytes: int
    number: int
    last: bool
    settings: Mapping[str, object]
    img2dataset: str | None
    seconds: float
    counts: Counts

    def written(self) -> dict[bytes, bytes]:
        """As metadata of a parquet file."""
        return {METADATA: json.dumps(attrs.asdict(self)).encode()}

    @classmethod
    def read(cls, path: Path) -> Self:
        """The record in the footer of a part.

        Raises:
            ValueError: the file is no prepared part.
        """
        try:
            held = (pq.read_metadata(path).metadata or {})[METADATA]
        except (KeyError, pa.ArrowInvalid):
            raise ValueError(
                f"{path} is there, and `mmcore data download` did not write it; wanted a folder "
                "of prepared shards alone"
            ) from None
        values = json.loads(held)
        return cls(**{**values, "counts": Counts(**values["counts"])})


def part_name(shard: Shard, number: int) -> str:
    """Where a part of a published file lies, below the folder of prepared shards."""
    path = PurePosixPath(shard.name)
    return str(path.with_name(f"{path.stem}-{number:05}.parquet"))


def parts_below(folder: Path) -> dict[str, list[Path]]:
    """All files that are called as parts are, under what their published file is called, without
    its suffix."""
    parts: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        relative = path.relative_to(folder)
        match = _PART.fullmatch(relative.name)
        if match and not relative.parts[0].startswith("."):
            parts.setdefault(str(relative.with_name(match[1])), []).append(path)
    return parts


def finished_parts(
    paths: Iterable[Path], shard: Shard, settings: Mapping[str, object]
) -> dict[int, tuple[str, Record]]:
    """The parts of a published file that are there, by number: their names and records.

    Args:
        paths: where they are.
        shard: the published file.
        settings: how parts are made now.

    Raises:
        ValueError: one of them was made of other rows, or in another way.
    """
    wanted = {**settings, "published": shard.name, "published_bytes": size_of(shard)}
    parts = {}
    for path in paths:
        record = Record.read(path)
        made = {**record.settings, **attrs.asdict(record, recurse=False)}
        unlike = [f"{key} {made.get(key)}, now {value}" for key, value in wanted.items()
                  if made.get(key) != value]  # fmt: skip
        if unlike:
            raise ValueError(
                f"{path} was made with {'; '.join(unlike)}; wanted a download that goes on as it "
                "began, or another folder"
            )
        parts[record.number] = (part_name(shard, record.number), record)
    return parts


def total(records: Iterable[Record]) -> Counts:
    """The sum of all."""
    return sum((record.counts for record in records), Counts())


def write_summary(folder: Path, records: Mapping[str, Record]) -> None:
    """Write ``download.json``: the sums, and every part under the name of its file."""
    parts = {
        name: {
            "published": record.published,
            **attrs.asdict(record.counts),
            "seconds": round(record.seconds, 1),
            "img2dataset": record.img2dataset,
        }
        for name, record in sorted(records.items())
    }
    settings = next((record.settings for record in records.values()), {})
    seconds = round(sum(record.seconds for record in records.values()), 1)
    summed = {**attrs.asdict(total(records.values())), "seconds": seconds}
    whole = folder / f".{FILE}.new"
    content = {"settings": settings, "total": summed, "parts": parts}
    whole.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    whole.replace(folder / FILE)
