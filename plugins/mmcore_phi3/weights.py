"""Weights of Phi-3 from transformers' safetensors files; our names are theirs."""

from __future__ import annotations

from torch import nn

from mmcore.interfaces import LoadReport
from mmcore.kit.weights import Source, fill, open_tensors

# Buffers that old exports carried along; transformers computes them.
COMPUTED = "rotary_emb.inv_freq"


def load_phi3(module: nn.Module, weights: str) -> LoadReport:
    """Fill a ``Phi3`` from a folder or a cached hub id.

    Raises:
        WeightsError: files or tensors are missing, have other shapes, or have no place here.
    """
    names = [name for name, _ in module.named_parameters()]
    with open_tensors(weights) as tensors:
        return fill(
            module,
            tensors,
            {name: Source((name,)) for name in names},
            unused=[name for name in tensors.names() if name.endswith(COMPUTED)],
        )
