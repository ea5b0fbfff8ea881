"""From the columns of a table of Arrow's to rows."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from mmcore.interfaces import Row
from mmcore.kit.arrow_values import holds_strings
from mmcore.kit.store import is_url, local
from mmcore_sources.names import Names
from mmcore_sources.samples import PICTURES, ROOT

if TYPE_CHECKING:
    import pyarrow as pa


@attrs.frozen
class Columns:
    """Which columns are read.

    Attributes:
        images: columns of the pictures, in reading order.
        names: columns of everything else.
    """

    images: tuple[str, ...]
    names: Names

    @property
    def wanted(self) -> list[str]:
        """All of them, each once."""
        return list(dict.fromkeys((*self.images, *self.names.given.values())))

    def check(self, path: str, present: Mapping[str, pa.DataType]) -> None:
        """Whether they are there.

        Raises:
            ValueError: some are not; names those and all that are there.
        """
        missing = [repr(name) for name in self.wanted if name not in present]
        if missing:
            noun = "columns" if len(missing) > 1 else "column"
            raise ValueError(
                f"{path} has no {noun} {', '.join(missing)}; it has: {', '.join(present)}"
            )

    def row(self, values: Mapping[str, object], types: Mapping[str, pa.DataType], root: str) -> Row:
        """The values of one row, by what they become."""
        row = {what: values[name] for what, name in self.names.given.items()}
        if self.images:
            row[ROOT] = root
            row[PICTURES] = [
                below(picture, root) if isinstance(picture, str) else picture
                for name in self.images
                for picture in pictures_in(values[name], named=holds_strings(types[name]))
            ]
        return row


def below(name: str, root: str) -> str:
    """The name of a file as one below ``root``, where a dataset wrote its whole path and that lies
    there; any other name as it is, and whether it leaves the root is seen when it is read."""
    if not os.path.isabs(name) or is_url(root):
        return name
    return name.removeprefix(f"{os.path.abspath(local(root)).rstrip('/')}/")


def pictures_in(value: object, *, named: bool) -> list[object]:
    """Encoded bytes and names of files in one value of a column of pictures.

    A value is bytes or, where ``named``, the undecoded name of a file; Hugging Face's struct of
    both, of which the bytes go first; or a list of these. Anything else is left for the row's
    parser to reject, and so is null in a list.
    """
    if value is None:
        return []
    if isinstance(value, list):
        return [one for each in value for one in pictures_in(each, named=named) or [None]]
    if isinstance(value, Mapping):
        if value.get("bytes") is not None:
            return [value["bytes"]]
        return pictures_in(value.get("path"), named=True)
    if named and isinstance(value, bytes):
        # What is not UTF-8 becomes what no text may hold, and its row is rejected.
        return [value.decode(errors="surrogateescape")]
    return [value]
