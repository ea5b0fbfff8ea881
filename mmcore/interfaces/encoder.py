"""An encoder turns views into features.

Letters: N views, P patches of a view, D encoder width, C/H/W channels, height, width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import attrs

from mmcore.interfaces.attention import Attention
from mmcore.interfaces.weights import FilledSpec, LoadReport, Renaming, same_names

if TYPE_CHECKING:
    import torch
    from torch import nn


@attrs.frozen
class PatchGrid:
    """Patches side by side, in reading order: what a token sampler is given of a view."""

    rows: int
    cols: int

    @property
    def patches(self) -> int:
        return self.rows * self.cols

    def __str__(self) -> str:
        return f"{self.rows} x {self.cols}"


@attrs.frozen
class ViewFormat:
    """What an encoder wants to be given: square views of a size, cut into rows x cols patches.

    Attributes:
        size: height and width of a view in pixels.
        patch_rows, patch_cols: the grid of patches that become features, in reading order.
        patch_size: side of a patch in pixels. ``patch_cols * patch_size`` may fall short of
            ``size``; the pixels beyond are not seen.
    """

    size: int
    patch_rows: int
    patch_cols: int
    patch_size: int

    @property
    def patches(self) -> int:
        return self.patch_rows * self.patch_cols

    @property
    def grid(self) -> PatchGrid:
        return PatchGrid(self.patch_rows, self.patch_cols)


class Encoder(Protocol):
    """A torch module: ``pixels_NCHW`` (uint8, 0..255) -> ``features_NPD``.

    It normalises the pixels itself, on the device. Class tokens are dropped: P is the number of
    patches that its spec's view format promises, in reading order.
    """

    def __call__(self, pixels_NCHW: torch.Tensor) -> torch.Tensor: ...


@attrs.frozen(kw_only=True)
class EncoderSpec(FilledSpec):
    """Describes an encoder before it exists."""

    kind: ClassVar[str] = "encoder"

    @property
    @abstractmethod
    def view(self) -> ViewFormat:
        """The views that it wants."""

    @property
    @abstractmethod
    def feature_width(self) -> int:
        """D: width of the features."""

    @abstractmethod
    def build(self, *, attention: Attention) -> nn.Module:
        """A new ``Encoder`` module with initial values, on the default device."""

    @abstractmethod
    def load(self, module: nn.Module) -> LoadReport | None:
        """Fill the module from ``weights``; None where the recipe says "random".

        A folder with the module's own parameter names must do, whatever else it reads.

        Raises:
            WeightsError: the weights are missing or do not fit; the message names the tensors.
        """

    def published(self, names: Sequence[str]) -> Sequence[Renaming]:
        """How the module's parameters correspond to tensors as the encoder's publishers name them;
        every one of ``names`` (all parameters of the module) occurs once."""
        return same_names(names)

    @abstractmethod
    def tiny(self) -> Self:
        """The same component with small widths and random weights, for tests and rehearsals."""

    @abstractmethod
    def thin(self) -> Self:
        """The same component at its full widths and head shapes, but one layer deep and with
        random weights, to rehearse what depends on sizes."""
