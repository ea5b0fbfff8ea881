"""What img2dataset found: it writes tars and tables, from which pictures are read by number."""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import attrs
import pyarrow.parquet as pq

from mmcore.downloading.causes import NO_ANSWER, NOT_IN_TIME, OTHER, cause_of

LINK: Final = "mmcore_link"
"""The column that we give to img2dataset and find in its answers: the number of an address."""

PICTURE: Final = ".jpg"
"""What a picture's member ends in, whatever it holds."""

_ANSWERED: Final = [LINK, "key", "status", "error_message"]


@attrs.frozen
class Place:
    """Where in a tar the bytes of a picture lie."""

    tar: int
    offset: int
    size: int


class Answers:
    """What became of every address: a picture's bytes, or why there is none.

    Args:
        places: of the pictures, by the number of the address.
        dead: cause and message of the others.
        tars: the files that ``Place.tar`` counts.
        given_up: whether img2dataset was ended before it had answered for all.
    """

    def __init__(
        self,
        places: dict[int, Place],
        dead: dict[int, tuple[str, str]],
        tars: Sequence[Path],
        *,
        given_up: bool,
    ) -> None:
        self.places, self.dead = places, dead
        self._unknown = NOT_IN_TIME if given_up else NO_ANSWER
        self._tars = tars
        self._open: dict[int, IO[bytes]] = {}

    def picture(self, number: int) -> bytes | None:
        """The bytes that were fetched, or None; ``cause`` says why."""
        place = self.places.get(number)
        if place is None:
            return None
        if place.tar not in self._open:
            self._open[place.tar] = self._tars[place.tar].open("rb")
        file = self._open[place.tar]
        file.seek(place.offset)
        return file.read(place.size)

    def cause(self, number: int) -> tuple[str, str]:
        """Why there is no picture: the cause, and what img2dataset said."""
        return self.dead.get(number, (self._unknown, ""))

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()


def read_answers(out: Path) -> Answers:
    """Read what img2dataset wrote into a folder: for every batch a tar and a table.

    A batch that was given up has no table. Its pictures are found all the same; what its other
    links came to is not known.
    """
    places: dict[int, Place] = {}
    dead: dict[int, tuple[str, str]] = {}
    tars = sorted(out.glob("*.tar"))
    given_up = False
    for number, tar in enumerate(tars):
        if not tar.with_name(f"{tar.stem}_stats.json").exists():
            given_up = True
            places.update(_given_up(tar, number))
            continue
        held = {name.removesuffix(PICTURE): place for name, place in _members(tar, number)}
        table = pq.read_table(tar.with_suffix(".parquet"), columns=_ANSWERED)
        for row in table.to_pylist():
            place = held.get(row["key"])
            if row["status"] == "success" and place is not None:
                places[row[LINK]] = place
            elif row["status"] != "success":
                message = row["error_message"] or ""
                dead[row[LINK]] = (cause_of(message) if message else OTHER, message)
    return Answers(places, dead, tars, given_up=given_up)


def _members(path: Path, number: int) -> Iterator[tuple[str, Place]]:
    with tarfile.open(path) as tar:
        for member in tar:
            yield member.name, Place(number, member.offset_data, member.size)
            tar.members.clear()  # type: ignore[attr-defined]  # or they are all kept


def _given_up(path: Path, number: int) -> Iterator[tuple[int, Place]]:
    """The pictures of a tar that ends somewhere, by what is said of them in the member behind."""
    size = path.stat().st_size
    pictures: dict[str, Place] = {}
    with path.open("rb") as file, contextlib.suppress(tarfile.ReadError):
        for name, place in _members(path, number):
            key, _, suffix = name.rpartition(".")
            if place.offset + place.size > size:
                return
            if f".{suffix}" == PICTURE:
                pictures[key] = place
            elif key in pictures:
                file.seek(place.offset)
                yield json.loads(file.read(place.size))[LINK], pictures.pop(key)
