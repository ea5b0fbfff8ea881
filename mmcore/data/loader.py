"""One rank's share of a stage's data: its lanes, read ahead by a thread or by worker processes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence

import attrs

from mmcore.data.collate import blank_batch
from mmcore.data.held_out import HeldOut
from mmcore.data.lane_state import READ_MEMORY, LaneSettings, LaneState, check_state
from mmcore.data.lanes import LanePack, RejectedRow
from mmcore.data.prepare import Preparer
from mmcore.data.rounds import LaneSet
from mmcore.data.streams import PackStream, stream
from mmcore.interfaces import PackedBatch, SourceSpec


@attrs.frozen(eq=False)
class StepData:
    """What one rank works on in one step.

    Attributes:
        batches: its packs, in order; every rank has the same number of them.
        rejected: rows that were left out since the last step.
        counts: since the last step, over this rank's lanes: ``samples`` (in packs),
            ``samples/LABEL``, ``drawn/LABEL`` (rows read, rejected and held-out ones included),
            ``held_out``, ``held_out/LABEL``, ``shrunk``, ``split``, ``truncated``,
            ``dropped_pieces``, ``rejected``, ``rejected/REASON``, ``worker_deaths``.
        wait_seconds: how long the step had to wait for its packs.
    """

    batches: tuple[PackedBatch, ...]
    rejected: tuple[RejectedRow, ...]
    counts: Mapping[str, float]
    wait_seconds: float


class PackLoader:
    """Gives a rank its packs, step by step, without end.

    Lane l belongs to rank ``l % ranks``. What a lane gives depends neither on the number of ranks
    nor of workers. Where ranks do not divide lanes, short ranks get blank packs.

    Args:
        sources: label and spec of every source of the stage.
        preparer: turns samples into ids and tiles.
        seed: of everything that is shuffled.
        lanes: independent streams, over all ranks.
        packs_per_step: over all ranks; a multiple of ``lanes``.
        look_ahead: pending samples from which a lane fills its packs.
        block_rows: rows of a shard that go to the same lane, one after another.
        read_memory: bytes of encoded rows that all lanes together hold.
        rank, ranks: which share is wanted.
        workers: processes that read, decode and cut; 0 means a thread of this process. No more
            than the rank has lanes.
        prefetch: packs that are made before they are asked for; None means those of a step.
        state: of this rank's lanes, as ``state`` gave it; from JSON, keys may be
            digits in strings.
        held_out: rows that are never given.

    Raises:
        ValueError: the numbers contradict each other, or the state belongs to other settings.
    """

    def __init__(
        self,
        *,
        sources: Sequence[tuple[str, SourceSpec]],
        preparer: Preparer,
        seed: int,
        lanes: int,
        packs_per_step: int,
        look_ahead: int,
        block_rows: int,
        read_memory: int = READ_MEMORY,
        rank: int = 0,
        ranks: int = 1,
        workers: int = 0,
        prefetch: int | None = None,
        state: Mapping[int, LaneState] | None = None,
        held_out: HeldOut = HeldOut(),  # noqa: B008  (frozen)
    ) -> None:
        settings = LaneSettings(
            preparer, seed, lanes, look_ahead, block_rows, read_memory, held_out
        )
        _check_numbers(lanes, packs_per_step, rank, ranks, workers, prefetch)
        mine = list(range(rank, lanes, ranks))
        self._blanks = -(-lanes // ranks) - len(mine)
        self._blank = blank_batch(preparer.view, preparer.text, preparer.pair_texts)
        self._rounds, self._workers = packs_per_step // lanes, workers
        self._prefetch = self._rounds * len(mine) if prefetch is None else prefetch
        self._lanes = LaneSet(mine, list(sources), settings, _own_states(mine, state or {}))
        for lane, saved in self._lanes.states.items():
            check_state(saved, lane, [label for label, _ in sources], settings)
        self._stream: PackStream | None = None

    def next_step(self) -> StepData:
        """The packs of the next step.

        Raises:
            EmptySource: a source holds no rows.
            DataFault: a shard cannot be read, code failed on a row, or a worker died.
        """
        began = time.perf_counter()
        batches: list[PackedBatch] = []
        rejected: list[RejectedRow] = []
        counts: defaultdict[str, float] = defaultdict(float)
        states: dict[int, LaneState] = {}
        for _ in range(self._rounds):
            for lane in self._lanes.lanes:
                pack = self._next_pack()
                assert pack.batch.lane == lane, f"lane {pack.batch.lane} came instead of {lane}"
                batches.append(pack.batch)
                rejected += pack.rejected
                for name, count in pack.counts.items():
                    counts[name] += count
                states[lane] = pack.state
            batches += [self._blank] * self._blanks
        self._lanes = attrs.evolve(self._lanes, states={**self._lanes.states, **states})
        waited = time.perf_counter() - began
        return StepData(tuple(batches), tuple(rejected), dict(counts), waited)

    def state(self) -> dict[int, LaneState]:
        """State of this rank's lanes after the last step that was handed out; what was read ahead
        does not count. Empty before the first step of a fresh loader."""
        return dict(self._lanes.states)

    def busy(self) -> str:
        """What its thread or workers are at, for whoever wonders why nothing comes."""
        return "nothing was asked for" if self._stream is None else self._stream.busy()

    def close(self) -> None:
        """Stop thread or workers. A closed loader goes on where the last step ended."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def _next_pack(self) -> LanePack:
        if self._stream is None:
            self._stream = stream(self._lanes, workers=self._workers, ahead=self._prefetch)
        pack = next(self._stream)
        if isinstance(pack, Exception):
            self.close()
            raise pack
        return pack


def _check_numbers(
    lanes: int, packs_per_step: int, rank: int, ranks: int, workers: int, prefetch: int | None
) -> None:
    if packs_per_step < 1 or packs_per_step % lanes:
        raise ValueError(
            f"packs_per_step is {packs_per_step}, wanted a multiple of lanes, which is {lanes}"
        )
    if not 0 <= rank < ranks:
        raise ValueError(f"rank is {rank} of {ranks}, wanted 0 <= rank < ranks")
    if workers < 0:
        raise ValueError(f"workers is {workers}, wanted at least 0")
    if prefetch is not None and prefetch < 1:
        raise ValueError(f"prefetch is {prefetch}, wanted at least 1")


def _own_states(lanes: Sequence[int], states: Mapping[int, LaneState]) -> dict[int, LaneState]:
    """The states of these lanes, or none for a fresh start."""
    given = {int(lane): state for lane, state in states.items()}
    missing = [lane for lane in lanes if given and lane not in given]
    if missing:
        raise ValueError(f"the saved state has no lanes {missing}, only {sorted(given)}")
    return {lane: given[lane] for lane in lanes if lane in given}
