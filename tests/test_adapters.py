"""What a stage wants adapters for is looked for in the model before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

import mmcore
from mmcore import adapters
from mmcore.adapters import check_adapters
from mmcore.model.lora import LoraError
from mmcore.model.vlm import VisionLanguageModel

MINI = Path(__file__).parent / "end_to_end" / "mini.toml"


def recipe(lora: str):
    return mmcore.load_recipe(
        MINI, [f"stages.answers.train=[{{part='token_sampler', lora={lora}}}]"]
    )


def without_linear_layers(table, seed, device):
    parts = {part: nn.Module() for part in ("encoder", "token_sampler", "llm")}
    for module in parts.values():
        module.norm = nn.LayerNorm(4, device=device)
    return VisionLanguageModel(**parts)


@pytest.mark.parametrize("lora", ["{rank=2}", "{rank=2, targets=['to_q']}"])
def test_a_part_without_a_layer_for_adapters_is_named(lora, monkeypatch):
    check_adapters(recipe(lora))
    monkeypatch.setattr(adapters, "empty_model", without_linear_layers)
    with pytest.raises(LoraError, match=r"^stages\.answers\.train: lora of token_sampler: has no"):
        check_adapters(recipe(lora))


def test_a_recipe_without_adapters_needs_no_model(monkeypatch):
    monkeypatch.setattr(adapters, "empty_model", lambda *_: pytest.fail("built"))
    check_adapters(mmcore.load_recipe(MINI))
