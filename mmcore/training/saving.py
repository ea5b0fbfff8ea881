"""Save while training goes on: copied to host memory at once, written by a thread.

At most one checkpoint is in flight. The ranks tell one another after every step whether their
threads are done; when all are, rank 0 completes the checkpoint in one rename. So a run that is
killed while it saves has the checkpoint before, whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from mmcore.interfaces import Engine, Lora, World
from mmcore.training.checkpoint_write import (
    Header,
    Keeping,
    Share,
    Written,
    begin,
    complete,
    remove,
    save,
)
from mmcore.training.progress import Progress
from mmcore.training.ranks import barrier, gather_floats, gather_objects
from mmcore.training.stalls import note, patient


class Saver:
    """Saves a stage's progress, in the background or before training goes on.

    All methods are called by all ranks together.

    Args:
        root: the folder of checkpoints.
        engine: whose parameters are saved.
        lanes: asked for the place in the data of this rank's lanes.
        keeping: which checkpoints stay.
        keep_stages: whether the last one of a stage stays for good.
        background: whether training goes on while it is written. The rank's share, weights and
            moments, is in host memory until then.
        loras: the adapters that are among the engine's parameters, by part.
        saved: told every complete checkpoint, and its step.
    """

    def __init__(
        self,
        root: Path,
        *,
        engine: Engine,
        lanes: Callable[[], Mapping[int, object]],
        world: World,
        keeping: Keeping,
        keep_stages: bool,
        background: bool,
        loras: Mapping[str, Lora],
        saved: Callable[[Path, int], None],
    ) -> None:
        self._root, self._engine, self._lanes, self._world = root, engine, lanes, world
        self._keeping, self._keep_stages, self._background = keeping, keep_stages, background
        self._loras = loras
        self._saved = saved
        self._flight: _Flight | None = None
        self._removal: threading.Thread | None = None

    def save(self, progress: Progress) -> None:
        """Save, or begin to. A checkpoint that is in flight is waited for first.

        Raises:
            CheckpointError: this one or the one in flight could not be written.
        """
        with patient("saving"):
            self.look(wait=True)
            header = Header(
                progress=progress,
                pinned=progress.finished and self._keep_stages,
                loras=self._loras,
            )
            if self._background:
                self._begin(header)
            else:
                self._save(header)

    def _begin(self, header: Header) -> None:
        writing = begin(self._root, header.progress.step, self._world)
        share = Share(writing, self._world.rank)
        for state in self._engine.parameter_states(self._world.rank, self._world.size):
            note(f"saving: copying {state.name}")
            share.add(state)
        self._flight = _Flight(writing, share, header, dict(self._lanes()))

    def _save(self, header: Header) -> None:
        path = save(
            self._root,
            engine=self._engine,
            header=header,
            lanes=self._lanes(),
            world=self._world,
            keeping=self._keeping,
        )
        self._tell(path, header)

    def look(self, wait: bool = False) -> None:
        """Complete the checkpoint that is in flight, if all ranks have written their shares.

        Args:
            wait: until they have, and until old checkpoints are deleted.

        Raises:
            CheckpointError: on every rank, where one of them could not write.
        """
        if self._flight is not None:
            with patient("waiting for a checkpoint to be written"):
                if wait:
                    self._flight.thread.join()
                if wait or self._all_written():
                    self._complete(gather_objects(self._flight.written()))
        if wait and self._removal is not None:
            with patient("waiting for an old checkpoint to be deleted"):
                self._removal.join()
            self._removal = None

    def _all_written(self) -> bool:
        """A number of every rank, after every step: their tables of tensors are told once."""
        assert self._flight is not None
        return all(done for (done,) in gather_floats([not self._flight.thread.is_alive()]))

    def _complete(self, everyone: Sequence[Written]) -> None:
        flight, self._flight = self._flight, None
        assert flight is not None
        path, doomed = complete(
            self._root, flight.writing, everyone, flight.header, self._world, self._keeping
        )
        self._removal = _started(lambda: remove(doomed), "removing checkpoints")
        self._tell(path, flight.header)

    def _tell(self, path: Path, header: Header) -> None:
        """What listens may copy the checkpoint, on one rank: the others wait here, not in the next
        step, where it would be taken for a stall."""
        self._saved(path, header.progress.step)
        barrier()


@attrs.define
class _Flight:
    """A checkpoint while it is written."""

    writing: Path
    share: Share
    header: Header
    lanes: Mapping[int, object]
    thread: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.thread = _started(self.share.write, "writing a checkpoint")

    def written(self) -> Written:
        """What this rank wrote; it is not at it any more."""
        return self.share.written(self.lanes)


def _started(action: Callable[[], None], name: str) -> threading.Thread:
    # A daemon: a run that fails for another reason does not wait for the disk.
    thread = threading.Thread(target=action, name=name, daemon=True)
    thread.start()
    return thread
