"""Numbers that objectives tell of packs beside their losses, kept on the device until the step
waits for it anyway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch


class Told:
    """What was told since ``clear``, added up over packs.

    Every pack goes through every objective, which tells the same names of each; so all ranks have
    the same names in the same order.
    """

    def __init__(self) -> None:
        self._totals: dict[tuple[int, str], torch.Tensor] = {}

    def clear(self) -> None:
        """Forget; before a step."""
        self._totals = {}

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Within, other packs are told of; afterwards those of before are there again."""
        kept = self._totals
        self.clear()
        try:
            yield
        finally:
            self._totals = kept

    def add(self, objective: int, name: str, total: torch.Tensor) -> None:
        """Objective number so-and-so tells a scalar of a pack."""
        key, total = (objective, name), total.detach().double().reshape(1)
        self._totals[key] = self._totals[key] + total if key in self._totals else total

    def __len__(self) -> int:
        return len(self._totals)

    def totals(self, device: torch.device) -> torch.Tensor:
        """Everything that was told, float64, on the device."""
        none = torch.zeros(0, dtype=torch.float64, device=device)
        return torch.cat([none, *self._totals.values()])

    def means(
        self, totals: Sequence[float], divisors: Sequence[float], names: Sequence[str]
    ) -> Mapping[str, float]:
        """The same by ``OBJECTIVE/name``.

        Args:
            totals: added up over ranks.
            divisors, names: of the objectives.
        """
        return {
            f"{names[objective]}/{name}": total / divisors[objective]
            for (objective, name), total in zip(self._totals, totals, strict=True)
        }
