"""Every sweep that is shipped is sound, as it is and at every scale that it offers."""

from pathlib import Path

import pytest

from mmcore.sweeps.load import load_sweep
from mmcore.sweeps.recipes import load_cells

SHIPPED = sorted((Path(__file__).parents[2] / "recipes" / "sweeps").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_cell_of_a_shipped_sweep_is_sound(path):
    file = load_sweep(path)
    cells = load_cells(file)
    assert len(cells) == len({cell.id for cell in cells})
    assert file.table.question.endswith("?")
    for scale in file.table.scales:
        assert load_cells(load_sweep(path, scale=scale))
