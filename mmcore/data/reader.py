"""An opened source with its faults named, shared by all lanes of a process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

from mmcore.data.faults import DataFault, EmptySource
from mmcore.data.limited import FirstRows
from mmcore.data.stable_hash import stable_hash
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
            try:
                self._lengths[shard.name] = self._open().length(shard)
            except Exception as error:
                self._fail(error, f"shard {shard.name!r} ({shard.path})")
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
        number = start
        self._note(f"reading rows {start} to {stop} of {self.label}:{shard.name}")
        try:
            for row in self._open().rows(shard, start, stop):
                yield number, row
                number += 1
        except Exception as error:
            self._fail(error, f"shard {shard.name!r} ({shard.path}), row {number}")
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
            try:
                source = self.spec.open()
                limit = self.spec.limit
                self._source = source if limit is None else FirstRows(source, limit)
                self._shards = tuple(self._source.shards())
            except Exception as error:
                self._fail(error, f"path {self.spec.path!r}")
        assert self._source is not None
        return self._source

    def _fail(self, error: Exception, place: str) -> NoReturn:
        where = f"source {self.label!r}, {place}"
        raise DataFault(f"{where}: {type(error).__name__}: {error}") from error
