"""What loading foreign weights reports, and how it fails."""

from __future__ import annotations

import attrs


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
