"""The weights of a checkpoint, read one at a time, adapters merged into them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

import torch
from torch import nn

from mmcore.interfaces import PARTS, Tensors
from mmcore.model.lora import is_adapter, pair_of, plain_name, product
from mmcore.training.checkpoint import Checkpoint, CheckpointError

SHOWN_FAULTS = 5


def stored_weights(
    checkpoint: Checkpoint, *, merge: Collection[str] = PARTS, add: bool = True
) -> Tensors:
    """What the model of a checkpoint consists of; moments are left where they are.

    Args:
        checkpoint: loaded, so known to be whole.
        merge: parts whose adapters are added to the weights that they stand beside; their names
            are then as if there had never been any.
        add: if not, the adapters of these parts are left out instead.
    """
    return _Weights(checkpoint, frozenset(merge) & checkpoint.manifest.loras.keys(), add)


def weights_for(
    checkpoint: Checkpoint, module: nn.Module, *, merge: Collection[str] = ()
) -> dict[str, Callable[[], torch.Tensor]]:
    """For every parameter of a module what reads its weight: file by file, and nothing before it
    is asked for.

    Args:
        merge: see ``stored_weights``.

    Raises:
        CheckpointError: a parameter of the module has no weight, a weight no parameter, or their
            shapes differ; names them.
    """
    parameters = dict(module.named_parameters())
    weights = _Weights(checkpoint, frozenset(merge) & checkpoint.manifest.loras.keys(), True)
    names = weights.names()
    faults = [f"{name} is not in the checkpoint" for name in parameters if name not in names]
    faults += [f"{name} is not in the model" for name in sorted(names - parameters.keys())]
    faults += [
        f"{name} has shape {weights.shape(name)}, wanted {tuple(one.shape)}"
        for name, one in parameters.items()
        if name in names and weights.shape(name) != tuple(one.shape)
    ]
    if faults:
        hidden = len(faults) - SHOWN_FAULTS
        more = f" (and {hidden} more)" if hidden > 0 else ""
        shown = "; ".join(faults[:SHOWN_FAULTS])
        raise CheckpointError(f"{checkpoint.path} does not fit: {shown}{more}")
    order = sorted(parameters, key=weights.file)
    return {name: partial(weights.read, name) for name in order}


class _Weights:
    """Names as the model has them, mapped to those of the checkpoint."""

    def __init__(self, checkpoint: Checkpoint, merge: frozenset[str], add: bool) -> None:
        self.origin = str(checkpoint.path)
        self._checkpoint = checkpoint
        self._facts = checkpoint.manifest.tensors
        self._loras = {part: checkpoint.manifest.loras[part] for part in merge if add}
        self._stored = {
            plain_name(name) if _part(name) in merge else name: name
            for name in self._facts
            if not (_part(name) in merge and is_adapter(name))
        }

    def names(self) -> frozenset[str]:
        return frozenset(self._stored)

    def file(self, name: str) -> str:
        return self._facts[self._stored[name]].file

    def shape(self, name: str) -> tuple[int, ...]:
        return self._facts[self._stored[name]].shape

    def dtype(self, name: str) -> torch.dtype:
        if self._pair(name) is not None:
            return torch.float32
        dtype: torch.dtype = getattr(torch, self._facts[self._stored[name]].dtype)
        return dtype

    def read(self, name: str) -> torch.Tensor:
        weight = self._checkpoint.weight(self._stored[name])
        pair = self._pair(name)
        if pair is None:
            return weight
        down, up = map(self._checkpoint.weight, pair)
        return weight.float() + product(down, up, self._loras[_part(name)])

    def _pair(self, name: str) -> tuple[str, str] | None:
        """The adapter that is merged into the weight of this name."""
        return pair_of(self._stored[name]) if _part(name) in self._loras else None


def _part(name: str) -> str:
    return name.partition(".")[0]
