"""The source ``webdataset``: tars of members with one key, whose suffixes the recipe names."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from mmcore.interfaces import Rejection, Row, Sample, SampleKey, Shard
from mmcore.kit import tar_rows
from mmcore.kit.files import find_shards
from mmcore_sources.names import Names
from mmcore_sources.samples import PICTURES, TEXT, sample_of

JSON: Final = "json"
"""The row's key for the member with the fields, whatever its suffix is."""


class WebdatasetSource:
    """Reads tars. A row holds the encoded pictures, and the text's or the JSON's bytes.

    Args:
        path: the files, as a path or a glob pattern.
        image_members: suffixes of the pictures' members; empty for rows without pictures.
        text_member: suffix of the text's member.
        json_member: suffix of the member that holds the fields.
        names: fields of that member; where none of them is a form, the text's member counts.
    """

    def __init__(
        self,
        *,
        path: str,
        image_members: Sequence[str],
        text_member: str,
        json_member: str,
        names: Names,
    ) -> None:
        self.path, self.names = path, names
        # tar_rows gives suffixes in lower case.
        self.image_members = tuple(suffix.lower() for suffix in image_members)
        self.text_member, self.json_member = text_member.lower(), json_member.lower()

    def shards(self) -> Sequence[Shard]:
        return find_shards(self.path)

    def length(self, shard: Shard) -> int:
        return tar_rows.count_rows(shard.path)

    def rows(self, shard: Shard, start: int, stop: int) -> Iterator[Row]:
        for members in tar_rows.read_rows(shard.path, start, stop):
            yield self._row(members)

    def parse(self, row: Row, key: SampleKey) -> Sample:
        tar_rows.check_whole(row)
        values = dict(row)
        if self.names.given:
            values |= self._fields(values.pop(JSON))
        return sample_of(values, key)

    def _row(self, members: Mapping[str, bytes]) -> Row:
        row: dict[str, object] = {}
        if self.image_members:
            row[PICTURES] = [members[suffix] for suffix in self._pictures(members)]
        if self.names.given:
            row[JSON] = members.get(self.json_member)
        if not self.names.form:
            row[TEXT] = members.get(self.text_member)
        if tar_rows.CUT in members:
            row[tar_rows.CUT] = members[tar_rows.CUT]
        return row

    def _pictures(self, members: Mapping[str, bytes]) -> list[str]:
        """Suffixes of a row's pictures in order: those named, then those with a number."""
        named = [suffix for suffix in self.image_members if suffix in members]
        numbered = []
        for suffix in members:
            number, _, form = suffix.partition(".")
            if number.isdecimal() and form in self.image_members and suffix not in named:
                numbered.append((int(number), suffix))
        return named + [suffix for _, suffix in sorted(numbered)]

    def _fields(self, encoded: object) -> dict[str, object]:
        if not isinstance(encoded, bytes):
            raise Rejection("malformed-row", f"the row has no member .{self.json_member}")
        try:
            entry = json.loads(encoded)
        except (ValueError, RecursionError) as error:
            raise Rejection("malformed-json", f"{error}") from error
        if not isinstance(entry, dict):
            raise Rejection("malformed-row", f"the JSON is {entry!r}, wanted an object")
        return {what: entry.get(name) for what, name in self.names.given.items()}
