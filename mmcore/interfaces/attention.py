"""Which attention kernel is used, and the layout that tells it where samples begin and end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    import torch

Attention = Literal["xformers", "sdpa"]
"""A kernel, after "auto" was decided."""


@attrs.frozen(eq=False)
class PackedLayout:
    """Several sequences end to end: each attends causally to itself only.

    Attributes:
        position_ids_T: int64, counting from 0 in every sequence.
        cu_seqlens: int32, S + 1 borders.
        lengths: the S lengths on the host, so that no kernel has to ask the device.
    """

    position_ids_T: torch.Tensor
    cu_seqlens: torch.Tensor
    lengths: tuple[int, ...]

    @property
    def longest(self) -> int:
        return max(self.lengths)
