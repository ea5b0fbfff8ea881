"""Cells: which there are, what each changes, and what they are called."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmcore.recipe import RecipeError
from mmcore.sweeps.cells import LONGEST, cell_id, points
from mmcore.sweeps.load import load_sweep
from mmcore.sweeps.recipes import load_cells
from mmcore.sweeps.schema import AxisTable
from mmcore.sweeps.toml_text import toml_text

TWO_AXES = """
set = ["stages.captions.steps=2"]
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [2, 4]
[[axes]]
name = "rates"
[[axes.points]]
label = "low"
set = ["stages.captions.optimizer.lr=1e-5", "stages.answers.optimizer.lr=1e-5"]
[[axes.points]]
label = "as it is"
set = []
"""


def test_a_grid_has_every_point_with_every_other_and_every_seed(cells):
    _, made = cells(TWO_AXES, "stages.answers.steps=1")
    assert len(made) == 8
    assert [cell.id for cell in made[:4]] == [
        "queries=2,rates=low,seed=1",
        "queries=2,rates=low,seed=2",
        cell_id([("queries", "2"), ("rates", "as it is")], 1),
        cell_id([("queries", "2"), ("rates", "as it is")], 2),
    ]
    assert made[0].combination.overrides == (
        "stages.captions.steps=2",
        "model.token_sampler.queries=2",
        "stages.captions.optimizer.lr=1e-5",
        "stages.answers.optimizer.lr=1e-5",
        "seed=1",
        "stages.answers.steps=1",
    )
    recipe = made[-1].recipe
    assert recipe.seed == 2
    assert recipe.model.token_sampler.queries == 4
    assert [stage.steps for stage in recipe.stages] == [2, 1]
    assert recipe.stages[0].optimizer.lr == 1e-3


def test_a_list_takes_the_nth_of_all_axes(cells):
    _, made = cells('combine = "list"\n' + TWO_AXES)
    assert [dict(cell.combination.labels) for cell in made[::2]] == [
        {"queries": "2", "rates": "low"},
        {"queries": "4", "rates": "as it is"},
    ]


def test_values_may_be_tables_and_arrays_and_have_labels(cells):
    text = """
[[axes]]
name = "tiles"
key = "stages.answers.tiler"
values = [{ use = "single" }, { use = "anyres", grids = [[1, 2], [2, 1]] }]
labels = ["one", "several"]
"""
    _, made = cells(text)
    assert [cell.id for cell in made[::2]] == ["tiles=one,seed=1", "tiles=several,seed=1"]
    assert made[0].recipe.stages[1].tiler.name == "single"
    assert made[2].recipe.stages[1].tiler.grids == ((1, 2), (2, 1))


def test_an_axis_that_names_no_key_is_refused_with_its_line_and_cells(write):
    text = """
[[axes]]
name = "queries"
key = "model.token_sampler.querys"
values = [2, 4]
[[axes]]
name = "rate"
key = "stages.caption.optimizer.lr"
values = [1e-3]
"""
    with pytest.raises(RecipeError) as caught:
        load_cells(load_sweep(write(text)))
    told = [str(fault) for fault in caught.value.faults]
    assert told == [
        "sweep.toml:9: axes.queries.values.0: 'model.token_sampler.querys=2': "
        "model.token_sampler.querys: no such key (cell queries=2,rate=0.001,seed=1 and 1 more); "
        "did you mean 'queries'?",
        "sweep.toml:9: axes.queries.values.1: 'model.token_sampler.querys=4': "
        "model.token_sampler.querys: no such key (cell queries=4,rate=0.001,seed=1 and 1 more); "
        "did you mean 'queries'?",
        "sweep.toml:13: axes.rate.values.0: 'stages.caption.optimizer.lr=0.001': "
        "stages has no 'caption'; did you mean 'captions'? (there are: captions, answers)",
    ]


def test_a_cell_that_cannot_fit_is_named(write):
    text = """
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [4, 4000]
"""
    with pytest.raises(RecipeError) as caught:
        load_cells(load_sweep(write(text)))
    told = str(caught.value)
    assert "(cell queries=4000,seed=1 and 1 more)" in told
    assert "queries=4," not in told


def test_cells_that_are_one_recipe_are_named(write):
    with pytest.raises(RecipeError) as caught:
        load_cells(load_sweep(write(), ["model.token_sampler.queries=3"]))
    told = [str(fault) for fault in caught.value.faults]
    assert len(told) == 2
    assert "cells queries=2,seed=1 and queries=4,seed=1 are one and the same recipe" in told[0]


@given(st.lists(st.text(max_size=40), min_size=1, max_size=6), st.integers(0, 99))
def test_ids_name_files_and_differ_where_labels_do(labels, seed):
    told = [(f"axis{n}", label) for n, label in enumerate(labels)]
    name = cell_id(told, seed)
    assert len(name) <= LONGEST
    assert not set(name) - set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-=,"
    )
    assert name == cell_id(told, seed)
    other = [*told[:-1], (told[-1][0], told[-1][1] + "/")]
    assert cell_id(other, seed) != name
    assert cell_id(told, seed + 1) != name


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(VALUES)
def test_a_value_is_read_back_from_its_one_line(value):
    text = toml_text(value)
    assert "\n" not in text
    assert tomllib.loads(f"value = {text}")["value"] == value


def test_a_fault_of_the_command_line_is_said_once(write):
    with pytest.raises(RecipeError) as caught:
        load_cells(load_sweep(write(), ["stages.captions.stepz=3"]))
    (fault,) = map(str, caught.value.faults)
    assert fault.startswith("--set stages.captions.stepz=3: stages.captions.stepz: no such key")
    assert "set_last" not in fault


def test_an_empty_word_is_no_label():
    axis = AxisTable(name="prompt", key="name", values=("", "x"))
    assert [point.label for point in points(axis, 0)] == ['""', "x"]
