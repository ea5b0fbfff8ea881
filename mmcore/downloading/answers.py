"""What img2dataset found: it writes tars and tables, from which pictures are read by number."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import attrs
import pyarrow.parquet as pq

from mmcore.downloading.causes import NO_ANSWER, OTHER, cause_of

LINK: Final = "mmcore_link"
"""The column that we give to img2dataset and find in its answers: the number of an address."""

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
    """

    def __init__(
        self, places: dict[int, Place], dead: dict[int, tuple[str, str]], tars: Sequence[Path]
    ) -> None:
        self.places, self.dead = places, dead
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
        return self.dead.get(number, (NO_ANSWER, ""))

    def close(self) -> None:
        """Close the files."""
        for file in self._open.values():
            file.close()
        self._open.clear()


def read_answers(out: Path) -> Answers:
    """Read what img2dataset wrote into a folder: for every batch a tar and a table."""
    places: dict[int, Place] = {}
    dead: dict[int, tuple[str, str]] = {}
    tars = sorted(out.glob("*.tar"))
    for number, tar in enumerate(tars):
        held = dict(_members(tar, number))
        table = pq.read_table(tar.with_suffix(".parquet"), columns=_ANSWERED)
        for row in table.to_pylist():
            place = held.get(row["key"])
            if row["status"] == "success" and place is not None:
                places[row[LINK]] = place
            elif row["status"] != "success":
                message = row["error_message"] or ""
                dead[row[LINK]] = (cause_of(message) if message else OTHER, message)
    return Answers(places, dead, tars)


def _members(path: Path, number: int) -> Iterator[tuple[str, Place]]:
    with tarfile.open(path) as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            if suffix == "jpg":  # whatever it holds
                yield key, Place(number, member.offset_data, member.size)
            tar.members.clear()  # type: ignore[attr-defined]  # or they are all kept
