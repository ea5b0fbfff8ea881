"""A text format: the LLM's tokenizer and chat format, which turn parts into ids and a loss mask."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from mmcore.interfaces.records import Part


@attrs.frozen
class TextRun:
    """Token ids in a row that are all learned, or all not."""

    ids: tuple[int, ...]
    learned: bool


@attrs.frozen
class ImageSlot:
    """The place of the sample's ``index``-th picture (counted from 0) among the text runs."""

    index: int


class TextFormat(Protocol):
    """Renders parts to ids and loss mask in one pass, segment by segment.

    Text of a dataset never becomes a special token, whatever it spells.
    """

    @property
    def image_id(self) -> int:
        """The id that stands at every position which the token sampler fills."""

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids at which an answer ends."""

    @property
    def end_id(self) -> int:
        """The id that ends a document; learned."""

    @property
    def turn_end_id(self) -> int:
        """The id that ends a turn of a conversation; learned after an assistant's turn."""

    @property
    def vocabulary_size(self) -> int:
        """Number of ids, special tokens included."""

    def render(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        """A whole sample. Document parts end with ``end_id``, learned; a conversation is spoken
        in the LLM's chat format, and the assistant's words and turn ends are learned where their
        part's ``loss`` is true.

        Raises:
            Rejection: ``mixed-roles`` when document parts and turns are mixed.
        """

    def prompt(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        """A conversation up to where the assistant begins to answer (or a document, unfinished)."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""

    def special(self, token: int) -> str:
        """What a special token is called, such as ``<|user|>``; empty for every other id."""
