"""An opened source with its faults named, shared by all lanes of a process.

Here the machine is given time: what a disk or a store fails to give is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from mmcore.data import faults
from mmcore.data.faults import DataFault, EmptySource, describe, patiently
from mmcore.data.limited import FirstRows
from mmcore.data.stable_hash import stable_hash
from mmcore.data.transient import is_transient
from mmcore.interfaces import Row, Sample, SampleKey, Shard, Source, SourceSpec


class SourceReader:
    """Opens a source when it is first needed, and remembers its shards and their lengths.

    Args:
        label: name of the source in the recipe; goes into keys and messages.
        spec: the source.
        note: told, before a shard is read, which.
    """

    def __init__(
        self, label: str, spec: SourceSpec, note: Callable[[str], None] = lambda _: None
    ) -> None:
        self.label, self.spec, self._note = label, spec, note
        self._source: Source | None = None
        self._shards: tuple[Shard, ...] = ()
        self._lengths: dict[str, int] = {}

    @property
    def shards(self) -> Sequence[Shard]:
        """All shards, in the source's own order."""
        self._open()
        return self._shards

    @property
    def fingerprint(self) -> str | None:
        """What the shards are called, in 16 digits; None while nothing was opened."""
        names = [shard.name for shard in self._shards]
        return f"{stable_hash(*names):016x}" if names else None

    def shard(self, name: str) -> Shard:
        """The shard of that name."""
        for shard in self.shards:
            if shard.name == name:
                return shard
        raise DataFault(f"source {self.label!r} no longer has a shard {name!r}")

    def length(self, shard: Shard) -> int:
        """Number of rows of the shard."""
        if shard.name not in self._lengths:
            source, place = self._open(), _place(shard)
            self._note(f"counting the rows of {self.label}:{shard.name}")
            try:
                length = patiently(self._where(place), lambda: source.length(shard))
            except Exception as error:
                self._fail(error, place)
            self._lengths[shard.name] = length
        return self._lengths[shard.name]

    def check_not_empty(self) -> None:
        """To be asked after all shards were seen.

        Raises:
            EmptySource: none of them holds a row.
        """
        if not any(self.length(shard) for shard in self.shards):
            raise EmptySource(
                f"source {self.label!r}: the {len(self.shards)} shards of {self.spec.path!r} "
                "hold no rows"
            )

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[tuple[int, Row]]:
        """Numbers and rows from ``start`` to ``stop``."""
        source, number, tried = self._open(), start, 0
        self._note(f"reading rows {start} to {stop} of {self.label}:{shard.name}")
        while True:
            try:
                for row in source.rows(shard, number, stop):
                    yield number, row
                    number, tried = number + 1, 0
                break
            except Exception as error:
                tried += 1
                self._pause(error, f"{_place(shard)}, row {number}", tried)
        if number != stop:
            raise DataFault(
                f"source {self.label!r}: shard {shard.name!r} ({shard.path}) gave {number - start} "
                f"rows from {start} on, wanted {stop - start}"
            )

    def parse(self, row: Row, key: SampleKey) -> Sample:
        """The row as a sample, under this key.

        Raises:
            Rejection: the row cannot be used.
        """
        sample = self._open().parse(row, key)
        assert sample.key == key, f"source {self.label!r} gave key {sample.key} for {key}"
        return sample

    def _open(self) -> Source:
        if self._source is None:
            place = f"path {self.spec.path!r}"
            self._note(f"opening {self.label}")
            try:
                source = self.spec.open()
                if self.spec.limit is not None:
                    source = FirstRows(source, self.spec.limit)
                self._shards = tuple(patiently(self._where(place), source.shards))
            except Exception as error:
                self._fail(error, place)
            self._source = source
        return self._source

    def _pause(self, error: Exception, place: str, tried: int) -> None:
        """Wait before rows are asked for again; stop where that would not help."""
        try:
            if not is_transient(error):
                raise error
            faults.PATIENCE.pause(self._where(place), error, tried)
        except Exception as final:
            self._fail(final, place)

    def _where(self, place: str) -> str:
        return f"source {self.label!r}, {place}"

    def _fail(self, error: Exception, place: str) -> NoReturn:
        raise DataFault(f"{self._where(place)}: {describe(error)}") from error


def _place(shard: Shard) -> str:
    return f"shard {shard.name!r} ({shard.path})"
