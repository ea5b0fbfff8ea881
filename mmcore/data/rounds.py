"""Some lanes in turn, as a torchdata node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
from torchdata.nodes import BaseNode

from mmcore.data.faults import DataFault, EmptySource, describe
from mmcore.data.lane_state import LaneSettings, LaneState
from mmcore.data.lanes import Lane, LanePack, Note, unnoted
from mmcore.data.reader import SourceReader
from mmcore.interfaces import SampleKey, SourceSpec


@attrs.frozen
class LaneSet:
    """Some lanes of a stage and where they stand; all that a worker has to be told.

    Attributes:
        lanes: their numbers.
        sources: label and spec of every source.
        settings: what all lanes have in common.
        states: of the lanes that do not begin at the beginning.
        deadly: rows that killed a process, to be rejected unread.
    """

    lanes: Sequence[int]
    sources: Sequence[tuple[str, SourceSpec]]
    settings: LaneSettings
    states: Mapping[int, LaneState]
    deadly: frozenset[SampleKey] = frozenset()

    def open(self, note: Note = unnoted) -> list[Lane]:
        """The lanes, on readers of their own that they share."""
        readers = [SourceReader(label, spec, note) for label, spec in self.sources]
        return [
            Lane(
                number,
                readers,
                self.settings,
                self.states.get(number),
                deadly=self.deadly,
                note=note,
            )
            for number in self.lanes
        ]


class LaneRounds(BaseNode[LanePack | Exception]):  # type: ignore[misc]  # torchdata is untyped
    """A pack of every lane in turn. A data fault is handed out as the last item, so that it
    arrives whole, without the traceback text that a thread or process would wrap around it.

    Args:
        lanes: which, and where they stand.
        note: told, before each piece of work, what it is.
    """

    def __init__(self, lanes: LaneSet, note: Note = unnoted) -> None:
        super().__init__()
        self._lanes, self._note, self._turn, self._failed = lanes, note, 0, False

    def reset(self, initial_state: Mapping[str, LaneState] | None = None) -> None:
        super().reset(initial_state)
        states = {int(lane): state for lane, state in (initial_state or {}).items()}
        self._turn, self._failed = 0, False
        lanes = attrs.evolve(self._lanes, states={**self._lanes.states, **states})
        self._opened = lanes.open(self._note)

    def next(self) -> LanePack | Exception:
        if self._failed:
            raise StopIteration
        lane = self._opened[self._turn]
        try:
            pack = lane.next()
        except (DataFault, EmptySource) as error:
            self._failed = True
            return error
        except Exception as error:
            self._failed = True
            fault = DataFault(f"lane {self._lanes.lanes[self._turn]}: {describe(error)}")
            fault.__cause__ = error
            return fault
        self._turn = (self._turn + 1) % len(self._opened)
        return pack

    def get_state(self) -> dict[str, LaneState]:
        """The lanes' states; between two rounds only, for the turn is not part of it."""
        states = [lane.state() for lane in self._opened]
        return {str(state["lane"]): state for state in states}
