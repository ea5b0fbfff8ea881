"""Goes through the rows of a stage once, and keeps what its encoder makes of their pictures.

Letters: N views, P patches of a view, D encoder width, C/H/W channels, height, width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import torch
from torch import nn

from mmcore.caching.writer import FeatureWriter
from mmcore.data.cached_views import CachedViews
from mmcore.data.faults import DataFault, describe
from mmcore.data.feature_chunks import Entry
from mmcore.data.feature_header import FeatureHeader
from mmcore.data.feature_store import FeatureStore, key_of
from mmcore.data.prepare import Preparer
from mmcore.data.reader import SourceReader
from mmcore.data.tokenized import PlannedPicture
from mmcore.interfaces import Rejection, Row, SampleKey, SourceSpec, Tiles


@attrs.define
class Tally:
    """What became of the rows of one source.

    Attributes:
        rows: that were read.
        rejected: of them, those that cannot be used, or whose pictures cannot.
        pictures: that were met, counted once for every way in which they are cut.
        kept: of them, those whose features were there already.
        views: that were encoded now.
    """

    rows: int = 0
    rejected: int = 0
    pictures: int = 0
    kept: int = 0
    views: int = 0

    @property
    def encoded(self) -> int:
        """Pictures that were encoded now."""
        return self.pictures - self.kept


@attrs.frozen(eq=False)
class Encoding:
    """An encoder that is ready.

    Attributes:
        encoder: frozen, on ``device``.
        device: of the encoder.
        header: of the features that it makes.
        views: that it is given at once, at most; a picture is never parted.
    """

    encoder: nn.Module
    device: torch.device
    header: FeatureHeader
    views: int

    @torch.no_grad()
    def __call__(self, tiles: Sequence[Tiles]) -> list[torch.Tensor]:
        """``features_NPD`` of each picture, on the CPU, in the number format of the header."""
        pixels_NCHW = torch.cat([torch.from_numpy(one.pixels_NCHW) for one in tiles])
        bf16 = self.header.computed == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            features_NPD = self.encoder(pixels_NCHW.to(self.device))
        dtype = torch.float32 if self.header.stored == "fp32" else torch.bfloat16
        features_NPD = features_NPD.to("cpu", dtype)
        return list(features_NPD.split([len(one.pixels_NCHW) for one in tiles]))


def planned_pictures(
    reader: SourceReader, preparer: Preparer, number: int, shard: str, row: Row
) -> list[PlannedPicture]:
    """The pictures of a row as training will cut them.

    Raises:
        Rejection: the row cannot be used.
        DataFault: code failed on it.
    """
    key = SampleKey(reader.label, shard, number)
    try:
        pieces = preparer.tokenize(reader.parse(row, key), reader.spec.overflow)
    except Rejection:
        raise
    except Exception as error:
        raise DataFault(f"sample {key}: {describe(error)}") from error
    return [picture for piece in pieces for picture in piece.pictures]


def all_rows(reader: SourceReader) -> Iterator[tuple[str, int, Row]]:
    """Shard, number and content of every row, in order."""
    for shard in reader.shards:
        for number, row in reader.rows(shard, 0, reader.length(shard)):
            yield shard.name, number, row


class _Waiting:
    """Pictures that wait to be encoded together."""

    def __init__(self, encoding: Encoding, writer: FeatureWriter) -> None:
        self._encoding, self._writer = encoding, writer
        self._pictures: list[tuple[bytes, Tiles]] = []
        self._views = 0

    def add(self, key: bytes, tiles: Tiles) -> None:
        if self._views + len(tiles.pixels_NCHW) > self._encoding.views:
            self.encode()
        self._pictures.append((key, tiles))
        self._views += len(tiles.pixels_NCHW)

    def encode(self) -> None:
        waiting, self._pictures, self._views = self._pictures, [], 0
        if not waiting:
            return
        made = self._encoding([tiles for _, tiles in waiting])
        for (key, tiles), features_NPD in zip(waiting, made, strict=True):
            views = CachedViews(
                tiles.pixels_NCHW[:0],
                tiles.patch_mask_NP,
                tiles.patch_order_NP,
                features_NPD=features_NPD.clone(),
            )
            self._writer.add(Entry(key, views))


def cache_source(
    label: str,
    spec: SourceSpec,
    preparer: Preparer,
    encoding: Encoding,
    writer: FeatureWriter,
    on_rows: Callable[[int], None] = lambda count: None,
) -> Tally:
    """Add the features of all pictures of a source that are not there yet.

    Args:
        label, spec: of the source; it names a folder.
        preparer: as in training, without features.
        encoding: what makes them.
        writer: to the source's folder.
        on_rows: told how many more rows are done.

    Raises:
        DataFault: a shard cannot be read, or code failed on a row.
        OSError: the features cannot be written.
    """
    assert spec.features is not None, label
    assert preparer.features is None, "pictures are to be decoded"
    store, made = FeatureStore([spec.features]), set[bytes]()
    reader, tally = SourceReader(label, spec), Tally()
    waiting = _Waiting(encoding, writer)
    for shard, number, row in all_rows(reader):
        try:
            for picture in planned_pictures(reader, preparer, number, shard, row):
                key = key_of(picture)
                tally.pictures += 1
                if key in made or store.holds(key):
                    tally.kept += 1
                    continue
                try:
                    tiles = preparer.views(picture)
                except Rejection:
                    tally.pictures -= 1
                    raise
                made.add(key)
                tally.views += len(tiles.pixels_NCHW)
                waiting.add(key, tiles)
        except Rejection:
            tally.rejected += 1
        tally.rows += 1
        on_rows(1)
    waiting.encode()
    writer.flush()
    return tally


def views_of_a_row(label: str, spec: SourceSpec, preparer: Preparer, rows: int) -> float:
    """How many views a row has on average, of the first so many; a picture that comes again has
    none, and none is decoded.

    Raises:
        DataFault: as in training.
    """
    reader, views, read, met = SourceReader(label, spec), 0, 0, set[bytes]()
    for shard, number, row in all_rows(reader):
        if read == rows:
            break
        read += 1
        try:
            pictures = planned_pictures(reader, preparer, number, shard, row)
            new = {key_of(one): one.plan.views for one in pictures}
            views += sum(count for key, count in new.items() if key not in met)
            met |= new.keys()
        except Rejection:
            continue
    return views / max(1, read)
