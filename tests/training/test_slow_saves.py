"""Two real processes: one with a slow disk ends neither itself nor the one that waits for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmcore.training import checkpoint

PROGRAM = Path(__file__).parent / "programs" / "slow_disk.py"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["background", "before-going-on"])
def test_a_slow_save_is_no_stall_of_any_rank(tmp_path, how, on_two_ranks) -> None:
    on_two_ranks(PROGRAM, tmp_path, how)
    found = checkpoint.load(checkpoint.latest(tmp_path / "checkpoints"))
    found.verify()
    assert [state.name for state in found.states()] == ["layer.0", "layer.1"]
    assert not (tmp_path / "stalls").exists()
