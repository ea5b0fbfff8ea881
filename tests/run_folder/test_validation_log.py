"""What stays of validations on disk, whatever ends the process."""

from __future__ import annotations

from mmcore.interfaces import RunInfo, ValidationReport
from mmcore.run_folder.validation_log import FILE, ValidationLog, best_value, read


def told(step: int, loss: float, best: bool, stage: str = "sft") -> ValidationReport:
    return ValidationReport(stage, step, {"validation/loss": loss}, best)


def test_a_resumed_run_drops_what_it_does_again_and_a_torn_line(tmp_path) -> None:
    log = ValidationLog(tmp_path)
    for report in (told(2, 3.0, True), told(4, 4.0, False), told(6, 2.0, True)):
        log.mmcore_validated(report)
    assert best_value(tmp_path, "sft", "validation/loss") == 2.0
    with (tmp_path / FILE).open("ab") as file:
        file.write('{"stage": "é'.encode()[:-1])
    log.mmcore_run_start(RunInfo("run", tmp_path, 5, ""))
    assert [line["step"] for line in read(tmp_path)] == [2, 4]
    assert (tmp_path / FILE).read_text().endswith("\n")
    assert best_value(tmp_path, "sft", "validation/loss") == 3.0
    assert best_value(tmp_path, "other", "validation/loss") is None
