"""Counters add up, survive JSON, and say when a budget is spent."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.training.progress import Budget, Progress

STEPS = st.lists(
    st.tuples(
        st.integers(0, 5000),
        st.dictionaries(st.sampled_from(["samples", "drawn/a", "rejected/x"]), st.integers(0, 9)),
        st.booleans(),
    ),
    max_size=8,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_counters_add_up_and_survive_json(steps) -> None:
    progress = Progress(stage="base", step=3, tokens=70)
    for tokens, counts, finite in steps:
        progress = progress.after_step(tokens=tokens, counts=counts, finite=finite)
    assert progress.step == 3 + len(steps)
    assert progress.tokens == 70 + sum(tokens for tokens, _, _ in steps)
    assert progress.samples == sum(counts.get("samples", 0) for _, counts, _ in steps)
    assert progress.counts.get("drawn/a", 0) == sum(c.get("drawn/a", 0) for _, c, _ in steps)
    assert progress.skipped == sum(not finite for _, _, finite in steps)
    assert Progress.from_json(json.loads(json.dumps(progress.to_json()))) == progress


def test_the_next_stage_starts_from_zero_and_the_run_goes_on() -> None:
    progress = Progress(stage="base").after_step(tokens=5, counts={"samples": 2}, finite=False)
    following = progress.in_stage(1, "sft")
    assert (following.step, following.tokens, following.samples) == (1, 5, 2)
    assert (following.stage_step, following.stage_tokens, following.skipped) == (0, 0, 0)
    assert following.counts == {}


@pytest.mark.parametrize(
    ("change", "named"),
    [({"step": "3"}, "step is '3'"), ({"stp": 1}, "stp"), ({"counts": None}, "counts is None")],
)
def test_a_damaged_progress_is_refused(change, named) -> None:
    with pytest.raises(ValueError, match=named):
        Progress.from_json({**Progress().to_json(), **change})


def test_a_budget_is_spent_in_its_own_measure() -> None:
    progress = Progress(stage_step=3, stage_tokens=50, counts={"drawn/a": 30, "drawn/b": 10})
    assert Budget(steps=6).spent(progress) == 0.5
    assert Budget(tokens=200).spent(progress) == 0.25
    assert Budget(epochs=2, rows={"a": 10, "b": 10, "empty": 0}).spent(progress) == 0.5


@pytest.mark.parametrize(
    "given", [{}, {"steps": 1, "tokens": 1}, {"steps": 0}, {"epochs": 1}, {"tokens": -1.0}]
)
def test_a_budget_is_exactly_one_positive_measure(given) -> None:
    with pytest.raises(ValueError, match="budget"):
        Budget(**given)


def test_a_stage_is_told_for_people() -> None:
    counts = {"samples": 1203, "samples/a": 1000, "samples/b": 203, "drawn/a": 1001, "split": 3}
    counts |= {"shrunk": 0, "rejected": 1, "rejected/image-missing": 1}
    progress = Progress(stage_step=40, stage_tokens=50_000, counts=counts, skipped=2)
    assert progress.lines() == [
        "trained on 1,203 samples and 50,000 tokens in 40 steps",
        "samples: a 1,000, b 203",
        "made to fit: split 3",
        "rejected: image-missing 1",
        "skipped steps, for the gradient was not finite: 2",
    ]
