"""Published files to prepared shards, part by part; what is finished stays, whatever happens."""

from __future__ import annotations

import fcntl
import random
import shutil
import time
import warnings
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

import attrs
from PIL import Image

from mmcore.downloading.addresses import addresses_of
from mmcore.downloading.answers import Answers
from mmcore.downloading.counts import (
    Counts,
    Record,
    finished_parts,
    part_name,
    parts_below,
    total,
    write_summary,
)
from mmcore.downloading.environment import Img2dataset
from mmcore.downloading.img2dataset import Fetching, fetch_links
from mmcore.downloading.prepared import PartWriter
from mmcore.downloading.published import Part, check_suffixes, count_rows, read_parts, size_of
from mmcore.interfaces import Links, Shard
from mmcore.kit.files import find_shards

PART_ROWS: Final = 20_000

PICTURE_BYTES: Final = 16_000_000

ENOUGH_TO_JUDGE: Final = 100
"""Links of a part below which no share of dead ones is held against it."""

_SCRATCH: Final = ".fetching"
_LOCK: Final = ".lock"


class TooManyDead(Exception):
    """So many links of a part are dead that this machine's network is the likelier cause."""


@attrs.frozen(kw_only=True)
class Plan:
    """What is downloaded, and into what.

    Attributes:
        source: name of the registered source.
        links: how its published rows name their pictures.
        pattern: the published files.
        folder: of the prepared shards.
        fetching: how img2dataset fetches.
        part_rows: rows of a part: what a killed download does again at most.
        max_bytes: larger pictures are left out.
        max_dead_share: of a part's links; more stop the download.
    """

    source: str
    links: Links
    pattern: str
    folder: Path
    fetching: Fetching
    part_rows: int = PART_ROWS
    max_bytes: int = PICTURE_BYTES
    max_dead_share: float = 0.9

    @property
    def settings(self) -> dict[str, object]:
        """What must be the same for all parts in the folder."""
        return {
            "source": self.source,
            "links": self.links.column,
            "bytes_column": self.links.bytes_column,
            "part_rows": self.part_rows,
            "max_bytes": self.max_bytes,
            "resize_mode": self.fetching.resize_mode,
            "image_size": None if self.fetching.resize_mode == "no" else self.fetching.image_size,
        }

    def shards(self) -> Sequence[Shard]:
        """The published files.

        Raises:
            FileNotFoundError: no file matches the pattern.
            ValueError: one has another form, or lies among what is prepared; or two would become
                parts of one name.
        """
        shards = find_shards(self.pattern)
        check_suffixes(shards, self.links)
        for shard in shards:
            if Path(shard.path).resolve().is_relative_to(self.folder.resolve()):
                raise ValueError(
                    f"{shard.path} lies in {self.folder}; wanted another folder for what is "
                    "prepared"
                )
        named: dict[PurePosixPath, Shard] = {}
        for shard in shards:
            first = named.setdefault(PurePosixPath(shard.name).with_suffix(""), shard)
            if first is not shard:
                raise ValueError(
                    f"{first.path} and {shard.path} would become parts of one name; wanted one of "
                    "them at a time, each in a folder of its own"
                )
        return shards


class Listener(Protocol):
    """Is told how a download goes on."""

    def file(self, name: str, number: int, files: int, rows: int | None, done: int) -> None:
        """The published file of this number (of so many) begins; its rows, and those done.

        How many rows it has is None where that is not known.
        """

    def fetching(self, links: int, arrived: int) -> None:
        """Of a part's distinct links so many bytes have arrived."""

    def part(self, name: str, record: Record) -> None:
        """A part is finished, in the file of this name."""


def download(plan: Plan, img2dataset: Img2dataset, listener: Listener) -> Mapping[str, Record]:
    """Fetch the pictures of all published rows, and write prepared shards.

    Parts that are there are left as they are, so the same call goes on where one was cut off.

    Returns:
        The record of every part in the folder, by the name of its file.

    Raises:
        FileNotFoundError: no file matches the pattern.
        ValueError: a published file cannot be read, or the folder holds anything else.
        TooManyDead: more links of a part are dead than the plan takes.
        Img2datasetError: img2dataset failed; what was finished before stays.
    """
    shards = plan.shards()
    plan.folder.mkdir(parents=True, exist_ok=True)
    with _alone(plan.folder) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # training decides
        return _Download(plan, img2dataset, listener, scratch).of(shards)


