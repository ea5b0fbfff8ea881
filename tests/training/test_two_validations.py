"""Two real processes: losses by source and validations are those of all packs, and none waits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "programs" / "two_validations.py"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, on_two_ranks) -> dict:
    root = tmp_path_factory.mktemp("validations")
    on_two_ranks(PROGRAM, root)
    return json.loads((root / "outcome.json").read_text())


def test_losses_by_source_are_over_the_packs_of_both(outcome) -> None:
    for values in outcome["steps"]:
        assert values["loss_by_source/a"] == 2.0
        assert values["loss_by_source/b"] == 25.0
        assert values["loss"] == pytest.approx(104 / 6)
        assert "loss_by_source/c" not in values


def test_a_validation_is_over_the_rows_of_both_and_leaves_no_trace_in_the_steps(outcome) -> None:
    assert len(outcome["validations"]) == 2
    for values in outcome["validations"]:
        assert values["validation/loss_by_source/a"] == 4.0
        assert values["validation/loss_by_source/b"] == 7.0
        assert values["validation/loss"] == pytest.approx(26 / 5)
        assert values["validation/labels"] == 5


def test_both_enter_the_model_equally_often(outcome) -> None:
    assert outcome["counts"] == [[4, 6], [4, 6]]
