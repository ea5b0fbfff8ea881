"""The DeepSpeed engine: the same contract over many processes, in every ZeRO stage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

import ninja
import torch
from torch import distributed, nn

from mmcore.interfaces import OptimizerSpec, PackedBatch, ParameterGroup, ParameterState, World
from mmcore_engines.part_norms import ZeroGroupNorms, norms_by_part
from mmcore_engines.placing import place, place_shares, value_for_all
from mmcore_engines.releasing import release, release_groups
from mmcore_engines.restoring import matched
from mmcore_engines.update import clip_and_step, set_learning_rates


class Autocast(nn.Module):
    """Runs a module under autocast, so that float32 and bfloat16 tensors mix as in the torch
    engine. DeepSpeed switches off an autocast that is entered outside of its own module."""

    def __init__(self, module: nn.Module, device_type: str) -> None:
        super().__init__()
        self.module = module
        self._device_type = device_type

    def forward(
        self, batch: PackedBatch, divisors: Sequence[float]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.autocast(self._device_type, torch.bfloat16):
            return self.module(batch, divisors)  # type: ignore[no-any-return]  # untyped call


class DeepSpeedEngine:
    """One rank's part of a training run under DeepSpeed.

    DeepSpeed averages gradients over the ranks, and the loss is already divided by counts over
    all of them, so the loss is multiplied by their number. The step ends where ``step`` is
    called.
    """

    def __init__(
        self,
        *,
        module: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: OptimizerSpec,
        world: World,
        zero: int,
        precision: Literal["fp32", "bf16"],
        configuration: Mapping[str, object],
    ) -> None:
        _prepare_process(world)
        import deepspeed

        self._device = torch.device(world.device)
        dtype = torch.bfloat16 if precision == "bf16" and zero > 0 else torch.float32
        self._shapes = {name: one.shape for name, one in module.named_parameters()}
        if zero == 3:
            place_shares(module, self._device, dtype, configuration)
        else:
            place(module, self._device, dtype)
        filled = [group for group in groups if group.parameters]
        self._world = world
        self._zero = zero
        self._clip_norm = optimizer.clip_norm
        self._rates = [group.lr for group in filled]
        self._learning = [parameter for group in filled for parameter in group.parameters]
        self._parameters = dict(module.named_parameters())
        self._wrapped, *_ = deepspeed.initialize(
            model=Autocast(module, self._device.type) if precision == "bf16" else module,
            optimizer=optimizer.build(filled),
            config=dict(configuration),
            dist_init_required=False,
        )
        from mmcore_engines.deepspeed_shards import Shards

        self._shards = Shards(self._wrapped, zero)
        self._groups = filled
        self._part_norms: Mapping[str, torch.Tensor] = {}
        self._group_norms = ZeroGroupNorms(self._wrapped.optimizer, filled, zero)

    @property
    def device(self) -> torch.device:
        return self._device

    def backward(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        total, sums = self._wrapped(batch.to(self._device), divisors)
        self._wrapped.backward(total * self._world.size, scale_wrt_gas=False)
        return sums  # type: ignore[no-any-return]  # deepspeed is untyped

    @torch.no_grad()
    def evaluate(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        training = self._wrapped.training
        self._wrapped.eval()
        try:
            _, sums = self._wrapped(batch.to(self._device), divisors)
        finally:
            self._wrapped.train(training)
        return sums  # type: ignore[no-any-return]  # deepspeed is untyped

    def part_norms(self) -> Mapping[str, torch.Tensor]:
        return self._part_norms

    def step(self, multiplier: float) -> torch.Tensor:
        set_learning_rates(self._shards.optimizer, self._rates, multiplier)
        if self._zero == 0:
            # Without ZeRO there is no guard against a gradient that is not finite: ours is used,
            # and DeepSpeed does no more than reduce.
            self._wrapped.buffered_allreduce_fallback()
            self._part_norms = norms_by_part(self._groups)
            norms = self._part_norms.values()
            return clip_and_step(self._shards.optimizer, self._learning, self._clip_norm, norms)
        self._wrapped.step()
        self._part_norms = self._group_norms.by_part(self._device)
        norm = self._wrapped.get_global_grad_norm()
        return torch.as_tensor(norm, dtype=torch.float32, device=self._device)

    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        learning = {id(parameter) for parameter in self._learning}
        steps = self._shards.steps()
        moments = self._shards.moment_names() if steps else []
        for index, (name, parameter) in enumerate(self._parameters.items()):
            wanted = index % ranks == rank
            learns = id(parameter) in learning
            weight = _copy(self._shards.weight(parameter), wanted)
            copies = {
                one: _copy(self._shards.moment(parameter, one), wanted)
                for one in (moments if learns else [])
            }
            if wanted:
                weight = weight.float() if learns else weight
                yield ParameterState(name, weight, copies, steps if learns else 0)

    @torch.no_grad()
    def fill(self, values: Iterable[tuple[str, Callable[[], torch.Tensor]]]) -> None:
        learning = {id(parameter) for parameter in self._learning}
        for name, make in values:
            parameter = self._parameters[name]
            # What learns keeps every digit in the optimizer's float32 weights.
            dtype = torch.float32 if id(parameter) in learning else parameter.dtype
            value = value_for_all(make, self._shapes[name], dtype, self._device, self._world)
            self._shards.set_weight(parameter, value)

    @torch.no_grad()
    def restore(self, states: Iterable[ParameterState]) -> None:
        learning = {id(parameter) for parameter in self._learning}
        names = self._shards.moment_names()
        steps: dict[int, str] = {}
        for parameter, state in matched(states, self._parameters, self._shapes):
            self._shards.set_weight(parameter, state.weight)
            if id(parameter) not in learning:
                continue
            steps.setdefault(state.steps, state.name)
            for name in names:
                value = state.moments.get(name)
                if value is None:
                    value = torch.zeros(state.weight.shape)
                self._shards.set_moment(parameter, name, value)
        if len(steps) > 1:
            told = ", ".join(f"{name!r} {count}" for count, name in steps.items())
            raise ValueError(f"DeepSpeed counts updates once for all parameters, had: {told}")
        self._shards.set_steps(next(iter(steps), 0))

    def close(self) -> None:
        """DeepSpeed's hooks and registries would keep everything alive beside the next engine, and
        the ranks' group beyond the end of Python."""
        self._wrapped.destroy()
        self._group_norms.close()
        self._groups = []
        release(self._wrapped.module, self._wrapped.optimizer, self._shards.optimizer)
        self._learning, self._parameters = [], {}
        release_groups(self._wrapped)


def _prepare_process(world: World) -> None:
    """What must be so before deepspeed is imported: accelerator, compiler's helper, group."""
    on_cpu = torch.device(world.device).type == "cpu"
    if on_cpu:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    os.environ.setdefault("LOCAL_RANK", str(world.local_rank))  # srun, or no launcher at all
    if shutil.which("ninja") is None:
        os.environ["PATH"] = os.pathsep.join([ninja.BIN_DIR, os.environ.get("PATH", "")])
    if not distributed.is_initialized():
        assert world.size == 1, "torch.distributed must run before an engine for many processes"
        backend = "gloo" if on_cpu else "nccl"
        store = torch._C._distributed_c10d.HashStore()
        distributed.init_process_group(backend, store=store, rank=0, world_size=1)


def _copy(tensor: torch.Tensor, wanted: bool) -> torch.Tensor:
    """On the host; of what only other ranks want, nothing: gathering it was all they needed."""
    return tensor.detach().to("cpu", copy=True) if wanted else torch.empty(0)