class _Download:
    """One download under way; ``records`` says which parts are there."""

    def __init__(
        self, plan: Plan, img2dataset: Img2dataset, listener: Listener, scratch: Path
    ) -> None:
        self._plan, self._img2dataset, self._listener = plan, img2dataset, listener
        self._scratch = scratch
        self.records: dict[str, Record] = {}

    def of(self, shards: Sequence[Shard]) -> Mapping[str, Record]:
        # All of them before the first is fetched, so that what does not fit is said at once.
        there = parts_below(self._plan.folder)
        found = [
            finished_parts(
                there.get(str(PurePosixPath(shard.name).with_suffix("")), ()),
                shard,
                self._plan.settings,
            )
            for shard in shards
        ]
        for parts in found:
            self.records.update(parts.values())
        for number, (shard, parts) in enumerate(zip(shards, found, strict=True), 1):
            start = next(part for part in count() if part not in parts)
            done = total(record for _, record in parts.values()).rows
            if start and parts[start - 1][1].last:
                self._listener.file(shard.name, number, len(shards), done, done)
                continue
            self._listener.file(shard.name, number, len(shards), count_rows(shard), done)
            self._fetch(shard, start, parts)
        write_summary(self._plan.folder, self.records)
        return self.records

    def _fetch(self, shard: Shard, start: int, parts: Container[int]) -> None:
        """The parts of a file from number ``start`` on that are not among ``parts``."""
        plan = self._plan
        for part in read_parts(shard, plan.links, plan.part_rows, start):
            if part.number in parts:
                continue
            name = part_name(shard, part.number)
            record = self._one(shard, part, plan.folder / name)
            self.records[name] = record
            write_summary(plan.folder, self.records)
            self._listener.part(name, record)

    def _one(self, shard: Shard, part: Part, target: Path) -> Record:
        """Fetch one part and write it: its file is whole, or not there.

        Raises:
            TooManyDead: nothing of it is kept.
        """
        began = time.monotonic()
        plan = self._plan
        shutil.rmtree(self._scratch, ignore_errors=True)
        addresses = addresses_of(part.table.column(plan.links.column), plan.links.column)
        answers = self._answers(addresses.distinct, part.number)
        whole = self._scratch / "part.parquet"
        try:
            writer = PartWriter(
                whole, part.table, plan.links.bytes_column, addresses, answers, plan.max_bytes
            )
            with writer:
                counts = writer.write_rows()
                _check_alive(plan, shard, part, counts)
                record = Record(
                    published=shard.name,
                    published_bytes=size_of(shard),
                    number=part.number,
                    last=part.last,
                    settings=plan.settings,
                    img2dataset=self._img2dataset.version,
                    seconds=time.monotonic() - began,
                    counts=counts,
                )
                writer.finish(record.written())
        finally:
            answers.close()
        target.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(target)
        return record

    def _answers(self, distinct: Sequence[str], seed: int) -> Answers:
        links = len(distinct)
        return fetch_links(
            self._img2dataset.command,
            self._plan.fetching,
            distinct,
            # Not as they stand: a page's pictures lie on one server, which must not be run over.
            random.Random(seed).sample(range(links), links),
            self._scratch.resolve() / "img2dataset",
            lambda arrived: self._listener.fetching(links, arrived),
        )


def _check_alive(plan: Plan, shard: Shard, part: Part, counts: Counts) -> None:
    """
    Raises:
        TooManyDead: the network is the likelier cause.
    """
    dead = counts.links - counts.alive
    if counts.links < ENOUGH_TO_JUDGE or dead <= plan.max_dead_share * counts.links:
        return
    first = part.number * plan.part_rows
    causes = ", ".join(f"{cause} {number:,}" for cause, number in counts.dead.items())
    raise TooManyDead(
        f"{shard.path}, rows {first:,} to {first + counts.rows - 1:,}: of {counts.links:,} links "
        f"{dead:,} are dead ({causes}), more than --max-dead-share {plan.max_dead_share:g}. Is the "
        "network down? Nothing was written for these rows, and the same command goes on there; "
        "--max-dead-share 1 takes them as they are"
    )


@contextmanager
def _alone(folder: Path) -> Iterator[Path]:
    """A place for unfinished work, while no other process works in the folder.

    Raises:
        ValueError: another does.
    """
    scratch = folder / _SCRATCH
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another `mmcore data download` is writing to {folder}") from None
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
