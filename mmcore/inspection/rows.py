"""Some rows of one source, from all over its shards, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from mmcore.data.audit import faults
from mmcore.data.faults import DataFault
from mmcore.data.prepare import Preparer
from mmcore.data.reader import SourceReader
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import Rejection, Row, SampleKey, Shard, Tiles

SPREAD = 8
"""Shards that rows are taken from, if there are as many: opening one may cost a scan."""

GIVE_UP = 3
"""Faults of shards, or of code on rows, after which a source is given up: more would say the same,
and a store that does not answer is waited for every time."""


@attrs.frozen(eq=False)
class LookedRow:
    """What became of a row, or of a shard that could not be read.

    Attributes:
        key: where it is; None for a fault of a whole shard or source.
        samples: the sample, or its pieces, each with the views of its pictures; none of a row
            that was rejected.
        rejection: why the row cannot be used.
        faults: what must not be; rows may have them and still give samples.
    """

    key: SampleKey | None = None
    samples: Sequence[tuple[TokenizedSample, Sequence[Tiles]]] = ()
    rejection: Rejection | None = None
    faults: Sequence[str] = ()


def look_at_rows(reader: SourceReader, preparer: Preparer, wanted: int) -> Iterator[LookedRow]:
    """Up to ``wanted`` rows, read, prepared and their pictures decoded, as training does.

    Nothing is raised: a shard that cannot be read, or code that fails on a row, is a fault; after
    a few of them the source is given up.
    """
    failed = 0
    for found in rows_from_all_over(reader, wanted):
        if isinstance(found, DataFault):
            yield LookedRow(faults=[str(found)])
            continue
        key, row = found
        try:
            sample = reader.parse(row, key)
            made = preparer.tokenize(sample, reader.spec.overflow)
            samples = [(one, preparer.realise(one)) for one in made]
        except Rejection as rejection:
            yield LookedRow(key, rejection=rejection)
        except Exception as error:  # of a plugin; training would stop, and name the sample
            yield LookedRow(key, faults=[f"sample {key}: {type(error).__name__}: {error}"])
            failed += 1
            if failed == GIVE_UP:
                return
        else:
            wrong = [fault for one in made for fault in faults(one, preparer)]
            yield LookedRow(key, samples, faults=wrong)


def rows_from_all_over(
    reader: SourceReader, wanted: int
) -> Iterator[tuple[SampleKey, Row] | DataFault]:
    """Up to ``wanted`` rows in runs from the middle of shards that lie evenly among all of them;
    of further shards where those hold too few. A fault stands for its shard; after a few of them
    the source is given up."""
    lengths: dict[Shard, int] = {}
    broken = 0
    try:
        for shard in _evenly(reader.shards):
            enough = len(lengths) >= min(SPREAD, wanted) and sum(lengths.values()) >= wanted
            if enough or broken == GIVE_UP:
                break
            try:
                lengths[shard] = reader.length(shard)
            except DataFault as fault:
                broken += 1
                yield fault
    except DataFault as fault:  # of the source
        yield fault
    for (shard, rows), share in zip(
        lengths.items(), levelled(list(lengths.values()), wanted), strict=True
    ):
        start = (rows - share) // 2
        try:
            for place, row in reader.rows(shard, start, start + share):
                yield SampleKey(reader.label, shard.name, place), row
        except DataFault as fault:
            yield fault


def levelled(lengths: Sequence[int], wanted: int) -> list[int]:
    """Parts of these lengths that are ``wanted`` together, if they can be, and as equal as can
    be."""
    shares = [0] * len(lengths)
    left = wanted
    for after, index in enumerate(sorted(range(len(lengths)), key=lengths.__getitem__)):
        shares[index] = min(lengths[index], left // (len(lengths) - after))
        left -= shares[index]
    return shares


def _evenly(shards: Sequence[Shard]) -> list[Shard]:
    """All of them, beginning with a few that lie far apart."""
    first = min(SPREAD, len(shards))
    chosen = [len(shards) * number // first for number in range(first)]
    taken = set(chosen)
    return [shards[i] for i in [*chosen, *(i for i in range(len(shards)) if i not in taken)]]
