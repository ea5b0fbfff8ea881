"""One pack's forward and backward pass on the meta device: its work, and the memory it takes."""

from __future__ import annotations

from contextlib import ExitStack

import attrs
import torch

from mmcore.interfaces import PackedBatch
from mmcore.kit.attention_on_meta import FusedAttention
from mmcore.planning.autocast import AutocastOnMeta
from mmcore.planning.pack import PackSize, batch_on_meta, tensors_of
from mmcore.planning.recorder import Recorder
from mmcore.training.step_module import TrainingStep


@attrs.frozen
class Work:
    """What one pack costs.

    Attributes:
        forward, backward, recompute: floating-point operations of matrix products, convolutions
            and attention; ``recompute`` is forward work that is done twice: in the backward pass,
            and before the step where its objectives compare all of its samples.
        kept: bytes of activations that wait for the backward pass.
        peak_forward, peak_backward: the most bytes at any moment of the pass, ``kept`` included;
            gradients are counted one at a time.
        batch: bytes of the pack itself.
    """

    forward: int
    backward: int
    recompute: int
    kept: int
    peak_forward: int
    peak_backward: int
    batch: int


def measure(step: TrainingStep, size: PackSize, objectives: int, *, autocast: bool) -> Work:
    """Run a ``TrainingStep`` whose parameters are on the meta device.

    Args:
        step: parameters that learn require a gradient, and no other.
        size: of the pack.
        objectives: how many the step has.
        autocast: whether matrix products run in bfloat16.
    """
    batch = batch_on_meta(size)
    tensors = [*tensors_of(batch), *step.parameters(), *step.buffers()]
    recorder = Recorder(tensors)
    hooks = [
        parameter.register_post_accumulate_grad_hook(_drop)  # type: ignore[no-untyped-call]  # torch
        for parameter in step.parameters()
        if parameter.requires_grad
    ]
    casting = AutocastOnMeta() if autocast else None
    with ExitStack() as stack:
        stack.callback(lambda: [hook.remove() for hook in hooks])
        stack.enter_context(recorder)
        stack.enter_context(FusedAttention())
        if casting is not None:
            stack.enter_context(casting)
        surveyed = _survey(step, batch, objectives, recorder)
        total, _ = step(batch, [1.0] * objectives)
        if casting is not None:
            casting.forget()
        kept, peak_forward = recorder.live, recorder.peak
        recorder.peak = kept
        recorder.in_backward = True
        # Not total.backward(): while torch asks a function mode about that call, modes are off, and
        # what is recomputed inside of it would have other number formats than before.
        torch.autograd.backward(total)
    return Work(
        forward=recorder.flops["forward"] - surveyed,
        backward=recorder.flops["backward"],
        recompute=recorder.flops["recompute"] + surveyed,
        kept=kept,
        peak_forward=peak_forward,
        peak_backward=recorder.peak,
        batch=sum(tensor.nbytes for tensor in tensors_of(batch)),
    )


@torch.no_grad()
def _survey(step: TrainingStep, batch: PackedBatch, objectives: int, recorder: Recorder) -> int:
    """FLOPs of the pack's survey, if the step's objectives compare its samples."""
    if not step.compares:
        return 0
    with step.surveying():
        step(batch, [1.0] * objectives)
    return recorder.flops["forward"]


def _drop(parameter: torch.Tensor) -> None:
    """The engine says itself what it keeps of gradients."""
    parameter.grad = None
