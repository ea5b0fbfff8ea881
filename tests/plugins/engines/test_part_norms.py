"""Norms by part, put together from those that ZeRO computes group by group."""

from __future__ import annotations

import pytest
import torch

from mmcore.interfaces import ParameterGroup
from mmcore_engines.part_norms import ZeroGroupNorms

CPU = torch.device("cpu")
GROUPS = [
    ParameterGroup("llm", (), (), 0.1, 0.1),
    ParameterGroup("llm", (), (), 0.1, 0.0),
    ParameterGroup("token_sampler", (), (), 0.1, 0.1),
]


class Pieces:
    """As ZeRO 3: the first group is in two pieces."""

    sub_group_to_group_id = {0: 0, 1: 0, 2: 1, 3: 2}  # noqa: RUF012

    def get_grad_norm_direct(self, norm):
        return torch.tensor(norm)


class Whole:
    """As ZeRO 1 and 2: the norm of every group is asked for as a whole."""

    def get_grad_norm_direct(self, norm):
        return norm


@pytest.mark.parametrize(
    ("kind", "norms", "llm"), [(Pieces, [1.0, 2.0, 2.0, 5.0], 3.0), (Whole, [3.0, 4.0, 5.0], 5.0)]
)
def test_every_piece_counts_for_the_part_of_its_group(kind, norms, llm):
    optimizer = kind()
    heard = ZeroGroupNorms(optimizer, GROUPS, 3)
    for _ in range(2):
        for norm in norms:
            optimizer.get_grad_norm_direct(norm)
        found = {part: float(norm) for part, norm in heard.by_part(CPU).items()}
        assert found == {"llm": llm, "token_sampler": 5.0}
    heard.close()
    optimizer.get_grad_norm_direct(1.0)
    assert heard.by_part(CPU) == {}
