"""Pictures with one caption each: prepared parquet files, or the tars that img2dataset writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    Rejection,
    Row,
    Sample,
    SampleKey,
    Shard,
    TextPart,
)
from mmcore.kit import parquet_rows, tar_rows
from mmcore.kit.files import find_shards
from mmcore.kit.row_values import text_of

CAPTION, PICTURE = "caption", "picture"
"""The row's keys, whatever the columns or members are called."""

SUFFIXES: Final = (".parquet", ".tar")


class CaptionPairs:
    """Reads both forms, by the suffix of each file. A row holds a caption and an encoded picture.

    Args:
        path: the files, as a path or a glob pattern.
        caption_column: column of the caption, in parquet.
        bytes_column: column of the encoded picture, in parquet.
        caption_member: suffix of the caption's member, in tars.
        image_members: suffixes of the picture's member, in tars; the first that is there counts.
        prepare: the command that makes such parquet files of the published ones.
    """

    def __init__(
        self,
        *,
        path: str,
        caption_column: str,
        bytes_column: str,
        caption_member: str,
        image_members: Sequence[str],
        prepare: str,
    ) -> None:
        self.path = path
        self.prepare = prepare
        self.caption_column = caption_column
        self.bytes_column = bytes_column
        # tar_rows gives suffixes in lower case.
        self.caption_member = caption_member.lower()
        self.image_members = tuple(suffix.lower() for suffix in image_members)

    def shards(self) -> Sequence[Shard]:
        shards = find_shards(self.path)
        for shard in shards:
            if not shard.path.endswith(SUFFIXES):
                raise ValueError(f"{shard.path} is no {' or '.join(SUFFIXES)} file ({self.path!r})")
        return shards

    def length(self, shard: Shard) -> int:
        count = tar_rows.count_rows if _is_tar(shard) else parquet_rows.count_rows
        return count(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        if _is_tar(shard):
            for members in tar_rows.read_rows(shard.path, start, stop):
                yield self._of_members(members)
            return
        self._check_columns(shard)
        columns = [self.caption_column, self.bytes_column]
        for row in parquet_rows.read_rows(shard.path, columns, start, stop):
            yield {CAPTION: row[self.caption_column], PICTURE: row[self.bytes_column]}

    def parse(self, row: Row, key: SampleKey) -> Sample:
        tar_rows.check_whole(row)
        caption = text_of("the caption", row[CAPTION])
        picture = row[PICTURE]
        if picture is None:
            raise Rejection("image-missing", "the row holds no picture; its link may be dead")
        if not isinstance(picture, bytes):
            raise Rejection("malformed-row", f"the picture is {picture!r}, wanted bytes")
        return Sample(key=key, parts=(ImagePart(ImageRef(data=picture)), TextPart(caption)))

    def _of_members(self, members: dict[str, bytes]) -> Row:
        found = (members[suffix] for suffix in self.image_members if suffix in members)
        row: dict[str, object] = {
            CAPTION: members.get(self.caption_member),
            PICTURE: next(found, None),
        }
        if tar_rows.CUT in members:
            row[tar_rows.CUT] = members[tar_rows.CUT]
        return row

    def _check_columns(self, shard: Shard) -> None:
        present = parquet_rows.column_names(shard.path)
        listing = ", ".join(present)
        if self.caption_column not in present:
            raise ValueError(
                f"{shard.path} has no column {self.caption_column!r}; it has: {listing}"
            )
        if self.bytes_column not in present:
            raise ValueError(
                f"{shard.path} has no column {self.bytes_column!r}; wanted the same rows with the "
                f"pictures' bytes beside them, for training fetches nothing: `{self.prepare}`; it "
                f"has: {listing}"
            )


def _is_tar(shard: Shard) -> bool:
    return shard.path.endswith(".tar")
