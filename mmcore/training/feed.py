"""What the loop asks of a loader: the packs of one step, and its place in the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from mmcore.interfaces import PackedBatch


class RejectedRow(Protocol):
    """A row that could not be used."""

    @property
    def key(self) -> object: ...

    @property
    def reason(self) -> str: ...

    @property
    def detail(self) -> str: ...


class StepData(Protocol):
    """This rank's packs of one step; every rank gets as many."""

    @property
    def batches(self) -> Sequence[PackedBatch]: ...

    @property
    def rejected(self) -> Sequence[RejectedRow]: ...

    @property
    def counts(self) -> Mapping[str, float]: ...

    @property
    def wait_seconds(self) -> float: ...


class Loader(Protocol):
    """One rank's share of a stage's data."""

    def next_step(self) -> StepData: ...
