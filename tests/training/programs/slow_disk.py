"""A program of one of two ranks that save: rank 0 has a disk slower than the watchdog allows."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from mmcore.interfaces import ParameterState, World
from mmcore.training import checkpoint_write
from mmcore.training.checkpoint_write import Keeping
from mmcore.training.progress import Progress
from mmcore.training.ranks import distributed
from mmcore.training.saving import Saver
from mmcore.training.stalls import note, watched

ALLOWED, SLOW = 1.0, 4.0
"""Seconds."""


class Weights:
    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        yield ParameterState(f"layer.{rank}", torch.ones(3), {}, 1)


def make_slow(world: World) -> None:
    usual = checkpoint_write.write_file

    def write(path: Path, content):
        if world.is_main and path.suffix == ".safetensors":
            time.sleep(SLOW)
        return usual(path, content)

    checkpoint_write.write_file = write


def copied(world: World) -> None:
    """What is told of a checkpoint may copy it, on rank 0."""
    if world.is_main:
        time.sleep(SLOW)


def main(root: Path, background: bool) -> None:
    with distributed() as world:
        make_slow(world)
        saver = Saver(
            root / "checkpoints",
            engine=Weights(),
            lanes=lambda: {world.rank: {}},
            world=world,
            keeping=Keeping(last=2),
            keep_stages=False,
            background=background,
            loras={},
            saved=lambda path, step: copied(world),
        )
        with watched(root, world, stage="sft", seconds=ALLOWED, holds=str):
            note("waiting for data", 1)
            note("waiting for data", 2)  # the first step has more time
            saver.save(Progress(step=2))
            saver.look(wait=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "background")
