"""Weights that come from elsewhere: what a component wants of a hub, how names correspond, what
loading reports, how it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from mmcore_registry import Spec

if TYPE_CHECKING:
    import torch

    Conversion: TypeAlias = Callable[[list[torch.Tensor]], list[torch.Tensor]]


class WeightsError(ValueError):
    """Weights are missing, or do not fit the module that is to hold them."""


@attrs.frozen
class LoadReport:
    """What happened to every tensor of a component and of the file it was filled from.

    Attributes:
        origin: the folder or hub id.
        loaded: names of the component's tensors that were filled.
        new: names of the component's tensors that keep their initial values, by intention.
        unused: names in the file that have no place here, by intention.
    """

    origin: str
    loaded: tuple[str, ...]
    new: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


class Tensors(Protocol):
    """Opened weight files: names, and one tensor at a time.

    Attributes:
        origin: what was opened, as its user calls it.
    """

    @property
    def origin(self) -> str: ...

    def names(self) -> frozenset[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def dtype(self, name: str) -> torch.dtype: ...

    def read(self, name: str) -> torch.Tensor: ...


def _unchanged(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    return tensors


@attrs.frozen
class Renaming:
    """A few tensors of ours and the tensors of theirs that hold the same numbers, both ways.

    The conversions move numbers about and compute none, so that going there and back changes
    nothing. They also work on tensors without numbers (torch's meta device).

    Attributes:
        ours, theirs: names, in the order of the tensors that the conversions take and give.
        to_ours, to_theirs: the conversions.
        aside: the last ``aside`` names of ``ours`` are no parameters: what a module has no place
            for, kept so that nothing is lost. ``to_theirs`` also works without them.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    to_ours: Conversion = _unchanged
    to_theirs: Conversion = _unchanged
    aside: int = 0

    @property
    def parameters(self) -> tuple[str, ...]:
        """``ours`` without what is kept aside."""
        return self.ours[: len(self.ours) - self.aside]


def same_names(names: Sequence[str]) -> tuple[Renaming, ...]:
    """The correspondence of a component that calls its tensors as their publishers do."""
    return tuple(Renaming((name,), (name,)) for name in names)


@attrs.frozen
class Wanted:
    """Files of one hub repository that a component reads.

    Attributes:
        key: the key of the component's table that names the repository.
        hub_id: ``hf://owner/name[@revision]``.
        files: patterns of file names in the repository's root, such as ``*.safetensors``; never
            pickles.
        needed: those of the patterns that must match something.
    """

    key: str
    hub_id: str
    files: tuple[str, ...]
    needed: tuple[str, ...]


@attrs.frozen(kw_only=True)
class FilledSpec(Spec):
    """A component that may start from somebody else's weights."""

    def wants(self) -> Iterator[Wanted]:
        """What ``mmcore fetch`` brings; ``mmcore.kit.weights.wanted`` says it in one line."""
        yield from ()

    def decays(self, parameter: str) -> bool | None:
        """Whether weight decay is for this parameter, if its module does not say it by itself.

        The rule, for which None stands: weights of linear layers and convolutions decay; norms,
        biases, embeddings, latents and all other bare parameters do not.

        Args:
            parameter: its name in the component's module.
        """
        return None
