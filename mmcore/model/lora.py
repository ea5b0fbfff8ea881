"""Adapters (LoRA, by peft) in a model's parts: put in, told apart from weights, passed by.

A linear layer of an adapted part becomes peft's: ``X.weight`` is called ``X.base_layer.weight``
then, and ``X.lora_A.default.weight`` and ``X.lora_B.default.weight`` stand beside it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmcore.interfaces import ALL_LINEAR, Lora
from mmcore.kit.seeds import seed_of
from mmcore_registry import nearest

if TYPE_CHECKING:
    import peft

SHOWN_NAMES = 8
"""Names of layers in a message, at most."""

ADAPTER = "default"
"""What peft calls the one adapter of a layer."""

BASE, DOWN, UP = ".base_layer.", f".lora_A.{ADAPTER}.weight", f".lora_B.{ADAPTER}.weight"
"""What peft puts into the names of an adapted layer's parameters."""


class LoraError(ValueError):
    """A part cannot be given the adapters that were asked for."""


def is_adapter(name: str) -> bool:
    """Whether a parameter of this name belongs to an adapter."""
    return name.endswith((DOWN, UP))


def adaptable(part: nn.Module, frozen_for_good: Iterable[str] = ()) -> list[str]:
    """Names of the layers of a part that can have adapters, in the part's order.

    These are linear layers that compute nothing else: no output layer, which makes log
    likelihoods, and none whose weight another layer uses without calling it, as torch's
    ``MultiheadAttention`` does.

    Args:
        part: the part's module.
        frozen_for_good: names of its parameters that never learn, for nothing uses them.
    """
    unused = frozenset(frozen_for_good)
    inner = {
        f"{path}.{name}"
        for path, module in part.named_modules()
        if isinstance(module, nn.MultiheadAttention)
        for name, _ in module.named_modules()
    }
    return [
        path
        for path, module in part.named_modules()
        if path
        and isinstance(module, nn.Linear)
        and type(module).forward is nn.Linear.forward
        and path not in inner
        and f"{path}.weight" not in unused
    ]


def chosen(lora: Lora, layers: list[str]) -> list[str]:
    """Those of the adaptable ``layers`` that ``lora.targets`` names.

    Raises:
        LoraError: a target names none of them, or there are none at all.
    """
    if not layers:
        raise LoraError("has no linear layer that could get an adapter")
    if lora.targets == ALL_LINEAR:
        return layers
    missing = [one for one in lora.targets if not any(_names(one, layer) for layer in layers)]
    if missing:
        raise LoraError("; ".join(_unknown(one, layers) for one in missing))
    return [layer for layer in layers if any(_names(one, layer) for one in lora.targets)]


def _names(target: str, layer: str) -> bool:
    """A target is the end of a layer's name, as in peft."""
    return layer == target or layer.endswith(f".{target}")


def _unknown(target: str, layers: list[str]) -> str:
    """What could have been meant: the last words of the layers, or as many words as were given."""
    words = target.count(".") + 1
    ends = list(dict.fromkeys(".".join(layer.split(".")[-words:]) for layer in layers))
    close = nearest(target, ends)
    shown = ", ".join(ends[:SHOWN_NAMES]) + (", ..." if len(ends) > SHOWN_NAMES else "")
    hint = f"did you mean {close!r}?" if close else f"layers end in: {shown}"
    return f"{target!r} names no layer; {hint}"


def adapt(part: nn.Module, lora: Lora, layers: Sequence[str], *, seed: int) -> None:
    """Put fresh adapters into a part, in place; it computes what it did before.

    A's values are drawn for each layer by itself, from the seed and the layer's name; B is zero.

    Args:
        part: the part's module; adapters get its layers' devices and number formats.
        lora: which adapters.
        layers: that get one, in the part's order; see ``chosen``.
        seed: of the values.
    """
    import peft

    config = peft_config(lora, "|".join(map(re.escape, layers)))  # matched whole
    learning = {name for name, one in part.named_parameters() if one.requires_grad}
    with torch.random.fork_rng(devices=[]), _device_of(part):
        peft.inject_adapter_in_model(config, part)
    found = [path for path, module in part.named_modules() if _is_adapted(module)]
    assert found == list(layers), (found, layers)
    for name, parameter in part.named_parameters():
        # peft freezes everything else; what learns is said in one place, and not here.
        parameter.requires_grad_(is_adapter(name) or name.replace(BASE, ".") in learning)
        if is_adapter(name) and not parameter.is_meta:
            parameter.data.copy_(first_value(name, parameter.shape, seed))


def peft_config(lora: Lora, targets: str | list[str]) -> peft.LoraConfig:
    """The adapters in peft's words.

    Args:
        lora: which adapters.
        targets: an expression that matches the whole names of the layers, or their ends.
    """
    import peft

    return peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=lora.dropout,
        target_modules=targets,
        init_lora_weights=False,
    )


def _device_of(part: nn.Module) -> torch.device:
    return next(part.parameters()).device


def first_value(name: str, shape: torch.Size, seed: int) -> torch.Tensor:
    """What a fresh adapter begins with, as Microsoft's: uniform like a linear layer's for A, zero
    for B.

    Args:
        name: of the parameter within its part.
        shape: its shape.
        seed: as in ``adapt``.
    """
    if name.endswith(UP):
        return torch.zeros(shape)
    generator = torch.Generator().manual_seed(seed_of(seed, name))
    return nn.init.kaiming_uniform_(torch.empty(shape), a=math.sqrt(5), generator=generator)


def _is_adapted(module: nn.Module) -> bool:
    from peft.tuners.lora import LoraLayer

    return isinstance(module, LoraLayer)


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """Within, adapted layers compute what they would without their adapters.

    Which parameters require a gradient is the same afterwards.
    """
    layers = [module for module in model.modules() if _is_adapted(module)]
    required = {name: one.requires_grad for name, one in model.named_parameters()}
    for layer in layers:
        layer.enable_adapters(False)  # type: ignore[operator]  # of peft's class
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)  # type: ignore[operator]  # the same
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(required[name])


def plain_name(name: str) -> str:
    """What a weight is called where its layer has no adapter."""
    return name.replace(BASE, ".")


def pair_of(name: str) -> tuple[str, str] | None:
    """Names of A and B that belong to an adapted layer's weight; None for any other name."""
    if not name.endswith(f"{BASE}weight"):
        return None
    layer = name.removesuffix(f"{BASE}weight")
    return layer + DOWN, layer + UP


def product(a_RI: torch.Tensor, b_OR: torch.Tensor, lora: Lora) -> torch.Tensor:
    """What an adapter adds to its layer's weight, float32 (O outputs, I inputs, rank R)."""
    return lora.scale * (b_OR.float() @ a_RI.float())
