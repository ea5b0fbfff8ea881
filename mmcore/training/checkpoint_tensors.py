"""The weights of a checkpoint, opened for reading one at a time, adapters merged into them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

import torch
from safetensors import safe_open

from mmcore.interfaces import PARTS, Tensors
from mmcore.model.lora import is_adapter, pair_of, plain_name, product
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.checkpoint_format import weight_key


@contextmanager
def opened_weights(
    checkpoint: Checkpoint, *, merge: Collection[str] = PARTS, add: bool = True
) -> Iterator[Tensors]:
    """What the model of a checkpoint consists of; moments are left where they are.

    Args:
        checkpoint: loaded, so known to be whole.
        merge: parts whose adapters are added to the weights that they stand beside; their names
            are then as if there had never been any.
        add: if not, the adapters of these parts are left out instead.
    """
    with ExitStack() as stack:
        merged = frozenset(merge) & checkpoint.manifest.loras.keys()
        yield _Weights(checkpoint, merged, add, stack)


class _Weights:
    """Names as the model has them, mapped to those of the checkpoint."""

    def __init__(
        self, checkpoint: Checkpoint, merge: frozenset[str], add: bool, stack: ExitStack
    ) -> None:
        self.origin = str(checkpoint.path)
        self._facts = checkpoint.manifest.tensors
        self._loras = {part: checkpoint.manifest.loras[part] for part in merge if add}
        self._stored = {
            plain_name(name) if _part(name) in merge else name: name
            for name in self._facts
            if not (_part(name) in merge and is_adapter(name))
        }
        self._files = {
            file: stack.enter_context(safe_open(checkpoint.path / file, framework="pt"))
            for file in {facts.file for facts in self._facts.values()}
        }

    def names(self) -> frozenset[str]:
        return frozenset(self._stored)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._facts[self._stored[name]].shape

    def dtype(self, name: str) -> torch.dtype:
        if self._pair(name) is not None:
            return torch.float32
        dtype: torch.dtype = getattr(torch, self._facts[self._stored[name]].dtype)
        return dtype

    def read(self, name: str) -> torch.Tensor:
        weight = self._read(self._stored[name])
        pair = self._pair(name)
        if pair is None:
            return weight
        down, up = map(self._read, pair)
        return weight.float() + product(down, up, self._loras[_part(name)])

    def _pair(self, name: str) -> tuple[str, str] | None:
        """The adapter that is merged into the weight of this name."""
        return pair_of(self._stored[name]) if _part(name) in self._loras else None

    def _read(self, stored: str) -> torch.Tensor:
        file = self._files[self._facts[stored].file]
        tensor: torch.Tensor = file.get_tensor(weight_key(stored))
        return tensor


def _part(name: str) -> str:
    return name.partition(".")[0]
