"""What the recipe tables of sources with columns have in common: the columns' names are keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from mmcore.interfaces import SourceSpec
from mmcore_registry import Problem, doc
from mmcore_sources.names import Names

if TYPE_CHECKING:
    from mmcore_sources.columns import Columns

ge = attrs.validators.ge


@attrs.frozen(kw_only=True)
class ColumnsSpec(SourceSpec):
    """Pictures and a text, a conversation, or a question and its answer, in columns."""

    image_columns: tuple[str, ...] = attrs.field(
        default=("image",),
        metadata=doc(
            "columns of the pictures: encoded bytes, Hugging Face's struct of bytes and path, "
            "names of files below `images`, or lists of these; empty for rows without pictures"
        ),
    )
    images: str = attrs.field(
        default="",
        metadata=doc(
            "folder below which pictures lie that are named; empty for the folder of each file, "
            "or of a prepared dataset"
        ),
    )
    text_column: str = attrs.field(
        default="", metadata=doc("column of the caption; `text` where no other form is named")
    )
    conversations_column: str = attrs.field(
        default="",
        metadata=doc(
            "column of the turns: LLaVA's `from` and `value`, or `role` and `content` as chat "
            "templates take them, as lists or as JSON"
        ),
    )
    question_column: str = attrs.field(
        default="", metadata=doc("column of a question about the pictures")
    )
    answer_column: str = attrs.field(
        default="",
        metadata=doc("column of its answer; of a list of answers, the most frequent one"),
    )
    group_column: str = attrs.field(
        default="", metadata=doc("column that says the kind of row, for statistics")
    )
    turns: int = attrs.field(
        default=4,
        validator=ge(1),
        metadata=doc("most questions of a made-up row; real rows have as many as they have"),
    )

    @property
    def columns(self) -> Columns:
        """What is read of a row."""
        from mmcore_sources.columns import Columns

        return Columns(self.image_columns, self.names)

    @property
    def names(self) -> Names:
        """The columns beside the pictures', by what they become."""
        names = self._named
        return names if names.form else attrs.evolve(names, text="text")

    def problems(self) -> Iterator[Problem]:
        yield from self._named.problems("column")

    @property
    def _named(self) -> Names:
        return Names(
            text=self.text_column,
            conversations=self.conversations_column,
            question=self.question_column,
            answer=self.answer_column,
            group=self.group_column,
        )
