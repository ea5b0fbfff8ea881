"""Making a sample fit a pack: pictures shrink, documents split, text is truncated."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

import attrs

from mmcore.interfaces import ImageRef, TilePlan, TilerSpec, ViewFormat


@attrs.frozen
class Words:
    """Token ids in a row, all learned or all not; may be cut anywhere."""

    ids: tuple[int, ...]
    learned: bool

    @property
    def tokens(self) -> int:
        return len(self.ids)

    @property
    def views(self) -> int:
        return 0

    def cut(self, room: int) -> tuple[Words, Words]:
        """The first ``room`` ids and the rest; never a rest of one id, which could not be learned
        for want of a predecessor."""
        if self.tokens - room == 1 and room > 1:
            room -= 1
        return Words(self.ids[:room], self.learned), Words(self.ids[room:], self.learned)


@attrs.frozen
class Picture:
    """A picture's placeholders; never cut."""

    ref: ImageRef
    plan: TilePlan
    tokens: int
    instruction: tuple[int, ...] = ()

    @property
    def views(self) -> int:
        return self.plan.views


Atom = Words | Picture


@attrs.frozen
class Bounds:
    """What a pack holds at most."""

    tokens: int
    views: int

    def fit(self, atoms: Iterable[Atom]) -> bool:
        held = list(atoms)
        tokens, views = sum(atom.tokens for atom in held), sum(atom.views for atom in held)
        return tokens <= self.tokens and views <= self.views

    def room(self, atoms: Sequence[Atom]) -> int:
        """Tokens that are still free beside the atoms."""
        return self.tokens - sum(atom.tokens for atom in atoms)


def shrink(
    natural: Sequence[TilePlan],
    sizes: Sequence[tuple[int, int]],
    tiler: TilerSpec,
    view: ViewFormat,
    fits: Callable[[Sequence[TilePlan]], bool],
) -> list[TilePlan]:
    """Plans that fit, or, if there are too many pictures, one view for each.

    All pictures get the same highest number of views; what is left over goes to the first ones.

    Args:
        natural: the plan that each picture would have alone.
        sizes: width and height of each picture, in pixels.
        fits: whether these plans may stand together.
    """

    def plan(index: int, cap: int) -> TilePlan:
        width, height = sizes[index]
        return tiler.plan(width, height, view, cap)

    plans = list(natural)
    cap = max((one.views for one in plans), default=1)
    while cap > 1 and not fits(plans):
        cap -= 1
        plans = [one if one.views <= cap else plan(i, cap) for i, one in enumerate(plans)]
    for index, one in enumerate(plans):
        larger = plan(index, cap + 1)
        grown = [*plans[:index], larger, *plans[index + 1 :]]
        if larger.views > one.views and fits(grown):
            plans = grown
    return plans


def split(atoms: Sequence[Atom], bounds: Bounds) -> list[list[Atom]]:
    """Pieces that fit, cut between atoms; pictures stay with the text that follows them.

    Words that no pack could hold, and words that follow pictures which leave them too little
    room, are cut among themselves. Every picture must fit a pack by itself.
    """
    pieces: list[list[Atom]] = []
    piece: list[Atom] = []
    queue = deque(atoms)
    while queue:
        atom = queue.popleft()
        if bounds.fit([*piece, atom]):
            piece.append(atom)
            continue
        spoken = any(isinstance(one, Words) for one in piece)
        room = bounds.room(piece)
        if isinstance(atom, Words) and room > 0 and (atom.tokens > bounds.tokens or not spoken):
            head, tail = atom.cut(room)
            piece.append(head)
            queue.appendleft(tail)
            carried: list[Atom] = []
        else:
            carried = _pictures_at_the_end(piece) if spoken else []
            del piece[len(piece) - len(carried) :]
            queue.appendleft(atom)
        pieces.append(piece)
        piece = carried
    return [*pieces, piece]


def join_end(atoms: Sequence[Atom], end_id: int) -> list[Atom]:
    """The same atoms with a document's end in one atom with the text before it, so that no piece
    consists of the end alone."""
    if len(atoms) < 2:
        return list(atoms)
    *rest, text, end = atoms
    if isinstance(text, Words) and text.learned and end == Words((end_id,), learned=True):
        return [*rest, Words((*text.ids, end_id), learned=True)]
    return list(atoms)


def truncate(atoms: Sequence[Atom], bounds: Bounds) -> list[Atom]:
    """As much of the beginning as fits; pictures that nothing follows any more are left out."""
    kept: list[Atom] = []
    for atom in atoms:
        if bounds.fit([*kept, atom]):
            kept.append(atom)
            continue
        room = bounds.room(kept)
        if isinstance(atom, Words) and room > 0:
            kept.append(Words(atom.ids[:room], atom.learned))
        break
    return kept[: len(kept) - len(_pictures_at_the_end(kept))]


def _pictures_at_the_end(atoms: Sequence[Atom]) -> list[Atom]:
    first = len(atoms)
    while first and isinstance(atoms[first - 1], Picture):
        first -= 1
    return list(atoms[first:])
