"""The torch engine: forward, backward, clip and step on one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import torch
from torch import nn

from mmcore.interfaces import OptimizerSpec, PackedBatch, ParameterGroup, ParameterState, World
from mmcore_engines.moments import create_state, moment_names, set_steps, steps_of
from mmcore_engines.part_norms import norms_by_part
from mmcore_engines.placing import place
from mmcore_engines.restoring import matched
from mmcore_engines.update import clip_and_step, set_learning_rates


class TorchEngine:
    """Float32 weights on one device; matrix products in bfloat16 where ``autocast`` is on."""

    def __init__(
        self,
        *,
        module: nn.Module,
        groups: Sequence[ParameterGroup],
        optimizer: OptimizerSpec,
        world: World,
        autocast: bool,
    ) -> None:
        if world.size > 1:
            raise ValueError(
                f'engine "torch" runs on one process, and this run has {world.size}; '
                'set engine.use = "deepspeed"'
            )
        self._device = torch.device(world.device)
        place(module, self._device)
        self._module = module
        self._parameters = dict(module.named_parameters())
        self._learning = [parameter for group in groups for parameter in group.parameters]
        self._optimizer = optimizer.build(groups)
        self._rates = [group.lr for group in groups]
        self._groups = tuple(groups)
        self._part_norms: dict[str, torch.Tensor] = {}
        self._clip_norm = optimizer.clip_norm
        self._autocast = autocast

    @property
    def device(self) -> torch.device:
        return self._device

    def backward(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
            total, sums = self._module(batch.to(self._device), divisors)
        total.backward()
        return sums  # type: ignore[no-any-return]  # an nn.Module's call is untyped

    @torch.no_grad()
    def evaluate(self, batch: PackedBatch, divisors: Sequence[float]) -> torch.Tensor:
        training = self._module.training
        self._module.eval()
        try:
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._autocast):
                _, sums = self._module(batch.to(self._device), divisors)
        finally:
            self._module.train(training)
        return sums  # type: ignore[no-any-return]  # an nn.Module's call is untyped

    def part_norms(self) -> Mapping[str, torch.Tensor]:
        return self._part_norms

    def step(self, multiplier: float) -> torch.Tensor:
        self._part_norms = norms_by_part(self._groups)
        set_learning_rates(self._optimizer, self._rates, multiplier)
        norms = self._part_norms.values()
        return clip_and_step(self._optimizer, self._learning, self._clip_norm, norms)

    def parameter_states(self, rank: int = 0, ranks: int = 1) -> Iterator[ParameterState]:
        learning = {id(parameter) for parameter in self._learning}
        for name, parameter in list(self._parameters.items())[rank::ranks]:
            if id(parameter) not in learning:
                yield ParameterState(name, _copy(parameter), {}, 0)
                continue
            state = self._optimizer.state.get(parameter, {})
            names = moment_names(self._optimizer, parameter)
            yield ParameterState(
                name,
                _copy(parameter).float(),
                {moment: _copy(state[moment]) for moment in names},
                steps_of(self._optimizer, parameter),
            )

    @torch.no_grad()
    def fill(self, values: Iterable[tuple[str, Callable[[], torch.Tensor]]]) -> None:
        for name, make in values:
            self._parameters[name].copy_(make())

    @torch.no_grad()
    def restore(self, states: Iterable[ParameterState]) -> None:
        create_state(self._optimizer, [group["params"] for group in self._optimizer.param_groups])
        learning = {id(parameter) for parameter in self._learning}
        shapes = {name: parameter.shape for name, parameter in self._parameters.items()}
        for parameter, state in matched(states, self._parameters, shapes):
            parameter.copy_(state.weight)
            if id(parameter) not in learning:
                continue
            for moment in moment_names(self._optimizer, parameter):
                target = self._optimizer.state[parameter][moment]
                if moment in state.moments:
                    target.copy_(state.moments[moment])
                else:
                    target.zero_()
            set_steps(self._optimizer, parameter, state.steps)

    def close(self) -> None:
        """Nothing outlives the engine."""


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)
