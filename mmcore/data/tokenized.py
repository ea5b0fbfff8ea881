"""A sample as packing sees it: ids, what is learned, and which pictures go where; no pixels.

Letters: T tokens of the sample.
"""

from __future__ import annotations

import attrs
import numpy as np
from numpy.typing import NDArray

from mmcore.interfaces import ImageRef, SampleKey, TilePlan


@attrs.frozen
class PlannedPicture:
    """A picture that has not been decoded yet.

    Attributes:
        ref: where its bytes are.
        plan: how it will be cut.
        start: position of its first placeholder in the sample.
        instruction: ids of the user's own words in its turn, as many as the token sampler reads;
            none of them is ever learned.
    """

    ref: ImageRef
    plan: TilePlan
    start: int
    instruction: tuple[int, ...] = ()


@attrs.frozen(eq=False)
class TokenizedSample:
    """A sample, or a piece of a long document, that fits a pack.

    A preference pair is one of these as well, so that packing never parts it: the question with
    the preferred answer, and ``dispreferred`` within.

    Attributes:
        key: where it comes from.
        input_ids_T: int64; placeholders included.
        learned_T: bool; which of these ids are learned, if something precedes them.
        pictures: in reading order; each takes consecutive positions.
        ends: how many turn ends (of a conversation) or document ends it teaches; None where it
            was truncated, which may have cost some.
        document: whether it is a document rather than a conversation.
        group: kind of content, as its source says.
        shrunk: whether pictures got fewer views than they would have had alone.
        truncated: whether its end was left out.
        pieces: how many pieces the row became.
        dropped: how many further pieces were left out, for they taught nothing; counted on the
            first piece.
        pair: ids of the text of its picture, if that is one picture in one view and the stage wants
            such pairs.
        dispreferred: of a preference pair, the same question and pictures with the worse answer.
        reference: of either sequence of a pair, the log-probability of its answer that was computed
            beforehand; None where none was.
    """

    key: SampleKey
    input_ids_T: NDArray[np.int64]
    learned_T: NDArray[np.bool_]
    pictures: tuple[PlannedPicture, ...]
    ends: int | None
    document: bool
    group: str = ""
    shrunk: bool = False
    truncated: bool = False
    pieces: int = 1
    dropped: int = 0
    pair: tuple[int, ...] = ()
    dispreferred: TokenizedSample | None = None
    reference: float | None = None

    @property
    def sequences(self) -> tuple[TokenizedSample, ...]:
        """What attends to itself only: the sample, or the two sequences of a pair, the preferred
        one first, each as a sample of its own."""
        if self.dispreferred is None:
            return (self,)
        return attrs.evolve(self, dispreferred=None), self.dispreferred

    @property
    def tokens(self) -> int:
        """What it takes of a pack, both sequences of a pair together."""
        return len(self.input_ids_T) + (self.dispreferred.tokens if self.dispreferred else 0)

    @property
    def views(self) -> int:
        """What it takes of a pack; the sequences of a pair show the same views."""
        return sum(picture.plan.views for picture in self.pictures)

    @property
    def encoded_bytes(self) -> int:
        """What its pictures hold in memory before they are decoded; pages of a file share it."""
        held = {id(picture.ref.data): picture.ref.data or b"" for picture in self.pictures}
        return sum(map(len, held.values()))

    @property
    def labels(self) -> int:
        """Learned tokens that something precedes: a first token is never a target. The worse
        answer of a pair is not learned."""
        return int(np.count_nonzero(self.learned_T[1:]))
