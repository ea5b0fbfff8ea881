"""A rehearsal is the same recipe, small: what it changes, what it keeps, what it deletes."""

import json
from pathlib import Path

import attrs
import pytest

from mmcore.recipe import load_recipe
from mmcore.run_folder.folder import RunFolderError
from mmcore.running.rehearsal import (
    MARKER,
    ROWS,
    STEPS,
    THIN_TOKENS,
    UnreadSourceError,
    check_sources,
    cleared,
    rehearsal_of,
    with_sdpa,
)
from mmcore.training.progress import Progress

TINY = Path(__file__).parents[2] / "recipes" / "blip3_tiny.toml"


@pytest.fixture(scope="module")
def recipe():
    return load_recipe(TINY)


def test_every_stage_keeps_its_parts_its_sources_and_its_tiler(recipe) -> None:
    small = rehearsal_of(recipe).recipe
    assert small.name == "blip3-tiny-rehearsal"
    assert small.model.llm == recipe.model.llm.tiny()
    for before, after in zip(recipe.stages, small.stages, strict=True):
        assert after.steps == STEPS + len(before.data)
        assert after.tokens is None
        for key in ("name", "train", "tiler", "objectives", "optimizer", "fit"):
            assert getattr(after, key) == getattr(before, key)
        assert [type(one) for one in after.data] == [type(one) for one in before.data]
        assert {one.share for one in after.data} == {1.0}
        assert all(one.synthetic.rows <= ROWS for one in after.data)
    assert small.engine == recipe.engine


def test_it_encodes_its_own_pictures_and_says_so(recipe) -> None:
    kept = [f"stages.{one.name}.data.*.features=cache/{one.name}" for one in recipe.stages]
    rehearsal = rehearsal_of(load_recipe(TINY, ['stages.*.train=["token_sampler"]', *kept]))
    sources = [source for stage in rehearsal.recipe.stages for source in stage.data]
    assert {source.features for source in sources} == {None}
    assert "features: not read; pictures are encoded" in rehearsal.changes


def test_no_two_sources_share_a_folder_and_none_is_the_real_one(recipe) -> None:
    small = rehearsal_of(recipe, root=Path("runs")).recipe
    sources = [source for stage in small.stages for source in stage.data]
    sources += [task.data for task in small.evaluations]
    folders = [source.folder for source in sources]
    assert len(set(folders)) == len(folders)
    below = Path("runs/blip3-tiny-rehearsal/data")
    assert all(folder.is_relative_to(below) for folder in folders)


def test_it_is_stopped_once_within_the_last_stage(recipe) -> None:
    rehearsal = rehearsal_of(recipe)
    *earlier, last = (stage.steps for stage in rehearsal.recipe.stages)
    assert sum(earlier) < rehearsal.interrupted_after < sum(earlier) + last


def test_one_lane_and_one_pack_for_every_process(recipe) -> None:
    small = rehearsal_of(recipe, processes=3).recipe
    assert small.data.lanes == 3
    assert {stage.batch.packs_per_step for stage in small.stages} == {3}


def test_thin_keeps_the_widths_and_makes_one_step(recipe) -> None:
    rehearsal = rehearsal_of(recipe, thin=True)
    small = rehearsal.recipe
    assert small.model.llm == recipe.model.llm.thin()
    assert small.model.llm.width == recipe.model.llm.width
    assert {stage.steps for stage in small.stages} == {1}
    assert all(stage.batch.max_tokens <= THIN_TOKENS for stage in small.stages)
    assert rehearsal.interrupted_after == 0


def test_xformers_is_replaced_and_the_replacement_said(recipe) -> None:
    assert with_sdpa(rehearsal_of(recipe)) == rehearsal_of(recipe)  # it says sdpa itself
    wanted = attrs.evolve(recipe, model=attrs.evolve(recipe.model, attention="xformers"))
    replaced = with_sdpa(rehearsal_of(wanted))
    assert replaced.recipe.model.attention == "sdpa"
    assert replaced.changes[-1] == "attention: xformers -> sdpa, for there is no CUDA here"


def test_an_earlier_rehearsal_is_deleted_and_nothing_else_ever(tmp_path) -> None:
    folder = tmp_path / "demo-rehearsal"
    with cleared(folder):
        (folder / "data").mkdir()
        (folder / "data" / "rows").touch()
        (folder / "metrics.jsonl").touch()
        with pytest.raises(RunFolderError, match="is in use by process"), cleared(folder):
            pass
        assert (folder / "data" / "rows").exists()
    with cleared(folder):
        assert [path.name for path in folder.iterdir()] == [MARKER]

    (folder / MARKER).unlink()
    (folder / "metrics.jsonl").touch()
    with pytest.raises(RunFolderError, match="was not made by a rehearsal"), cleared(folder):
        pass
    assert (folder / "metrics.jsonl").exists()


def test_a_source_of_which_nothing_was_trained_on_is_named(recipe, tmp_path) -> None:
    rehearsal = rehearsal_of(recipe)
    for stage in recipe.stages:
        counts = {"samples/blip3-ocr": 3, "samples/blip3-ocr#2": 1, "samples/llava-json": 2}
        counts |= {"samples/llava-json#3": 1, "drawn/llava-json#2": 5}
        progress = Progress(stage=stage.name, counts=counts)
        (tmp_path / f"stage-{stage.name}.json").write_text(json.dumps(progress.to_json()))
    with pytest.raises(UnreadSourceError) as caught:
        check_sources(rehearsal, tmp_path)
    said = str(caught.value)
    assert "llava-json#2 in stage 'sft-single', llava-json#2 in stage 'sft-multi'" in said
