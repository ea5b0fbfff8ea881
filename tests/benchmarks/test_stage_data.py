"""What is measured of a stage's data is true of it; how fast it was is not asked here."""

import json

import pytest
from click.testing import CliRunner

from mmcore import assemble
from mmcore.benchmarks.stage_data import measure_stage_data
from mmcore.benchmarks.streams import measure_resume, with_lanes
from mmcore.cli.main import main
from mmcore.data.rounds import LaneSet
from mmcore.inspection.stages import looked_at
from mmcore.recipe import load_recipe
from mmcore.running.making_up import make_up

RECIPE = "recipes/blip3_4b.toml"


@pytest.fixture(scope="module")
def stage(request):
    """A stage of the 4B recipe on made-up rows, in four lanes, and how it is read."""
    recipe = load_recipe(
        request.config.rootpath / RECIPE,
        ["data.lanes=4", "stages.*.batch.packs_per_step=4", "stages.*.batch.max_tokens=2048"],
    )
    with looked_at(recipe, stage="sft-single", made_up=16) as look:
        make_up([spec for data in look.stages for _, spec in data.sources])
        [data] = look.stages
        yield data, recipe.data


def test_figures_are_those_of_the_packs(stage):
    data, table = stage
    told = []
    found = measure_stage_data(data, table, packs=8, repeats=2, rows=50, on_rows=told.append)
    assert (found.one.lanes, found.all.lanes) == (1, 4)
    for rate in (found.one, found.all):
        assert rate.packs == 8
        assert rate.samples >= rate.packs
        assert rate.token_fill == rate.tokens / (8 * data.preparer.max_tokens) <= 1
        assert rate.view_fill == rate.views / (8 * data.preparer.max_views) <= 1
    assert found.share_error < 0.1
    assert {place: len(taken) for place, taken in found.resume_seconds.items()} == {
        10: 2,
        10_000_000: 2,
    }
    assert found.memory[0].rows == 0
    assert found.memory[-1].rows == sum(told) >= 50
    assert all(point.resident > 10**8 for point in found.memory), "torch alone takes more"
    assert found.lanes_ratio > 0


def test_a_lane_far_behind_goes_on_with_rows_of_its_own(stage):
    data, table = stage
    settings = assemble.lane_settings(table, data.preparer, data.seed)
    lanes = with_lanes(LaneSet(range(4), data.sources, settings, {}), 2)
    assert (lanes.settings.lanes, list(lanes.lanes)) == (2, [0, 1])
    [near, far] = measure_resume(lanes, (0, 10**9), repeats=1)
    assert len(near) == len(far) == 1


def test_the_verb_tells_it_in_lines_and_in_json(request):
    def mmcore(*words):
        return CliRunner().invoke(main, list(words), catch_exceptions=False)

    words = ["bench", "data", request.config.rootpath / RECIPE, "--made-up", "--stage", "sft-multi"]
    words += ["--set", "data.lanes=2", "--set", "stages.*.batch.packs_per_step=2"]
    words += ["--packs", "2", "--rows", "20", "--repeats", "1", "--size", "64x48"]
    done = mmcore(*map(str, words))
    assert done.exit_code == 0, done.stderr
    assert "pictures, tiler single, as in pretrain-base" in done.stdout
    assert "packs of stage sft-multi, 4 sources, one thread" in done.stdout
    assert "points off" in done.stdout
    found = json.loads(mmcore(*map(str, words), "--only", "packs", "--json").stdout)
    assert found["pictures"] == []
    [stage] = found["stages"]
    assert stage["all"]["lanes"] == 2
    assert set(stage["resume_seconds"]) == {"10", "10000000"}
