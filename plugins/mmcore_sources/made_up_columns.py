"""Made-up rows as parquet files, and as datasets of Hugging Face's, under the columns' names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import SyntheticContent
from mmcore.kit.made_up import shard_ranges, write_whole
from mmcore_sources.columns import Columns
from mmcore_sources.made_up_rows import MadeUpRow, row_maker
from mmcore_sources.samples import CONVERSATIONS

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
"""How Hugging Face writes a picture."""

TURNS = pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))


def make_up_parquet(
    folder: Path, content: SyntheticContent, source: str, columns: Columns, *, turns: int
) -> None:
    """Write a few parquet files, pictures as their bytes.

    Raises:
        ValueError: ``folder`` holds anything else, a topic is not known, or more pictures are
            wanted than can be asked about.
    """

    def write(scratch: Path) -> None:
        make = row_maker(content, source, columns.names, pictures=len(columns.images), turns=turns)
        kinds = schema(columns, pa.binary())
        for number, rows in enumerate(shard_ranges(content.rows)):
            values = [_values(make(row), columns, lambda data: data) for row in rows]
            table = pa.Table.from_pylist(values, schema=kinds)
            pq.write_table(table, scratch / f"{number:03}.parquet")

    write_whole(folder, source, content, marks(columns, turns=turns), write)


def make_up_dataset(
    folder: Path,
    content: SyntheticContent,
    source: str,
    columns: Columns,
    *,
    turns: int,
    split: str,
    saved: bool,
) -> None:
    """Write a dataset of Hugging Face's with one split.

    Args:
        folder: where.
        content: what is made up.
        source: name of the source.
        columns: of the rows.
        turns: most questions of a conversation.
        split: its name.
        saved: as ``save_to_disk`` writes it, else as repositories have it, in parquet.

    Raises:
        ValueError: as ``make_up_parquet``.
    """
    import datasets

    def write(scratch: Path) -> None:
        make = row_maker(content, source, columns.names, pictures=len(columns.images), turns=turns)
        ranges = shard_ranges(content.rows)
        values = [
            _values(make(row), columns, lambda data: {"bytes": data, "path": None})
            for rows in ranges
            for row in rows
        ]
        table = pa.Table.from_pylist(values, schema=schema(columns, IMAGE))
        dataset = datasets.Dataset(table)
        for name in columns.images:
            dataset = dataset.cast_column(name, datasets.Image(decode=False))
        if saved:
            shards = {split: len(ranges)}
            datasets.DatasetDict({split: dataset}).save_to_disk(scratch, num_shards=shards)
            return
        (scratch / "data").mkdir()
        for number in range(len(ranges)):
            path = scratch / "data" / f"{split}-{number:05}-of-{len(ranges):05}.parquet"
            part = dataset.shard(num_shards=len(ranges), index=number, contiguous=True)
            part.to_parquet(path)

    keys = {**marks(columns, turns=turns), "split": split, "saved": saved}
    write_whole(folder, source, content, keys, write)


def marks(columns: Columns, *, turns: int) -> dict[str, object]:
    """The keys that change what is made up."""
    return {"images": columns.images, **attrs.asdict(columns.names), "turns": turns}


def schema(columns: Columns, image: pa.DataType) -> pa.Schema:
    """Columns of the made-up table."""
    fields = [(name, image) for name in columns.images]
    for what, name in columns.names.given.items():
        fields.append((name, TURNS if what == CONVERSATIONS else pa.string()))
    return pa.schema(fields)


def _values(
    row: MadeUpRow, columns: Columns, form: Callable[[bytes], object]
) -> Mapping[str, object]:
    pictures = zip(columns.images, map(form, row.pictures), strict=True)
    return {
        **dict(pictures),
        **{name: row.values[what] for what, name in columns.names.given.items()},
    }
