"""The recipe table of webdataset tars of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import Problem, doc
from mmcore_sources.names import Names

ge, le = attrs.validators.ge, attrs.validators.le


@attrs.frozen(kw_only=True)
class WebdatasetSpec(FilesSpec):
    """Captions, conversations or questions about pictures, in webdataset tars of your own.

    Members of one key are a row: `a.jpg` and `a.txt`, or `a.jpg` and `a.json`.
    """

    name: ClassVar[str] = "webdataset"

    image_members: tuple[str, ...] = attrs.field(
        default=("jpg", "jpeg", "png", "webp"),
        metadata=doc(
            "suffixes of the pictures' members, all of them in this order; after them `0.jpg`, "
            "`1.jpg`, ... by number, where `jpg` is named; empty for rows without pictures"
        ),
    )
    text_member: str = attrs.field(
        default="txt",
        metadata=doc("suffix of the text's member, where no field of the JSON is named"),
    )
    json_member: str = attrs.field(
        default="json", metadata=doc("suffix of the member that has the fields named below")
    )
    text_field: str = attrs.field(default="", metadata=doc("the JSON's key for the caption"))
    conversations_field: str = attrs.field(
        default="",
        metadata=doc(
            "the JSON's key for the turns: LLaVA's `from` and `value`, or `role` and `content` as "
            "chat templates take them"
        ),
    )
    question_field: str = attrs.field(
        default="", metadata=doc("the JSON's key for a question about the pictures")
    )
    answer_field: str = attrs.field(
        default="",
        metadata=doc("the JSON's key for its answer; of a list, the most frequent one"),
    )
    group_field: str = attrs.field(
        default="", metadata=doc("the JSON's key for the kind of row, for statistics")
    )
    pictures: int = attrs.field(
        default=1,
        validator=[ge(0), le(4)],
        metadata=doc("pictures of a made-up row; real rows have as many as they have"),
    )
    turns: int = attrs.field(
        default=4,
        validator=ge(1),
        metadata=doc("most questions of a made-up row; real rows have as many as they have"),
    )

    @property
    def names(self) -> Names:
        """The fields of the JSON member, by what they become."""
        return Names(
            text=self.text_field,
            conversations=self.conversations_field,
            question=self.question_field,
            answer=self.answer_field,
            group=self.group_field,
        )

    def problems(self) -> Iterator[Problem]:
        yield from self.names.problems("field")

    def open(self) -> Source:
        from mmcore_sources.webdataset_source import WebdatasetSource

        return WebdatasetSource(
            path=self.path,
            image_members=self.image_members,
            text_member=self.text_member,
            json_member=self.json_member,
            names=self.names,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_sources.made_up_tars import make_up_tars

        make_up_tars(
            folder,
            content,
            self.name,
            image_member=self.image_members[0] if self.image_members else "",
            text_member=self.text_member,
            json_member=self.json_member,
            names=self.names,
            pictures=self.pictures if self.image_members else 0,
            turns=self.turns,
        )

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.tar"))
