"""Model FLOPs of a pack: what its forward and backward pass need by the model's mathematics.

Nothing that is repeated to save memory counts. One model on the meta device is run on four small
packs; its work is linear in tokens, views, labelled positions and pairs of a query and a key that
it sees, so that four numbers say what any pack needs.

Letters: T packed tokens, N views, L labelled positions.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import attrs
import torch

from mmcore.assemble import built_objectives, empty_model, training_step
from mmcore.interfaces import PackedBatch
from mmcore.kit.attention_on_meta import FusedAttention, causal_pairs
from mmcore.planning.costs import stand_ins
from mmcore.planning.pack import PackSize, batch_on_meta, full_pack, tensors_of
from mmcore.planning.recorder import Recorder
from mmcore.recipe import Recipe, Stage

TOKENS = 256
"""Of the packs that are measured."""


@attrs.frozen
class PackFlops:
    """FLOPs, forward and backward, that one of these costs; frozen parts as autograd runs them.

    Attributes:
        token: a position of a pack, attention and head apart.
        view: a view's way through encoder and token sampler.
        label: a labelled position in the head.
        pair: a pair of a query and a key not after it, in all layers of the LLM.
    """

    token: float
    view: float
    label: float
    pair: float

    def __call__(self, batch: PackedBatch) -> float:
        """Of a pack, from host data; blank packs and blank views need nothing."""
        pairs = sum(causal_pairs(segment.stop - segment.start) for segment in batch.segments)
        labels = sum(segment.labels for segment in batch.segments)
        return (
            self.token * batch.tokens
            + self.view * batch.views
            + self.label * labels
            + self.pair * pairs
        )


def pack_flops(recipe: Recipe, stage: Stage) -> PackFlops:
    """What the packs of a stage need; takes a few seconds for a model of billions."""
    model = empty_model(recipe.model, recipe.seed, torch.device("meta"))
    objectives = built_objectives(stage)
    frozen = stand_ins(stage, model)
    step = training_step(recipe.model, stage, model, objectives, frozen=frozen)
    full = full_pack(recipe.model, stage)

    def measured(views: int, labels: int, samples: int) -> int:
        groups = max(1, round(views * stage.tiler.max_groups / stage.tiler.max_views))
        size = attrs.evolve(full, tokens=TOKENS, views=views, groups=groups, samples=samples)
        return _work(step, _pack(size, labels), len(objectives))

    # As many views as a picture at its largest grid has, so that groups of patches come out whole.
    n, L, T = max(1, stage.tiler.max_views), TOKENS // 2, TOKENS
    base = measured(n, L, 1)
    apart = causal_pairs(T) - 2 * causal_pairs(T // 2)
    pair = (base - measured(n, L, 2)) / apart
    label = (base - measured(n, L // 2, 1)) / (L - L // 2)
    view = (measured(2 * n, L, 1) - base) / n
    token = (base - pair * causal_pairs(T) - label * L - view * n) / T
    return PackFlops(token, view, label, pair)


def _pack(size: PackSize, labels: int) -> PackedBatch:
    batch = batch_on_meta(size)
    return attrs.evolve(
        batch,
        label_index_L=batch.label_index_L[:labels],
        targets_L=batch.targets_L[:labels],
        label_weight_L=batch.label_weight_L[:labels],
        label_segment_L=batch.label_segment_L[:labels],
    )


class _ModelWork(Recorder):
    """Counts attention's backward pass as two products a product: a fused kernel computes the
    scores again, which is work of the kernel and not of the model."""

    def _count(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: object) -> None:
        if func._overloadpacket is torch.ops.mmcore.fused_attention_backward:
            _, q_BHIM, _, v_BGJR, pairs = args
            width = q_BHIM.shape[3] + v_BGJR.shape[3]
            self.flops["backward"] += 4 * q_BHIM.shape[1] * pairs * width
        else:
            super()._count(func, args, kwargs, out)


def _work(step: torch.nn.Module, batch: PackedBatch, objectives: int) -> int:
    recorder = _ModelWork([*tensors_of(batch), *step.parameters(), *step.buffers()])
    with ExitStack() as stack:
        stack.enter_context(recorder)
        stack.enter_context(FusedAttention())
        total, _ = step(batch, [1.0] * objectives)
        recorder.in_backward = True
        torch.autograd.backward(total)
    for parameter in step.parameters():
        parameter.grad = None
    return recorder.flops["forward"] + recorder.flops["backward"]
