"""The folder of a sweep: what is written down, and what may not change once it has begun."""

import attrs
import pytest

from mmcore.run_folder.folder import RECIPE
from mmcore.sweeps.costs import CellCost
from mmcore.sweeps.entering import enter, recipe_path
from mmcore.sweeps.folder import (
    OUTCOMES,
    Cell,
    Outcome,
    SweepFolderError,
    cells_text,
    is_sweep,
    read,
    run_folder,
)
from mmcore.sweeps.going import append, chosen, left
from mmcore.sweeps.load import load_sweep
from mmcore.sweeps.prepared import Prepared
from mmcore.sweeps.recipes import load_cells


@pytest.fixture
def entered(cells, tmp_path):
    """``entered(*overrides)`` -> the folder, entered with the sweep so changed."""
    folder = tmp_path / "sweeps" / "samplers"

    def into(*overrides, threads=1):
        file, made = cells(TEXT, *overrides)
        costs = tuple(map(cost, made))  # what `mmcore plan` would say has tests of its own
        return enter(folder, Prepared(file=file, cells=made, costs=costs, wrong=()), threads)

    return into


TEXT = """
[[axes]]
name = "queries"
key = "model.token_sampler.queries"
values = [2, 4]
"""


def cost(cell):
    chosen = cell.combination
    planned = Cell(
        id=cell.id,
        labels=dict(chosen.labels),
        seed=chosen.seed,
        overrides=chosen.overrides,
        tokens=5376.0,
        flops=10**9,
    )
    return CellCost(cell=planned, seconds=None, fits=None, memory=1)


def begin(folder, cell):
    run = run_folder(folder.folder, cell)
    run.mkdir(parents=True, exist_ok=True)
    (run / RECIPE).write_bytes(recipe_path(folder.folder, cell).read_bytes())


def test_all_is_written_before_anything_runs_and_read_back(entered):
    folder = entered(threads=3)
    assert is_sweep(folder.folder)
    sweep = folder.sweep
    assert (sweep.name, sweep.seeds, sweep.threads) == ("samplers", (1, 2), 3)
    assert [(axis.name, axis.values) for axis in sweep.axes] == [("queries", ("2", "4"))]
    assert [cell.id for cell in sweep.cells] == [
        "queries=2,seed=1", "queries=2,seed=2", "queries=4,seed=1", "queries=4,seed=2",
    ]  # fmt: skip
    assert sweep.cells[0].labels == {"queries": "2"}
    assert read(folder.folder) == folder
    assert folder.outcomes == {}


def test_what_is_written_is_a_sweep_of_the_same_cells(entered):
    folder = entered("stages.captions.steps=3")
    again = load_sweep(folder.folder / "sweep.toml")
    assert again.table.set_last == ("stages.captions.steps=3",)
    assert "[]" not in (folder.folder / "sweep.toml").read_text(), "what is empty is not said"
    recipes = [cell.text for cell in load_cells(again)]
    assert recipes == [
        recipe_path(folder.folder, cell.id).read_text() for cell in folder.sweep.cells
    ]


def test_cells_that_have_begun_may_not_change_and_others_may(entered):
    begin(entered(), "queries=2,seed=1")
    with pytest.raises(SweepFolderError) as caught:
        entered("stages.captions.steps=7")
    assert "queries=2,seed=1: stages.0.steps: 6 -> 7" in str(caught.value)
    assert "queries=4" not in str(caught.value)
    assert "6" in recipe_path(caught.value and entered().folder, "queries=2,seed=1").read_text()
    changed = entered("axes.queries.values=[2, 8]")
    assert [cell.id for cell in changed.sweep.cells][2] == "queries=8,seed=1"


def test_a_cell_that_has_begun_may_not_go(entered):
    begin(entered(), "queries=4,seed=2")
    with pytest.raises(SweepFolderError, match="queries=4,seed=2 has begun, and the sweep has no"):
        entered("seeds=[1]")


def test_what_says_only_how_it_is_run_may_change(entered):
    begin(entered(), "queries=2,seed=1")
    entered("checkpoints.every_steps=1")


def test_a_sweep_grows_by_seeds_and_points_and_keeps_its_threads(entered):
    begin(entered(threads=2), "queries=2,seed=1")
    grown = entered("seeds=[1, 2, 3]", "axes.queries.values=[2, 4, 8]", threads=1)
    assert len(grown.sweep.cells) == 9
    assert grown.sweep.threads == 2


def test_finished_cells_are_left_out_and_failed_ones_unless_they_are_to_be_tried(entered):
    folder = entered()
    for cell, outcome in [("queries=2,seed=1", "finished"), ("queries=2,seed=2", "failed")]:
        begin(folder, cell)
        append(folder.folder, Outcome(id=cell, outcome=outcome, seconds=1.0, reason="ü"))
    folder = read(folder.folder)
    assert [cell.id for cell in left(folder, folder.sweep.cells, retry_failed=False)] == [
        "queries=4,seed=1", "queries=4,seed=2",
    ]  # fmt: skip
    assert len(left(folder, folder.sweep.cells, retry_failed=True)) == 3
    append(folder.folder, Outcome(id="queries=2,seed=2", outcome="finished", seconds=2.0))
    assert read(folder.folder).outcomes["queries=2,seed=2"].finished, "the latest counts"


def test_a_torn_outcome_costs_only_itself(entered):
    folder = entered()
    begin(folder, "queries=2,seed=1")
    append(folder.folder, Outcome(id="queries=2,seed=1", outcome="finished", seconds=1.0))
    with (folder.folder / OUTCOMES).open("a") as file:
        file.write('{"id": "queries=2,se')
    folder = entered()
    append(folder.folder, Outcome(id="queries=4,seed=1", outcome="failed", seconds=1.0))
    assert set(read(folder.folder).outcomes) == {"queries=2,seed=1", "queries=4,seed=1"}


def test_a_finished_cell_whose_folder_was_removed_is_run_again(entered):
    folder = entered()
    append(folder.folder, Outcome(id="queries=2,seed=1", outcome="finished", seconds=1.0))
    assert len(left(read(folder.folder), folder.sweep.cells, retry_failed=False)) == 4


def test_some_cells_are_chosen_by_their_ids(entered):
    folder = entered()
    assert [cell.id for cell in chosen(folder, "*seed=2")] == [
        "queries=2,seed=2",
        "queries=4,seed=2",
    ]
    assert len(chosen(folder, None)) == 4
    with pytest.raises(ValueError, match=r"--only queries=3,seed=1: .* did you mean 'queries="):
        chosen(folder, "queries=3,seed=1")


def test_a_folder_that_is_none_or_damaged_is_named(entered, tmp_path):
    with pytest.raises(SweepFolderError, match="no folder of a sweep"):
        read(tmp_path)
    folder = entered()
    path = folder.folder / "cells.json"
    path.write_text(cells_text(folder.sweep).replace('"format": 1', '"format": 9'))
    with pytest.raises(SweepFolderError, match="of format 9, this mmcore reads format 1"):
        read(folder.folder)
    path.write_text(cells_text(attrs.evolve(folder.sweep))[:100])
    with pytest.raises(SweepFolderError, match=r"cells\.json is damaged"):
        read(folder.folder)
