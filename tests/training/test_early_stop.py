"""A stage ends early at the same step, however often the run was interrupted."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.interfaces import World
from mmcore.training.early_stop import EarlyStop, MissingMeasureError
from mmcore.training.hooks import Hooks
from mmcore.training.loop import train_stage
from mmcore.training.progress import Progress

START = Progress(stage="toy")


def after(stop: EarlyStop, values: Sequence[Mapping[str, float]], start=START) -> int | None:
    """The number of the measurement that ends the stage."""
    progress = start
    for number, one in enumerate(values, start=1):
        progress = stop.heard(progress, one)
        if stop.over(progress):
            return number
    return None


def test_patience_counts_measurements_without_a_better_one():
    losses = [{"loss": one} for one in (3.0, 2.0, 2.5, 1.9, 2.0, 2.0, 1.9, 1.0)]
    assert after(EarlyStop(measure="loss", patience=3), losses) == 7
    assert after(EarlyStop(measure="loss", patience=4), losses) is None
    assert after(EarlyStop(measure="loss", patience=2, min_delta=0.2), losses) == 4


def test_of_a_score_more_is_better_and_steps_in_between_do_not_count():
    scores = [{"validation/loss": 1.0, "validation/reading": one} for one in (0.1, 0.3, 0.3, 0.2)]
    between = [each for one in scores for each in ({"loss": 5.0}, one, {"loss": 4.0})]
    assert after(EarlyStop(measure="score/reading", patience=2), between) == 11
    assert after(EarlyStop(measure="validation/loss", patience=1), between) == 5


def test_what_is_not_finite_is_no_better():
    losses = [{"loss": one} for one in (math.nan, math.nan, 3.0, math.nan, math.inf)]
    assert after(EarlyStop(measure="loss", patience=2), losses) == 2
    assert after(EarlyStop(measure="loss", patience=2), losses[1:]) == 4
    # Of a loss, minus infinity would be the best for ever; the first value would be in any case.
    for measure in ("loss", "score/reading"):
        name = measure.replace("score", "validation")
        for never in (math.inf, -math.inf):
            values = [{name: one} for one in (never, 3.0, never)]
            progress = START
            for one in values:
                progress = EarlyStop(measure=measure, patience=9).heard(progress, one)
            assert progress.watched == {"best": 3.0, "since": 1.0, "seen": 3.0}


def test_what_it_could_not_beat_is_told():
    stop, progress = EarlyStop(measure="score/reading", patience=1), START
    for score in (0.25, 0.25):
        progress = stop.heard(progress, {"validation/reading": score})
    told = "score/reading has not risen above 0.25 in 1 measurement"
    assert stop.told(progress) == f"stopped early: {told}"
    never = EarlyStop(measure="loss", patience=1)
    told = never.told(never.heard(START, {"loss": math.nan}))
    assert told == "stopped early: loss was not finite in 1 measurement"


def test_a_measure_that_is_not_there_when_it_should_be_is_an_error():
    step, validation = {"loss": 1.0}, {"validation/loss": 1.0}
    with pytest.raises(MissingMeasureError, match=r"'perplexity', which is not measured.*: loss"):
        EarlyStop(measure="perplexity", patience=1).heard(START, step)
    watching = EarlyStop(measure="score/reading", patience=1)
    assert watching.heard(START, step) == START
    with pytest.raises(MissingMeasureError, match=r"'score/reading'.*validation/loss"):
        watching.heard(START, validation)
    with pytest.raises(MissingMeasureError, match=r"stage 'toy' came to its end"):
        watching.check_seen(START)


@given(
    losses=st.lists(st.floats(0, 3, allow_nan=False).map(lambda x: round(x, 1)), max_size=30),
    cut=st.integers(0, 30),
    patience=st.integers(1, 5),
)
def test_an_interruption_changes_nothing(losses, cut, patience):
    stop, values = EarlyStop(measure="loss", patience=patience), [{"loss": x} for x in losses]
    progress = START
    for one in values[:cut]:
        progress = stop.heard(progress, one)
    whole = after(stop, values)
    if whole is None or whole > cut:
        again = Progress.from_json(progress.to_json())
        rest = after(stop, values[cut:], again)
        assert (None if rest is None else rest + cut) == whole


def test_a_stage_ends_early_is_finished_and_says_why(stage_run):
    saved: list[Progress] = []

    def save(now):
        saved.append(now)
        return "nowhere"

    stop = EarlyStop(measure="loss", patience=2, min_delta=100.0)
    run = stage_run(steps=50, early_stop=stop)
    done = train_stage(
        run, START, world=World(), hooks=Hooks([], World()), save=save, every_steps=1,
        stop=lambda: False,
    )  # fmt: skip
    assert (done.step, done.finished) == (3, True)
    assert [one.step for one in saved] == [1, 2, 3]
    assert saved[-1] == done
    assert done.ended_early in done.lines()
    assert re.fullmatch(
        r"stopped early: loss has not fallen more than 100 below [\d.]+ in 2 measurements",
        done.ended_early,
    )
    assert done.in_stage(1, "next") == attrs.evolve(
        Progress(stage_index=1, stage="next"), step=3, tokens=done.tokens, samples=done.samples
    )
