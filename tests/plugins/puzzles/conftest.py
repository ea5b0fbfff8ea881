"""Puzzles small enough that thousands can be made in a test."""

import pytest

from mmcore.interfaces import SyntheticContent
from mmcore_puzzles.spec import PuzzlesSpec

SMALL = {
    "side": 72,
    "vocabulary": "numbers",
    "grid": (1, 2),
    "text_px": (9, 12),
    "shape_px": (12,),
    "others": (0, 3),
    "most": 4,
    "pictures": (2, 4),
}


@pytest.fixture
def small():
    """Makes a spec of small pictures."""

    def make(*, rows=24, seed=0, held_out=False, **keys):
        content = SyntheticContent(rows=rows, seed=seed, held_out=held_out)
        return PuzzlesSpec(**{**SMALL, **keys}, synthetic=content)

    return make
