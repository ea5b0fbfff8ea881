"""What a source promises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from mmcore.interfaces import (
    ImagePart,
    Part,
    Sample,
    SampleKey,
    SourceSpec,
    SyntheticContent,
    TextPart,
)
from mmcore.kit.picture_bytes import picture_bytes
from mmcore.testing.spec import check_spec


def check_source(spec: SourceSpec, folder: Path, rows: int = 12) -> None:
    """It writes made-up rows in its own format, reads them back from any row on, and gives
    preference pairs if and only if its spec says so.

    Raises:
        AssertionError: what is broken, with the shard and row.
    """
    content = SyntheticContent(rows=rows, seed=5)
    spec.synthesize(folder, content)
    # With its content, as a rehearsal has it: rows that are made as they are read have no files.
    here = attrs.evolve(spec.relocated(folder), synthetic=content)
    assert type(here) is type(spec), f"relocated() changed the class to {type(here).__qualname__}"
    check_spec(here)
    source = here.open()
    shards = list(source.shards())
    assert len({shard.name for shard in shards}) == len(shards), f"shard names repeat: {shards}"
    assert list(source.shards()) == shards, "the order of the shards is not stable"
    assert sum(source.length(shard) for shard in shards) == rows, f"{rows} rows were asked for"
    for shard in shards:
        length = source.length(shard)
        whole = list(source.rows(shard, 0, length))
        assert len(whole) == length, f"{shard.name}: {len(whole)} rows read of {length}"
        middle = length // 2
        assert list(source.rows(shard, middle, length)) == whole[middle:], (
            f"{shard.name}: reading from row {middle} on gives other rows"
        )
        for number, row in enumerate(whole):
            key = SampleKey(spec.name, shard.name, number)
            sample = source.parse(row, key)
            assert sample == source.parse(row, key), f"{key}: parse is not pure"
            _check_sample(sample, key)
            assert bool(sample.dispreferred) == here.gives_pairs, (
                f"{key}: gives_pairs is {here.gives_pairs}, but the worse answer of the sample is "
                f"{sample.dispreferred}"
            )
            assert (sample.reference is not None) == here.gives_references, (
                f"{key}: gives_references is {here.gives_references}, but the reference of the "
                f"sample is {sample.reference}"
            )


def _check_sample(sample: Sample, key: SampleKey) -> None:
    assert sample.key == key, f"{key} was parsed as {sample.key}"
    assert sample.parts, f"{key} has no parts"
    for part in sample.parts:
        if isinstance(part, ImagePart):
            assert picture_bytes(part.ref), f"{key}: the picture is empty"
    if sample.dispreferred:
        assert _said(sample.answer) != _said(sample.dispreferred), (
            f"{key}: both answers of the pair are {_said(sample.answer)!r}"
        )


def _said(answer: Sequence[Part]) -> str:
    return "".join(part.text for part in answer if isinstance(part, TextPart))
