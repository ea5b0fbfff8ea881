"""Which stage had which steps of a run, by what its folder says of starts and ends."""

from __future__ import annotations

import json

import attrs
import pytest

from mmcore.run_folder.history import NEVER, RunHistory
from mmcore.training.progress import Progress

NAMES = ("captions", "answers", "choices")


@attrs.frozen
class Stage:
    name: str


@attrs.frozen
class Recipe:
    stages: tuple[Stage, ...] = tuple(map(Stage, NAMES))


@pytest.fixture
def owners(tmp_path):
    """``owners(starts, ends)``: the stages by name with their steps, and what they began from."""

    def owners(starts, ends, **options):
        told = [
            {
                "started": f"2026-01-01T00:00:0{number}+0000", "ranks": number + 1,
                "after_step": after, "stage": stage, "from": f"/{stage}" if stage else None,
            }
            for number, (after, stage) in enumerate(starts)
        ]  # fmt: skip
        (tmp_path / "environment.json").write_text(json.dumps(told))
        for name, step in ends.items():
            table = Progress(stage=name, step=step, finished=True).to_json()
            (tmp_path / f"stage-{name}.json").write_text(json.dumps(table))
        history = RunHistory(tmp_path, Recipe(), **options)
        found = [
            (one.name, one.begins, one.ends, one.weights and str(one.weights))
            for one in history.stretches
        ]
        for name, begins, ends_at, _ in found:
            assert NAMES[history.owner(begins + 1).stage] == name
            assert ends_at == NEVER or history.owner(ends_at).name == name
        return found, history

    return owners


@pytest.mark.parametrize(
    ("starts", "ends", "wanted"),
    [
        ([], {}, [("captions", 0, NEVER, None)]),
        (
            [(0, None), (4, None)],
            {"captions": 6},
            [("captions", 0, 6, None), ("answers", 6, NEVER, None)],
        ),
        (  # left before its end
            [(0, None), (3, "answers")],
            {},
            [("captions", 0, 3, None), ("answers", 3, NEVER, "/answers")],
        ),
        (  # one is skipped
            [(0, None), (6, "choices")],
            {"captions": 6, "choices": 9},
            [("captions", 0, 6, None), ("choices", 6, 9, "/choices")],
        ),
        (  # killed before its first checkpoint, and not begun again
            [(0, None), (3, "answers"), (3, None)],
            {"captions": 6},
            [("captions", 0, 6, None), ("answers", 6, NEVER, None)],
        ),
        (
            [(0, "answers"), (0, "answers"), (2, None)],
            {"answers": 5},
            [("answers", 0, 5, "/answers"), ("choices", 5, NEVER, None)],
        ),
    ],
)
def test_every_step_has_its_stage(owners, starts, ends, wanted):
    assert owners(starts, ends)[0] == wanted


def test_after_the_last_stage_there_is_none(owners):
    _, history = owners([(0, None)], {"captions": 2, "answers": 4, "choices": 6})
    assert history.owner(7) is None


def test_ranks_are_those_of_the_start_that_made_the_step(owners):
    _, history = owners([(0, None), (4, None), (4, None)], {})
    assert [history.ranks(step) for step in (1, 4, 5)] == [1, 1, 3]


def test_before_the_run_went_back_nothing_later_had_been(owners):
    starts, ends = [(0, None), (3, None), (5, "choices")], {"captions": 2, "answers": 5}
    then = {"until": "2026-01-01T00:00:01+0000", "within": "answers"}
    found, history = owners(starts, ends, **then)
    assert found == [("captions", 0, 2, None), ("answers", 2, NEVER, None)]
    assert history.ranks(9) == 2
