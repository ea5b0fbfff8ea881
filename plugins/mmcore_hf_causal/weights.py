"""Weights from transformers' safetensors files; our names are theirs."""

from __future__ import annotations

import torch
from torch import nn

from mmcore.interfaces import LoadReport
from mmcore.kit.weights import Source, fill, open_tensors

COMPUTED = "rotary_emb.inv_freq"
"""Buffers that old exports carried along; transformers computes them."""
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def load_decoder(module: nn.Module, weights: str, *, vocabulary: int) -> LoadReport:
    """Fill a ``PackedDecoder`` from a folder or a cached hub id.

    Where the module has more rows than the files, the new rows of embedding and output layer are
    the mean of those that are there: such a token is neither likelier nor less likely than others.
    A tied output layer is the embedding; a copy of it in the files is left aside.

    Raises:
        WeightsError: files or tensors are missing, have other shapes, or have no place here.
    """

    def enlarged(tensors: list[torch.Tensor]) -> torch.Tensor:
        rows_VE = tensors[0]
        new = max(0, vocabulary - rows_VE.shape[0])
        mean_1E = rows_VE.float().mean(dim=0, keepdim=True).to(rows_VE.dtype)
        return torch.cat([rows_VE, mean_1E.expand(new, -1)]) if new else rows_VE

    names = [name for name, _ in module.named_parameters()]
    with open_tensors(weights) as tensors:
        unused = [name for name in tensors.names() if name.endswith(COMPUTED)]
        if HEAD not in names:
            unused.append(HEAD)
        return fill(
            module,
            tensors,
            {
                name: Source((name,), enlarged) if name in (EMBEDDING, HEAD) else Source((name,))
                for name in names
            },
            unused=unused,
        )
