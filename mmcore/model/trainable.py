"""Which parts of a model learn, at what rate, with which decay, and how large they are."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import attrs
from torch import nn

from mmcore.interfaces import PARTS, ParameterGroup
from mmcore.model.lora import is_adapter
from mmcore.model.vlm import VisionLanguageModel

Decays = Callable[[str], bool | None]
"""See ``FilledSpec.decays``."""
NO_EXCEPTIONS: Mapping[str, Decays] = {}


@attrs.frozen
class PartSize:
    """A part of a model: how many parameters it has, and how many of them learn."""

    part: str
    parameters: int
    trainable: int


def set_trainable(
    model: VisionLanguageModel, parts: Collection[str], unused: Collection[str] = ()
) -> None:
    """Let exactly these parts learn; what its maker froze for good stays frozen, and of a part
    with adapters nothing else learns.

    Args:
        model: with its adapters.
        parts: names.
        unused: names of parameters that no objective uses, and that so cannot learn.

    Raises:
        ValueError: a part that the model does not have.
    """
    for part in parts:
        _check(part)
    for name, parameter in model.named_parameters():
        part = name.split(".", 1)[0]
        able = is_adapter(name) if part in model.loras else name not in model.frozen_for_good
        parameter.requires_grad_(part in parts and able and name not in unused)


def parameter_groups(
    model: VisionLanguageModel,
    train: Sequence[tuple[str, float]],
    weight_decay: float,
    decays: Mapping[str, Decays] = NO_EXCEPTIONS,
) -> list[ParameterGroup]:
    """The parameters that learn, two groups a part: matrices with decay, all others without.

    Decay is for the weights of matrix products. Norms, biases, embeddings, position tables and
    latents have none. What a component says of its own parameters goes before that.

    Args:
        model: with ``set_trainable`` done.
        train: parts and their highest learning rates.
        weight_decay: of the matrices.
        decays: of parts that know better, what they say.

    Raises:
        ValueError: a part that the model does not have, or that has nothing to learn.
    """
    decaying = _decaying(model, decays)
    groups: list[ParameterGroup] = []
    for part, lr in train:
        _check(part)
        learning = {
            name: parameter
            for name, parameter in model.named_parameters()
            if name.startswith(f"{part}.") and parameter.requires_grad
        }
        if not learning:
            raise ValueError(f"{part} is to be trained, but none of its parameters learns")
        for decayed in (True, False):
            names = tuple(name for name in learning if (name in decaying) is decayed)
            if names:
                groups.append(
                    ParameterGroup(
                        part=part,
                        names=names,
                        parameters=tuple(learning[name] for name in names),
                        lr=lr,
                        weight_decay=weight_decay if decayed else 0.0,
                    )
                )
    return groups


def describe(model: VisionLanguageModel) -> list[PartSize]:
    """Every part with the number of its parameters and of those that learn."""
    sizes = []
    for part in PARTS:
        parameters = list(model.get_submodule(part).parameters())
        sizes.append(
            PartSize(
                part=part,
                parameters=sum(one.numel() for one in parameters),
                trainable=sum(one.numel() for one in parameters if one.requires_grad),
            )
        )
    return sizes


def _decaying(model: VisionLanguageModel, decays: Mapping[str, Decays]) -> set[str]:
    """Names of the parameters that decay."""
    matrices = set(_matrices(model))
    found = set()
    for name, _ in model.named_parameters():
        part, _, own = name.partition(".")
        said = decays[part](own) if part in decays else None
        if name in matrices if said is None else said:
            found.add(name)
    return found


def _matrices(model: nn.Module) -> Iterator[str]:
    """Names of the weights that a matrix product or a convolution applies."""
    for path, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            yield f"{path}.weight"
        elif isinstance(module, nn.MultiheadAttention):
            names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
            yield from (f"{path}.{name}" for name in names)


def _check(part: str) -> None:
    if part not in PARTS:
        raise ValueError(f"a model has no part {part!r}; its parts are {', '.join(PARTS)}")
