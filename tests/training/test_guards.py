"""A run that diverges, or whose data is unusable, stops with an error that names what it met."""

from __future__ import annotations

import pytest
import torch

from mmcore.training.guards import (
    DivergedError,
    OutOfMemoryError,
    TooManyRejectedError,
    check_finite,
    check_rejected,
    memory_told,
)
from mmcore.training.progress import Progress


def test_some_steps_without_a_finite_gradient_are_borne() -> None:
    check_finite(Progress(skipped_in_a_row=2), 3, ["a"])
    with pytest.raises(DivergedError, match=r"3 steps in a row.*step 7 .*'sft'.*k0, .*k7, \.\.\."):
        check_finite(
            Progress(stage="sft", step=7, skipped_in_a_row=3), 3, [f"k{i}" for i in range(9)]
        )


def test_rejected_rows_are_borne_up_to_their_share() -> None:
    counts = {"drawn/a": 300, "drawn/b": 100, "rejected/image-missing": 20}
    check_rejected(Progress(counts=counts), 0.05)
    with pytest.raises(TooManyRejectedError, match=r"21 of 400 .*image-missing 21"):
        check_rejected(Progress(counts=counts | {"rejected/image-missing": 21}), 0.05)


def test_a_share_of_a_few_rows_means_nothing() -> None:
    check_rejected(Progress(counts={"drawn/a": 9, "rejected/x": 9}), 0.05)


def test_a_full_device_is_told_with_the_pack(pack) -> None:
    batch = pack(1)
    with (
        pytest.raises(OutOfMemoryError, match=rf"step 4: a pack of {len(batch.input_ids_T)} tok"),
        memory_told(batch, 4),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory")
