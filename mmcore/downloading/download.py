"""Published files to prepared shards, part by part; what is finished stays, whatever happens."""

from __future__ import annotations

import fcntl
import random
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

import attrs
from PIL import Image

from mmcore.downloading.addresses import addresses_of
from mmcore.downloading.counts import Counts, Record, total, write_summary
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


class Listener(Protocol):
    """Is told how a download goes on."""

    def file(self, name: str, rows: int | None, done: int) -> None:
        """A published file begins, of so many rows (None: not known), so many of them done."""

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
    shards = find_shards(plan.pattern)
    check_suffixes(shards, plan.links)
    folder = plan.folder.resolve()
    for shard in shards:
        if Path(shard.path).resolve().is_relative_to(folder):
            raise ValueError(
                f"{shard.path} lies in {plan.folder}; wanted another folder for what is prepared"
            )
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # training decides
        records = {shard.name: _records(plan, folder, shard) for shard in shards}
        known = {name: record for held in records.values() for name, record in held.items()}
        for shard in shards:
            for name, record in _missing(
                plan, img2dataset, listener, shard, records[shard.name], scratch
            ):
                known[name] = record
                write_summary(folder, known)
                listener.part(name, record)
        write_summary(folder, known)
    return known


def part_name(shard: Shard, number: int) -> str:
    """Where the part of a published file lies, below the folder."""
    path = PurePosixPath(shard.name)
    return str(path.with_name(f"{path.stem}-{number:05}.parquet"))


def _records(plan: Plan, folder: Path, shard: Shard) -> dict[str, Record]:
    """The finished parts of a published file: all up to the first that is missing.

    Raises:
        ValueError: one of them was made of other rows, or in another way.
    """
    records: dict[str, Record] = {}
    size = size_of(shard)
    for number in range(2**63):
        name = part_name(shard, number)
        if not (folder / name).exists():
            break
        record = Record.read(folder / name)
        made = {**record.settings, "published": record.published, "size": record.published_bytes}
        wanted = {**plan.settings, "published": shard.name, "size": size}
        unlike = [f"{key} {made.get(key)}, now {wanted[key]}" for key in wanted
                  if made.get(key) != wanted[key]]  # fmt: skip
        if unlike:
            raise ValueError(
                f"{folder / name} was made with {'; '.join(unlike)}; wanted a download that goes "
                "on as it began, or another folder"
            )
        records[name] = record
        if record.last:
            break
    return records


def _missing(
    plan: Plan,
    img2dataset: Img2dataset,
    listener: Listener,
    shard: Shard,
    records: Mapping[str, Record],
    scratch: Path,
) -> Iterator[tuple[str, Record]]:
    """Fetch and write the parts of a published file that are not there."""
    listener.file(shard.name, count_rows(shard), total(records.values()).rows)
    if any(record.last for record in records.values()):
        return
    for part in read_parts(shard, plan.links, plan.part_rows, len(records)):
        began = time.monotonic()
        name = part_name(shard, part.number)
        shutil.rmtree(scratch, ignore_errors=True)
        whole = scratch / "part.parquet"
        writer, counts = _fetched(plan, img2dataset, listener, shard, part, scratch, whole)
        record = Record(
            published=shard.name,
            published_bytes=size_of(shard),
            number=part.number,
            last=part.last,
            settings=plan.settings,
            img2dataset=img2dataset.version,
            seconds=time.monotonic() - began,
            counts=counts,
        )
        writer.close(record.written())
        target = plan.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        whole.replace(target)
        yield name, record


def _fetched(
    plan: Plan,
    img2dataset: Img2dataset,
    listener: Listener,
    shard: Shard,
    part: Part,
    scratch: Path,
    whole: Path,
) -> tuple[PartWriter, Counts]:
    """A part with all its rows written, but not closed.

    Raises:
        TooManyDead: nothing of it is kept.
    """
    addresses = addresses_of(part.table.column(plan.links.column), plan.links.column)
    links = len(addresses.distinct)
    # Not as they stand: the pictures of a page lie on one server, which must not be run over.
    order = random.Random(part.number).sample(range(links), links)
    answers = fetch_links(
        img2dataset.command,
        plan.fetching,
        addresses.distinct,
        order,
        scratch / "img2dataset",
        lambda arrived: listener.fetching(links, arrived),
    )
    writer = PartWriter(
        whole, part.table, plan.links.bytes_column, addresses, answers, plan.max_bytes
    )
    try:
        counts = writer.write_rows()
        _check_alive(plan, shard, part, counts)
    except BaseException:
        writer.abandon()
        raise
    finally:
        answers.close()
    return writer, counts


def _check_alive(plan: Plan, shard: Shard, part: Part, counts: Counts) -> None:
    dead = counts.links - counts.alive
    if counts.links < ENOUGH_TO_JUDGE or dead <= plan.max_dead_share * counts.links:
        return
    first = part.number * plan.part_rows
    causes = ", ".join(f"{cause} {count:,}" for cause, count in counts.dead.items())
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
