"""What cells cost, and whether they are as long as one another."""

import attrs
import pytest

from mmcore.planning.planner import plan
from mmcore.recipe import RecipeError
from mmcore.sweeps.costs import Machine, costs, lengths
from mmcore.sweeps.prepared import prepare

TWO_LENGTHS = """
[match]
what = "{what}"
within = 0.02
set = {set}
[[axes]]
name = "length"
[[axes.points]]
label = "short"
set = ["stages.captions.steps=60", "stages.answers.steps=60"]
[[axes.points]]
label = "long"
set = ["data.look_ahead=16", "stages.captions.steps=90", "stages.answers.steps=90"]
[[axes.points]]
label = "wide"
set = ["model.llm.mlp_width=512", "stages.captions.steps=60", "stages.answers.steps=60"]
"""


def matched(cells, what, set_):
    file, made = cells(TWO_LENGTHS.format(what=what, set=str(set_).lower()))
    return prepare(file, made)


def test_a_cell_costs_what_the_plan_of_its_recipe_says(cells):
    _, made = cells()
    told = []
    found = costs(made, Machine(rate=1e9), told.append)
    assert told == ["queries=2,seed=1", "queries=4,seed=1"], "seeds of a point are planned once"
    for cell, cost in zip(made, found, strict=True):
        planned = plan(cell.recipe)
        assert cost.cell.id == cell.id
        assert cost.cell.flops == planned.flops
        assert cost.cell.steps == 12
        assert cost.seconds == planned.flops / 1e9
        assert cost.fits is None
    assert found[0].cell.tokens == 6 * 4 * 96 + 6 * 4 * 128


def test_a_gpu_gives_hours_and_says_whether_it_fits(cells):
    _, made = cells()
    (first, *_) = costs(made, Machine(gpu="h100-80g", mfu=0.5))
    assert first.fits
    assert first.seconds == plan(made[0].recipe, 1, "h100-80g", 0.5).seconds


def test_what_learns_in_several_stages_is_counted_once(cells):
    _, made = cells()
    cost = costs(made[:1])[0].cell
    stages = plan(made[0].recipe).stages
    assert cost.trainable == sum(part.trainable for part in stages[0].parts)
    assert cost.trainable > sum(part.trainable for part in stages[1].parts)


def test_cells_of_other_lengths_are_refused_with_their_figures(cells):
    prepared = matched(cells, "tokens", False)
    assert [one.point for one in prepared.wrong] == ["length long"]
    with pytest.raises(RecipeError) as caught:
        prepared.check_match()
    (fault,) = caught.value.faults
    assert str(fault).startswith("sweep.toml:7: match.what: cells differ: length long: ")
    assert "(+50.0%; 2.0% is allowed)" in str(fault)
    assert "set = true in [match]" in str(fault)


def test_flops_that_differ_come_with_the_tokens_that_would_match(cells):
    prepared = matched(cells, "flops", False)
    assert [one.point for one in prepared.wrong] == ["length long", "length wide"]
    wide = prepared.wrong[1]
    assert f"at {wide.tokens / wide.ratio:.4g} tokens instead of {wide.tokens:.4g}" in str(wide)
    assert wide.ratio > 1.02


@pytest.mark.parametrize("what", ["tokens", "flops"])
def test_cells_can_be_made_to_match(cells, what):
    prepared = matched(cells, what, True)
    assert prepared.wrong == ()
    prepared.check_match()
    amounts = [getattr(one.cell, what) for one in prepared.costs]
    assert max(amounts) <= 1.02 * amounts[0]
    assert min(amounts) >= 0.98 * amounts[0]
    long = prepared.costs[2].cell
    assert 'stages."captions".steps=60' in long.overrides, "said in cells.json, as all changes are"
    assert prepared.cells[2].recipe.stages[0].steps == 60


def test_lengths_of_epochs_are_not_guessed(cells):
    _, made = cells('\n[[axes]]\nname = "a"\nkey = "data.look_ahead"\nvalues = [8]\n')
    stage = attrs.evolve(made[0].recipe.stages[0], steps=None, epochs=1.0)
    with pytest.raises(ValueError, match="lasts epochs"):
        lengths([stage], 2.0)
    tokens = attrs.evolve(stage, epochs=None, tokens=1e3)
    assert lengths([tokens], 0.5) == ('stages."captions".tokens=500.0',)
