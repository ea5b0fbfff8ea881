"""Weights that are named are used, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmcore.recipe import load_recipe
from mmcore.run_folder.folder import ENVIRONMENT
from mmcore.running.starting import RunError, Span, check_used, checkpoint_at
from mmcore.training.progress import Progress

ANSWERS = Progress(stage_index=1, stage="answers", step=9, stage_step=3)
CAPTIONS = Progress(stage_index=0, stage="captions", step=6, stage_step=6)


def start(after_step: int, stage: str | None = None, weights: str | None = None) -> dict:
    return {"after_step": after_step, "stage": stage, "from": weights}


@pytest.fixture
def check(tmp_path, request):
    """Whether `--from` may be said where the run was started like this and came so far."""
    recipe = load_recipe(request.config.rootpath / "tests/end_to_end/mini.toml")

    def check(
        *starts: dict, done: Progress | None, first: int | None = 1, path: str = "/x"
    ) -> None:
        if starts:
            (tmp_path / ENVIRONMENT).write_text(json.dumps(starts))
        check_used(tmp_path, recipe, Span(first, 1, Path("/x")), done)

    return check


@pytest.mark.parametrize(
    "starts",
    [
        [start(6, "answers", "/x")],
        [start(0, "captions", "/z"), start(6, "answers", "/y/../x"), start(8)],
        [start(6, "answers", "/y"), start(6, "answers", "/x")],  # the first was killed early
        [],  # moved aside, since it was damaged
        [start(8)],  # and made anew
    ],
)
def test_what_a_stage_began_from_may_be_said_again(check, starts):
    check(*starts, done=ANSWERS)


@pytest.mark.parametrize(
    ("starts", "source"),
    [
        ([start(0)], "the stage before it"),
        ([start(0, "captions", "/x")], "the stage before it"),
        ([start(6, "answers", "/y"), start(8)], "/y"),
        ([start(6, "answers", "/x"), start(6)], "the stage before it"),
        ([start(0), start(6, "answers", "/x"), start(6, "answers", "/y")], "/y"),
    ],
)
def test_what_would_not_be_used_is_refused_with_what_was(check, starts, source):
    with pytest.raises(RunError, match=f"--from /x would not be used.*begun, from {source}; leave"):
        check(*starts, done=ANSWERS)


def test_a_stage_that_has_not_begun_takes_what_is_named(check):
    for done in (None, CAPTIONS):
        check(start(0), done=done)


def test_of_a_run_that_began_with_weights_they_may_be_said_in_every_stage(check):
    check(start(0, "captions", "/x"), start(7), done=ANSWERS, first=0)
    with pytest.raises(RunError, match="begun, from what the recipe says"):
        check(start(0), start(7), done=ANSWERS, first=0)


def test_a_file_is_nothing_to_begin_from(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("")
    with pytest.raises(RunError, match="wanted a run folder with a checkpoint"):
        checkpoint_at(path)
