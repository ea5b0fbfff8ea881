"""Check the states of a checkpoint against the module that takes them, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn

from mmcore.interfaces import ParameterState


def matched(
    states: Iterable[ParameterState],
    parameters: Mapping[str, nn.Parameter],
    shapes: Mapping[str, torch.Size],
) -> Iterator[tuple[nn.Parameter, ParameterState]]:
    """Every state with its parameter, in the order of the states.

    Raises:
        ValueError: a state has no parameter, or another shape; or, at the end, a parameter had
            no state. The message names it.
    """
    missing = set(parameters)
    for state in states:
        parameter = parameters.get(state.name)
        if parameter is None:
            raise ValueError(f"the checkpoint holds {state.name!r}, which the model does not have")
        if state.weight.shape != shapes[state.name]:
            raise ValueError(
                f"{state.name!r} has shape {tuple(state.weight.shape)} in the checkpoint, "
                f"{tuple(shapes[state.name])} in the model"
            )
        missing.discard(state.name)
        yield parameter, state
    if missing:
        names = ", ".join(sorted(missing)[:5])
        raise ValueError(f"the checkpoint lacks {len(missing)} parameters of the model: {names}")
