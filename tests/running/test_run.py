"""What a run does between its lives."""

from __future__ import annotations

import pytest

from mmcore.interfaces import World
from mmcore.run_folder import rollbacks
from mmcore.running import run as running
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.checkpoint_format import Manifest
from mmcore.training.progress import Progress
from mmcore.training.spikes import RollBack


@pytest.mark.parametrize(
    ("progress", "left_out"),
    [
        (None, (2, 6)),
        (Progress(stage="answers", step=10, stage_step=4), (5, 6)),
        # With weights to begin from, a stage may begin over an earlier one that is unfinished.
        (Progress(stage="captions", step=50, stage_step=50), (2, 6)),
        (Progress(stage="captions", step=50, stage_step=50, finished=True), (2, 6)),
    ],
)
def test_what_was_learned_before_the_stages_own_checkpoint_stays(
    tmp_path, monkeypatch, progress, left_out
) -> None:
    newest = progress and Checkpoint(tmp_path, progress, {}, Manifest({}, {}))
    monkeypatch.setattr(running, "newest", lambda _: newest)
    running._leave_out(tmp_path, World(), RollBack("answers", 2, 6))
    (entry,) = rollbacks.read(tmp_path)
    assert (entry.stage, entry.first, entry.last) == ("answers", *left_out)
