"""The time that a rank spends in collectives, whoever calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import distributed

from mmcore.training.step_clock import StepClock

COMMUNICATION = "communication"
"""The span of a collective."""

_CALLS = (
    "all_gather",
    "all_gather_into_tensor",
    "all_reduce",
    "all_reduce_coalesced",
    "all_to_all_single",
    "broadcast",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
)
"""The functions of torch.distributed by which engines exchange tensors."""

_listening: list[StepClock] = []
_wrapped = False


@contextmanager
def heard(clock: StepClock) -> Iterator[None]:
    """Tell ``clock`` about every collective that is called inside.

    Engines look torch's functions up when they are made and keep them, so these are wrapped once
    for the life of the process, before the first engine; a wrapper that nobody listens to costs a
    look at an empty list. A call that returns before its work is done (``async_op``) counts as
    long as the call takes.
    """
    wrap_collectives()
    _listening.append(clock)
    try:
        yield
    finally:
        _listening.remove(clock)


def wrap_collectives() -> None:
    """To be called before an engine for several processes is made."""
    global _wrapped
    if _wrapped or not distributed.is_available():
        return
    _wrapped = True
    for name in _CALLS:
        setattr(distributed, name, _timed(getattr(distributed, name)))


def _timed(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def timed(*args: Any, **kwargs: Any) -> Any:
        if not _listening:
            return call(*args, **kwargs)
        clock = _listening[-1]
        begin = clock.now()
        try:
            return call(*args, **kwargs)
        finally:
            clock.add(COMMUNICATION, begin, clock.now())

    return timed
