"""What a look at a source's rows and at a stage's packs has found, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import attrs

from mmcore.data.audit import Spread
from mmcore.data.faults import DataFault
from mmcore.data.held_out import HeldOut
from mmcore.data.reader import SourceReader
from mmcore.inspection.rows import SPREAD, LookedRow
from mmcore.interfaces import Shard

COUNTED = 256
"""Shards whose rows are counted, where a footer says how many there are."""

FOOTERS = (".parquet", ".arrow")
"""Formats with such a footer; others must be scanned, as the few shards are that were read."""


@attrs.frozen
class Rejected:
    """Rows of a source that were left out for one reason, and one of them.

    Attributes:
        reason, rows: why, and how many.
        key, detail: of the first one.
    """

    reason: str
    rows: int
    key: str
    detail: str


@attrs.frozen
class SourceFindings:
    """What some rows of a source look like, and what became of them.

    Attributes:
        label: of the source in the recipe; ``name``: of its component.
        path: its files.
        files: how many there are of each format, such as ``4 parquet``.
        shards: files or parts in all.
        rows: in all shards; None where counting them would take a scan.
        share: wanted, of the samples that the stage draws; 0 to 1.
        read: rows that were looked at; ``accepted``: those that gave samples.
        samples: what they became; a split document counts for every piece.
        rejected: the others, by reason.
        held_out: of the rows read, those that are never trained on.
        shrunk, split, truncated: rows to which that happened.
        dropped: pieces that taught nothing and were left out.
        tokens, views, pictures: of a sample: least, middle, most.
        learned_share: learned tokens of all tokens.
        faults: what must not be.
    """

    label: str
    name: str
    path: str
    files: str
    shards: int
    rows: int | None
    share: float
    read: int
    accepted: int
    samples: int
    rejected: tuple[Rejected, ...]
    held_out: int
    shrunk: int
    split: int
    truncated: int
    dropped: int
    tokens: Spread
    views: Spread
    pictures: Spread
    learned_share: float
    faults: tuple[str, ...]

    @property
    def rejected_rows(self) -> int:
        return sum(one.rows for one in self.rejected)


class Tally:
    """Counts looked-at rows of one source, without keeping them.

    Args:
        held_out: which rows are never trained on; they are looked at like all others.

    Attributes:
        faults: what must not be, so far.
    """

    def __init__(self, held_out: HeldOut = HeldOut()) -> None:  # noqa: B008  (frozen)
        self._held_out = held_out
        self._rejected: dict[str, Rejected] = {}
        self.faults: list[str] = []
        self._counts: Counter[str] = Counter()
        self._tokens: list[int] = []
        self._views: list[int] = []
        self._pictures: list[int] = []

    @property
    def read(self) -> int:
        """Rows so far."""
        return self._counts["read"]

    def add(self, row: LookedRow) -> None:
        """Count one row, or the fault of a shard."""
        self.faults += row.faults
        self._counts["read"] += row.key is not None
        self._counts["held_out"] += row.key is not None and self._held_out.holds(row.key)
        if row.rejection is not None:
            reason = row.rejection.reason
            first = Rejected(reason, 0, str(row.key), row.rejection.detail)
            known = self._rejected.get(reason, first)
            self._rejected[reason] = attrs.evolve(known, rows=known.rows + 1)
        if not row.samples:
            return
        first_piece = row.samples[0][0]
        self._counts["accepted"] += 1
        self._counts["shrunk"] += first_piece.shrunk
        self._counts["split"] += first_piece.pieces > 1
        self._counts["truncated"] += first_piece.truncated
        self._counts["dropped"] += first_piece.dropped
        for sample, _ in row.samples:
            self._tokens.append(sample.tokens)
            self._views.append(sample.views)
            self._pictures.append(len(sample.pictures))
            self._counts["labels"] += sample.labels

    def findings(
        self,
        reader: SourceReader,
        shards: Sequence[Shard],
        *,
        share: float,
        max_rejected_share: float,
    ) -> SourceFindings:
        """All that was found about the source.

        Args:
            reader: of the source.
            shards: its shards; none of a source that could not be opened.
            share: wanted, 0 to 1.
            max_rejected_share: of the rows read; more is a fault.
        """
        counts = self._counts
        found = SourceFindings(
            label=reader.label,
            name=reader.spec.name,
            path=reader.spec.path,
            files=formats(shards),
            shards=len(shards),
            rows=count_rows(reader, shards),
            share=share,
            read=counts["read"],
            accepted=counts["accepted"],
            samples=len(self._tokens),
            rejected=tuple(self._rejected.values()),
            held_out=counts["held_out"],
            shrunk=counts["shrunk"],
            split=counts["split"],
            truncated=counts["truncated"],
            dropped=counts["dropped"],
            tokens=Spread.of(self._tokens),
            views=Spread.of(self._views),
            pictures=Spread.of(self._pictures),
            learned_share=counts["labels"] / max(1, sum(self._tokens)),
            faults=tuple(self.faults),
        )
        return attrs.evolve(found, faults=(*found.faults, *_too_few(found, max_rejected_share)))


def _too_few(found: SourceFindings, bound: float) -> Iterator[str]:
    """Whether too little of what was read can be learned from."""
    place = f"source {found.label!r}, path {found.path!r}"
    rejected = found.rejected_rows
    if not found.read:
        if not found.faults:
            yield f"{place}: holds no rows"
    elif rejected > bound * found.read:
        yield (
            f"{place}: {rejected} of {found.read} rows were rejected "
            f"({rejected / found.read:.1%}), data.max_rejected_share is {bound:.1%}"
        )
    elif not found.learned_share and not found.faults:
        yield f"{place}: gives nothing to learn"


def formats(shards: Sequence[Shard]) -> str:
    """How many files there are of each kind, such as ``4 parquet``."""
    kinds = Counter(PurePosixPath(shard.path).suffix.lstrip(".") or "shards" for shard in shards)
    return ", ".join(f"{count:,} {kind}" for kind, count in kinds.items())


def count_rows(reader: SourceReader, shards: Sequence[Shard]) -> int | None:
    """Rows of all shards; None where that is not cheap, or a shard cannot be read."""
    footers = all(shard.path.endswith(FOOTERS) for shard in shards)
    if not shards or len(shards) > (COUNTED if footers else SPREAD):
        return None
    try:
        return sum(reader.length(shard) for shard in shards)
    except DataFault:
        return None
