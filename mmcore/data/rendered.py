"""A sample whose text is ids already and whose pictures are known by size, not yet by grid."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from mmcore.data.fitting import Atom, Picture, Words
from mmcore.data.images import image_size, of_picture
from mmcore.interfaces import ImagePart, ImageRef, ImageSlot, Part, TextRun, TilePlan


@attrs.frozen
class Rendered:
    """What a text format made of parts, and the pictures it left slots for.

    Attributes:
        items: text runs and image slots, in the order in which they are spoken.
        refs: the pictures.
        sizes: their widths and heights in pixels.
        instructions: the ids of each one's own instruction; empty where nobody reads them.
    """

    items: Sequence[TextRun | ImageSlot]
    refs: Sequence[ImageRef]
    sizes: Sequence[tuple[int, int]]
    instructions: Sequence[tuple[int, ...]]

    @classmethod
    def read(
        cls,
        items: Sequence[TextRun | ImageSlot],
        parts: Sequence[Part],
        instructions: Sequence[tuple[int, ...]],
    ) -> Rendered:
        """Look into the headers of the pictures of ``parts``, from which ``items`` were made.

        Raises:
            Rejection: a picture is missing, or its header cannot be read.
        """
        refs = [part.ref for part in parts if isinstance(part, ImagePart)]
        _check_slots(items, refs)
        return cls(items, refs, [of_picture(ref, image_size) for ref in refs], instructions)

    def with_items(self, items: Sequence[TextRun | ImageSlot]) -> Rendered:
        """Other words around the same pictures, whose headers are not read again."""
        _check_slots(items, self.refs)
        return attrs.evolve(self, items=items)

    @property
    def words(self) -> int:
        """Tokens that are not a picture's."""
        return sum(len(item.ids) for item in self.items if isinstance(item, TextRun))

    def atoms(self, plans: Sequence[TilePlan], tokens_per_view: int) -> list[Atom]:
        """Words and pictures in order, each picture with the views of its plan."""
        atoms: list[Atom] = []
        for item in self.items:
            if isinstance(item, TextRun):
                atoms.append(Words(item.ids, item.learned))
            else:
                plan = plans[item.index]
                tokens = plan.groups * tokens_per_view
                ref, instruction = self.refs[item.index], self.instructions[item.index]
                atoms.append(Picture(ref, plan, tokens, instruction))
        return atoms


def _check_slots(items: Sequence[TextRun | ImageSlot], refs: Sequence[ImageRef]) -> None:
    slots = [item.index for item in items if isinstance(item, ImageSlot)]
    assert slots == list(range(len(refs))), f"text format gave slots {slots} for {len(refs)}"
