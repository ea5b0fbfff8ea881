"""A model before its values are made: where every one comes from, and who is given it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Self

import torch
from torch import nn

from mmcore.interfaces import LoadReport, Lora
from mmcore.kit.unfilled import Make, Unfilled, become
from mmcore.model.lora import first_value, is_adapter
from mmcore.model.vlm import VisionLanguageModel


class Initial:
    """A model whose parameters have shapes and no storage yet.

    Attributes:
        model: the model.
        reports: for each part what its weights were filled with (None: random).
    """

    def __init__(self, parts: Mapping[str, Unfilled]) -> None:
        """Args: ``parts``, the model's three, by name."""
        self._parts: Sequence[Unfilled] = tuple(parts.values())
        self.model = VisionLanguageModel(**{name: one.module for name, one in parts.items()})
        self.reports: dict[str, LoadReport | None] = {
            name: one.report for name, one in parts.items()
        }
        # By identity, since names change where adapters are put around layers.
        self._values = {
            id(one.module.get_parameter(name)): make
            for one in self._parts
            for name, make in one.values().items()
        }

    def instead(self, values: Mapping[str, Make]) -> Self:
        """Give every parameter, by its full name, another source of its value."""
        self._values = {id(self.model.get_parameter(name)): values[name] for name in values}
        return self

    def adapt(self, loras: Mapping[str, Lora], seed: int) -> None:
        """Give parts fresh adapters, which have their first values like every other parameter.

        Raises:
            LoraError: see ``VisionLanguageModel.adapt``.
        """
        before = set(self.model.loras)
        self.model.adapt(loras, seed)
        for name, parameter in self.model.named_parameters():
            part, _, own = name.partition(".")
            if is_adapter(own) and part not in before:
                self._values[id(parameter)] = partial(first_value, own, parameter.shape, seed)

    def place_others(self, device: torch.device) -> None:
        """Put everything that is no parameter on a device, with its values."""
        for part in self._parts:
            part.place_others(device)

    def values(self) -> list[tuple[str, Make]]:
        """Every parameter that came with the model, under the name that it has now, and what makes
        its value on the CPU. One that was put in later keeps what it has.

        To be asked for before an engine gives parameters storage: whether each that needs a value
        has one can be told no more afterwards.
        """
        named = dict(self.model.named_parameters())
        lacking = [n for n, one in named.items() if one.is_meta and id(one) not in self._values]
        assert not lacking, f"nothing gives these parameters a value: {', '.join(lacking)}"
        return [(n, self._values[id(one)]) for n, one in named.items() if id(one) in self._values]

    def filled(self, device: torch.device) -> VisionLanguageModel:
        """The model with its values, on a device; they are made and moved one by one."""
        self._fill("", device)
        return self.model

    def filled_part(self, part: str, device: torch.device) -> nn.Module:
        """One part with its values, on a device; no value of another part is made."""
        self._fill(f"{part}.", device)
        return self.model.get_submodule(part)

    @torch.no_grad()
    def _fill(self, prefix: str, device: torch.device) -> None:
        self.place_others(device)
        for name, make in self.values():
            if not name.startswith(prefix):
                continue
            parameter = self.model.get_parameter(name)
            if parameter.is_meta:
                empty = torch.empty_like(parameter, device=device)
                become(parameter, empty.copy_(make()))
            else:
                parameter.copy_(make())
