"""Which source is drawn from next, so that accepted samples have the shares of the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mmcore.data.stable_hash import stable_hash


class Mixture:
    """Smooth weighted round-robin over sources, for one lane.

    A source's k-th sample is due at time ``(k + phase) / share``; whichever is due first is
    drawn. After n samples every source has its share of n to within the number of sources. The
    phases differ between lanes, so that small sources do not arrive in all lanes at once.
    Counts are whole numbers and due times exact fractions: nothing drifts in a long run.

    Args:
        shares: relative numbers of accepted samples, each > 0.
        seed, lane: what the phases are drawn from.
        accepted: how many samples of each source were accepted so far.
    """

    def __init__(
        self, shares: Sequence[float], *, seed: int, lane: int, accepted: Sequence[int] = ()
    ) -> None:
        self._shares = [Fraction(share) for share in shares]
        self._phases = [
            Fraction(stable_hash(seed, "phase", lane, index), 2**64) for index in range(len(shares))
        ]
        self._accepted = list(accepted) if accepted else [0] * len(shares)
        self._due = [self._next_due(index) for index in range(len(shares))]

    @property
    def accepted(self) -> tuple[int, ...]:
        return tuple(self._accepted)

    def next(self) -> int:
        """Index of the source to draw from. It stays the same until a sample is accepted."""
        return self._due.index(min(self._due))

    def accept(self, index: int) -> None:
        """A sample of this source was accepted."""
        self._accepted[index] += 1
        self._due[index] = self._next_due(index)

    def give_back(self, index: int) -> None:
        """An accepted sample turned out to be unusable after all."""
        self._accepted[index] -= 1
        self._due[index] = self._next_due(index)

    def _next_due(self, index: int) -> Fraction:
        return (self._accepted[index] + self._phases[index]) / self._shares[index]
