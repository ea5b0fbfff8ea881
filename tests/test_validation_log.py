"""What stays of validations on disk, and the best checkpoint, whatever ends the process."""

from __future__ import annotations

import json

from mmcore.interfaces import RunInfo, ValidationReport
from mmcore.validation_log import FILE, BestKeeper, ValidationLog, best_value, keep


def told(step: int, loss: float, best: bool, stage: str = "sft") -> ValidationReport:
    return ValidationReport(stage, step, {"validation/loss": loss}, best)


def test_a_resumed_run_drops_what_it_does_again_and_a_torn_line(tmp_path) -> None:
    log = ValidationLog(tmp_path)
    for report in (told(2, 3.0, True), told(4, 4.0, False), told(6, 2.0, True)):
        log.mmcore_validated(report)
    assert best_value(tmp_path, "sft", "validation/loss") == 2.0
    with (tmp_path / FILE).open("a") as file:
        file.write('{"stage": "sf')
    log.mmcore_run_start(RunInfo("run", tmp_path, 5, ""))
    steps = [json.loads(line)["step"] for line in (tmp_path / FILE).read_text().splitlines()]
    assert steps == [2, 4]
    assert best_value(tmp_path, "sft", "validation/loss") == 3.0
    assert best_value(tmp_path, "other", "validation/loss") is None


def checkpoint(root, step: int):
    folder = root / "checkpoints" / f"step-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_text(str(step))
    return folder


def test_the_best_is_kept_when_its_checkpoint_is_complete_and_the_others_go(tmp_path) -> None:
    keeper = BestKeeper(tmp_path)
    place = tmp_path / "checkpoints" / "best-sft" / "weights"
    keeper.mmcore_validated(told(2, 3.0, True))
    assert not place.exists()
    first = checkpoint(tmp_path, 2)
    keeper.mmcore_checkpoint_saved(first, 2)
    assert place.read_text() == "2"
    assert place.stat().st_ino == (first / "weights").stat().st_ino, "linked, not copied"
    keeper.mmcore_validated(told(4, 3.5, False))
    keeper.mmcore_checkpoint_saved(checkpoint(tmp_path, 4), 4)
    for file in first.iterdir():
        file.unlink()
    assert place.read_text() == "2", "it outlives the checkpoint that it was"
    keeper.mmcore_validated(told(6, 1.0, True))
    keeper.mmcore_checkpoint_saved(checkpoint(tmp_path, 6), 6)
    assert place.read_text() == "6"


def test_what_a_killed_keeper_left_behind_is_cleared(tmp_path) -> None:
    source = checkpoint(tmp_path, 2)
    place = source.parent / "best-sft"
    (source.parent / ".writing-best-sft").mkdir()
    (source.parent / ".writing-old-best-sft").mkdir()
    keep(source, place)
    assert sorted(one.name for one in source.parent.iterdir()) == ["best-sft", "step-2"]
