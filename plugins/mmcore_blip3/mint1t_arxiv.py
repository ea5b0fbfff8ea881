"""The source ``mint1t-arxiv``: papers whose pictures are members of their own."""

from __future__ import annotations

from collections.abc import Mapping

from mmcore.interfaces import ImageRef, Rejection, Row
from mmcore.kit.tar_rows import KEY
from mmcore_blip3.interleaved import Layout
from mmcore_blip3.tar_documents import FindPicture, TarDocuments


class Mint1tArxivSource(TarDocuments):
    """A slot names a member of the paper; one that is not there is left out like a dead link.

    Args:
        path: the files, as a path or a glob pattern.
        layout: how slots become parts.
        texts_key, images_key: the JSON's keys for the paragraphs and the pictures' slots.
        image_member: suffix of a picture's member after the paper's key; ``{image}`` stands for
            what the slot says, ``{n}`` for the picture's number in the paper, from 0.
        key_pattern: a regular expression for the part of a member's name that is the paper's key.
    """

    def __init__(
        self,
        *,
        path: str,
        layout: Layout,
        texts_key: str,
        images_key: str,
        image_member: str,
        key_pattern: str,
    ) -> None:
        super().__init__(path=path, layout=layout)
        self.texts_key = texts_key
        self.images_key = images_key
        self.image_member = image_member
        self.key_pattern = key_pattern

    def finder(self, document: Mapping[str, object], row: Row) -> FindPicture:
        paper = row[KEY]
        assert isinstance(paper, bytes)
        prefix = f"{paper.decode(errors='surrogateescape')}."

        def find(number: int, slot: object) -> ImageRef | None:
            if not isinstance(slot, str):
                raise Rejection("malformed-row", f"a picture is {slot!r}, wanted a member's name")
            # The slot may say the whole name of the member, or only what follows the key.
            named = slot.removeprefix(prefix)
            suffix = self.image_member.replace("{image}", named).replace("{n}", str(number))
            data = row.get(suffix.lower())
            return ImageRef(data=data) if isinstance(data, bytes) and data else None

        return find
