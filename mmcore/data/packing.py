"""Which of the pending samples fill the next pack: look-ahead best fit, bounded in two ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray


class Sized(Protocol):
    """What packing asks of a sample."""

    @property
    def tokens(self) -> int: ...

    @property
    def views(self) -> int: ...


S = TypeVar("S", bound=Sized)


class LookAhead(Generic[S]):
    """Pending samples of one lane, in order of arrival.

    A pack is closed when no choice among the pending samples would fill it better; the bounds
    are the same in all lanes, so packs cost about the same everywhere. The oldest sample always
    goes first, so none waits for ever.

    Args:
        depth: how many pending samples the last part of a pack is chosen from.
        max_tokens, max_views: what a pack holds; every sample must fit one by itself.
    """

    def __init__(self, depth: int, max_tokens: int, max_views: int) -> None:
        if depth < 1:
            raise ValueError(f"look_ahead is {depth}, wanted at least 1")
        self._depth, self._max_tokens, self._max_views = depth, max_tokens, max_views
        self._pending: list[S] = []
        self._tokens = self._views = 0

    @property
    def pending(self) -> tuple[S, ...]:
        return tuple(self._pending)

    @property
    def hungry(self) -> bool:
        """Whether another sample is wanted before a pack is closed."""
        fillable = self._tokens >= self._max_tokens or self._views >= self._max_views
        return len(self._pending) < self._depth or not fillable

    def add(self, sample: S) -> None:
        assert sample.tokens <= self._max_tokens, f"{sample.tokens} tokens in {self._max_tokens}"
        assert sample.views <= self._max_views, f"{sample.views} views in {self._max_views}"
        self._pending.append(sample)
        self._tokens += sample.tokens
        self._views += sample.views

    def close(self) -> list[S]:
        """Take the samples of the next pack out of the pending ones, in order of arrival."""
        taken = self._choose()
        chosen = [self._pending[index] for index in taken]
        gone = set(taken)
        self._pending = [one for index, one in enumerate(self._pending) if index not in gone]
        self._tokens -= sum(one.tokens for one in chosen)
        self._views -= sum(one.views for one in chosen)
        return chosen

    def _choose(self) -> list[int]:
        tokens, views = self._max_tokens, self._max_views
        taken: list[int] = []
        for index, one in enumerate(self._pending):
            enough = len(self._pending) - index <= self._depth
            if taken and (enough or one.tokens > tokens or one.views > views):
                break
            taken.append(index)
            tokens -= one.tokens
            views -= one.views
        rest = self._pending[len(taken) : len(taken) + self._depth]
        sizes = [(one.tokens, one.views) for one in rest]
        return taken + [len(taken) + index for index in fullest(sizes, tokens, views)]


def fullest(sizes: Sequence[tuple[int, int]], max_tokens: int, max_views: int) -> list[int]:
    """Indices of the sizes (tokens, views) with the most tokens that fit both bounds.

    Exact, by dynamic programming over token counts: for every count that some choice reaches, the
    fewest views that it takes. Of equal choices the one with fewer views wins, then older samples.
    """
    impossible = max_views + 1
    fewest: NDArray[np.int64] = np.full(max_tokens + 1, impossible, dtype=np.int64)
    fewest[0] = 0
    improved = np.zeros((len(sizes), max_tokens + 1), dtype=np.bool_)
    for index, (tokens, views) in enumerate(sizes):
        if tokens > max_tokens:
            continue
        with_it = fewest[: max_tokens + 1 - tokens] + views
        improved[index, tokens:] = with_it < fewest[tokens:]
        fewest[tokens:] = np.minimum(with_it, fewest[tokens:])
    count = int(np.flatnonzero(fewest <= max_views)[-1])
    chosen = []
    for index in reversed(range(len(sizes))):
        if improved[index, count]:
            chosen.append(index)
            count -= sizes[index][0]
    return chosen[::-1]
