"""Foreign weights: what a component wants of a hub, what loading it reports, and how it fails."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from mmcore_registry import Spec


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
