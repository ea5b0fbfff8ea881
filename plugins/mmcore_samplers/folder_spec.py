"""What the samplers' specs have in common: weights from a folder, and grids cut into cells."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import attrs

from mmcore.interfaces import PatchGrid, TokenSamplerSpec, Wanted, WeightsError
from mmcore.kit.weights import RANDOM, WEIGHT_FILES, locate, wanted
from mmcore_registry import Problem, doc

Edges = Literal["refuse", "pad"]


@attrs.frozen(kw_only=True)
class FolderSpec(TokenSamplerSpec):
    """A sampler that starts from initial values or from a folder of weights."""

    weights: str = attrs.field(
        default=RANDOM, metadata=doc("a folder with the sampler's own names, or random")
    )

    def problems(self) -> Iterator[Problem]:
        if self.weights != RANDOM:
            try:
                locate(self.weights)
            except WeightsError as error:
                yield Problem("weights", str(error), machine=True)

    def wants(self) -> Iterator[Wanted]:
        yield from wanted("weights", self.weights, *WEIGHT_FILES)


def count_cells(grid: PatchGrid, side: int, edges: Edges, key: str) -> int:
    """How many cells of ``side`` x ``side`` patches cover a grid.

    Raises:
        ValueError: ``side`` does not divide it, and ``edges`` refuses that.
    """
    rows, cols = -(-grid.rows // side), -(-grid.cols // side)
    if edges == "refuse" and (grid.rows % side or grid.cols % side):
        greatest = math.gcd(grid.rows, grid.cols)
        common = [number for number in range(1, greatest + 1) if greatest % number == 0]
        raise ValueError(
            f"{key} is {side}, wanted a divisor of both rows and columns of {grid} patches "
            f'({", ".join(map(str, common))}), or edges = "pad", which makes {rows} x {cols} cells'
        )
    return rows * cols
