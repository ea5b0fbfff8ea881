"""When a run must not go on: a loss that diverges, data that cannot be used, a full device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from mmcore.interfaces import PackedBatch
from mmcore.training.progress import DRAWN, REJECTED, Progress

SHOWN_KEYS = 8


class DivergedError(RuntimeError):
    """Loss or gradient was not finite for several steps in a row."""


class TooManyRejectedError(RuntimeError):
    """More rows than allowed could not be used."""


class OutOfMemoryError(RuntimeError):
    """A pack did not fit the device."""


def check_finite(progress: Progress, limit: int, keys: Sequence[str]) -> None:
    """Stop after ``limit`` steps in a row whose loss or gradient was not finite.

    Args:
        keys: the samples of the latest step.

    Raises:
        DivergedError: with the step and the samples.
    """
    if progress.skipped_in_a_row < limit:
        return
    listing = ", ".join(keys[:SHOWN_KEYS]) + (", ..." if len(keys) > SHOWN_KEYS else "")
    raise DivergedError(
        f"loss or gradient was not finite in {progress.skipped_in_a_row} steps in a row, up to "
        f"step {progress.step} (step {progress.stage_step} of stage {progress.stage!r}); nothing "
        f"was learned from them. Look at these samples: {listing}. Or begin anew with a lower "
        "optimizer.lr: under another name (--set name=...), with --from a checkpoint of before, if "
        "any is good"
    )


def check_rejected(progress: Progress, share: float, *, at_least: int = 200) -> None:
    """Stop when more than ``share`` of the stage's rows were rejected.

    Args:
        at_least: rows that must have been read before a share means anything.

    Raises:
        TooManyRejectedError: with the counts by reason.
    """
    reasons = {
        name.removeprefix(REJECTED): count
        for name, count in progress.counts.items()
        if name.startswith(REJECTED)
    }
    rejected = sum(reasons.values())
    drawn = sum(count for name, count in progress.counts.items() if name.startswith(DRAWN))
    if drawn < at_least or rejected <= share * drawn:
        return
    listing = ", ".join(f"{reason} {count}" for reason, count in reasons.items())
    raise TooManyRejectedError(
        f"{rejected} of {drawn} rows of stage {progress.stage!r} were rejected ({listing}), and "
        f"data.max_rejected_share is {share}; rejected.jsonl names every row"
    )


@contextmanager
def memory_told(batch: PackedBatch, step: int) -> Iterator[None]:
    """Turn the device's bare out-of-memory error into one that says which pack, and what helps.

    Raises:
        OutOfMemoryError: with the size of the pack.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_memory(error):
            raise
        named = ", ".join(str(segment.key) for segment in batch.segments[:SHOWN_KEYS])
        raise OutOfMemoryError(
            f"step {step}: a pack of {len(batch.input_ids_T)} tokens and "
            f"{batch.views} views does not fit the device; lower batch.max_tokens or "
            f"batch.max_views, or share out more with engine.zero. Its samples: {named} ({error})"
        ) from error


@contextmanager
def update_told(step: int) -> Iterator[None]:
    """The same for the optimizer's update, which no pack is to blame for.

    Raises:
        OutOfMemoryError: with what helps.
    """
    try:
        yield
    except RuntimeError as error:
        if not _is_memory(error):
            raise
        raise OutOfMemoryError(
            f"step {step}: the optimizer's update does not fit the device; share out more with "
            "engine.zero, keep its moments in host memory with engine.offload, or lower "
            f"batch.max_tokens or batch.max_views, whose memory is kept aside ({error})"
        ) from error


def _is_memory(error: RuntimeError) -> bool:
    """Whether an allocator failed: the one of the host has no class of error of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
