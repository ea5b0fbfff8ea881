"""What a piece of work computes and keeps: floating-point operations, and bytes that are alive.

The tensors may be on any device. On the meta device they have no values, but the same sizes and
the same lives, so that what is counted there is what would be counted elsewhere.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mmcore.kit import attention_on_meta as attention_on_meta  # it registers the operator

Phase = Literal["forward", "backward", "recompute"]

FORWARD_ONLY = (torch.ops.mmcore.fused_attention,)
"""Operators that no gradient is made of."""


class Recorder(TorchDispatchMode):
    """While it is on, every operator is counted and every new tensor followed until it dies.

    Args:
        known: tensors that exist already and are not to be counted, such as weights.

    Attributes:
        flops: operations by phase; "recompute" is what runs forward within the backward pass.
        live: bytes of the tensors that are alive and came into being here.
        peak: the most that ``live`` has been.
    """

    def __init__(self, known: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.flops: Counter[Phase] = Counter()
        self.live = 0
        self.peak = 0
        self.in_backward = False
        # Held, so that no storage made later can be taken for one of them.
        self._known = [tensor.untyped_storage() for tensor in known]
        self._seen = {storage._cdata for storage in self._known}

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self._count(func, args, kwargs or {}, out)
        if isinstance(out, torch.Tensor):
            self._follow(out)
        else:
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor):
                    self._follow(leaf)
        return out

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: object) -> None:
        formula: Callable[..., int] | None = flop_registry.get(func._overloadpacket)
        if formula is None:
            return
        phase: Phase = "forward"
        if self.in_backward:
            # A gradient's own work runs without a graph, a repeated forward with one; but within
            # an operator of its own that is off, whichever pass it belongs to.
            again = torch.is_grad_enabled() or func._overloadpacket in FORWARD_ONLY
            phase = "recompute" if again else "backward"
        self.flops[phase] += formula(*args, **kwargs, out_val=out)

    def _follow(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage._cdata in self._seen:
            return
        size = storage.nbytes()
        if size == 0:
            return
        self._seen.add(storage._cdata)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage._cdata, size).atexit = False

    def _forget(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size
