"""Models that do not learn, asked by objectives beside the one that does.

Letters: L labelled positions, E LLM width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import cast

import attrs
import torch
from torch import nn

from mmcore.interfaces import ADAPTERS, LLM, Forward, Teacher


class FrozenModels:
    """What the objectives of a stage hold the model that learns against.

    Args:
        model: the one that learns; without its adapters, it is one of them.
        others: by the names that objectives give them.
    """

    def __init__(self, model: nn.Module, others: Mapping[str, nn.Module]) -> None:
        self._model, self._others = model, dict(others)

    @contextmanager
    def asked(self, name: str) -> Iterator[Forward]:
        """See ``mmcore.interfaces.Forward.frozen``.

        Raises:
            ValueError: no model of that name is here.
        """
        chosen, training = self._named(name), self._model.training
        chosen.eval()
        off: AbstractContextManager[None] = nullcontext()
        if name == ADAPTERS:
            off = chosen.without_adapters()  # type: ignore[operator]  # of a VisionLanguageModel
        try:
            with torch.no_grad(), off:
                yield cast(Forward, chosen)
        finally:
            self._model.train(training)

    def divergence(self, h_LE: torch.Tensor, teacher: Teacher, name: str) -> torch.Tensor:
        """See ``mmcore.interfaces.Forward.divergence``."""
        if name != ADAPTERS:
            head = cast(LLM, self._named(name).llm).head
            teacher = attrs.evolve(teacher, logits=head)
        kl_L: torch.Tensor = self._model.divergence(h_LE, teacher)  # type: ignore[operator]
        return kl_L

    def _named(self, name: str) -> nn.Module:
        if name == ADAPTERS:
            return self._model
        if name not in self._others:
            raise ValueError(
                f"an objective is held against the model {name!r}, which was not loaded: only "
                "`mmcore run` loads such models"
            )
        return self._others[name]
