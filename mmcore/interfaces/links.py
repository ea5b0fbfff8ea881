"""How the published rows of a dataset name the pictures that are to be fetched from the web."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class Links:
    """Where the links of published rows stand, and where prepared rows hold the pictures.

    Published files are parquet; also ``.tsv`` and ``.json`` where their columns are named here.

    Attributes:
        column: of the links. Its values are a link each, or a list of as many links as the row
            has slots, with null where a slot is text.
        bytes_column: of the encoded pictures in prepared shards, shaped as ``column``; null where
            that is null or the link is dead.
        tsv: names of the columns of ``.tsv`` files, which have no header, in their order.
        json: of a ``.json`` file that holds an object of lists: the key of a list to the name of
            its column.
    """

    column: str
    bytes_column: str
    tsv: tuple[str, ...] = ()
    json: Mapping[str, str] = attrs.field(factory=dict)


def download_command(source: str, published: str, prepared: str) -> str:
    """What is typed to turn the published files of a source into prepared shards."""
    words = ["mmcore", "data", "download", source, published, "-o", prepared]
    return shlex.join(words)
