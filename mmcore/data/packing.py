"""Which of the pending samples fill the next pack: look-ahead best fit, bounded in two ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar


class Sized(Protocol):
    """What packing asks of a sample."""

    @property
    def tokens(self) -> int: ...

    @property
    def views(self) -> int: ...

    @property
    def encoded_bytes(self) -> int: ...


S = TypeVar("S", bound=Sized)


class LookAhead(Generic[S]):
    """Pending samples of one lane, in order of arrival.

    A pack is closed when no choice among the pending samples would fill it better; the bounds
    are the same in all lanes, so packs cost about the same everywhere. The oldest sample always
    goes first, so none waits for ever.

    Args:
        depth: how many pending samples the last part of a pack is chosen from.
        max_tokens, max_views: what a pack holds; every sample must fit one by itself.
        max_bytes: where the pending samples hold so many encoded bytes, they are deep enough.
    """

    def __init__(self, depth: int, max_tokens: int, max_views: int, max_bytes: int) -> None:
        if depth < 1:
            raise ValueError(f"look_ahead is {depth}, wanted at least 1")
        self._depth, self._max_tokens, self._max_views = depth, max_tokens, max_views
        self._max_bytes = max_bytes
        self._pending: list[S] = []
        self._tokens = self._views = self._bytes = 0

    @property
    def pending(self) -> tuple[S, ...]:
        return tuple(self._pending)

    @property
    def hungry(self) -> bool:
        """Whether another sample is wanted before a pack is closed."""
        fillable = self._tokens >= self._max_tokens or self._views >= self._max_views
        deep = len(self._pending) >= self._depth or self._bytes >= self._max_bytes
        return not (fillable and deep)

    def add(self, sample: S) -> None:
        assert sample.tokens <= self._max_tokens, f"{sample.tokens} tokens in {self._max_tokens}"
        assert sample.views <= self._max_views, f"{sample.views} views in {self._max_views}"
        self._pending.append(sample)
        self._tokens += sample.tokens
        self._views += sample.views
        self._bytes += sample.encoded_bytes

    def close(self) -> list[S]:
        """Take the samples of the next pack out of the pending ones, in order of arrival."""
        taken = self._choose()
        chosen = [self._pending[index] for index in taken]
        gone = set(taken)
        self._pending = [one for index, one in enumerate(self._pending) if index not in gone]
        self._tokens -= sum(one.tokens for one in chosen)
        self._views -= sum(one.views for one in chosen)
        self._bytes -= sum(one.encoded_bytes for one in chosen)
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
        # What the pending samples need more of is worth more: else packs would take the text
        # first, and pictures would pile up.
        worth = self._tokens / self._max_tokens**2, self._views / self._max_views**2
        best = fullest(sizes, tokens, views, worth)
        return taken + [len(taken) + index for index in best]


def fullest(
    sizes: Sequence[tuple[int, int]],
    max_tokens: int,
    max_views: int,
    worth: tuple[float, float] = (1.0, 0.0),
) -> list[int]:
    """Indices of those sizes (tokens, views) that fit both bounds and are worth most together.

    Exact, by dynamic programming: for every number of views, the set of token counts that some
    choice reaches, as the bits of one whole number. Of equal choices, one of older samples wins.

    Args:
        worth: of a token and of a view.
    """
    within = (1 << (max_tokens + 1)) - 1
    reached = [1] + [0] * max_views
    before = []
    for tokens, views in sizes:
        before.append(reached)
        moved = [0] * views + [(bits << tokens) & within for bits in reached]
        reached = [old | new for old, new in zip(reached, moved, strict=False)]

    def value(views: int) -> float:
        return worth[0] * (reached[views].bit_length() - 1) + worth[1] * views

    views = max((v for v in range(max_views + 1) if reached[v]), key=value)
    tokens = reached[views].bit_length() - 1
    chosen = []
    for index in reversed(range(len(sizes))):
        if not before[index][views] >> tokens & 1:
            chosen.append(index)
            tokens, views = tokens - sizes[index][0], views - sizes[index][1]
    return chosen[::-1]
