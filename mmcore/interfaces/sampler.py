"""A token sampler turns an encoder's features into tokens for the LLM: the connector.

Letters: N views, P patches of a view, D encoder width, Q tokens of a view, E LLM width.
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


class TokenSampler(Protocol):
    """A torch module: ``features_NPD, patch_mask_NP`` -> ``tokens_NQE``.

    Q is what its spec's ``tokens_per_view`` promises. A view whose mask is all False still gives
    finite tokens.
    """

    def __call__(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor: ...


@attrs.frozen(kw_only=True)
class TokenSamplerSpec(FilledSpec):
    """Describes a token sampler before it exists."""

    kind: ClassVar[str] = "token_sampler"
    provides: ClassVar[frozenset[str]] = frozenset()
    """What objectives may need of it beyond tokens."""

    @abstractmethod
    def tokens_per_view(self, patches: int) -> int:
        """Q: how many tokens a view of ``patches`` patches becomes."""

    @abstractmethod
    def build(self, *, dim_in: int, dim_out: int, attention: Attention) -> nn.Module:
        """A new ``TokenSampler`` from width ``dim_in`` (D) to ``dim_out`` (E), initialised."""

    @abstractmethod
    def load(self, module: nn.Module) -> LoadReport | None:
        """Fill the module from ``weights``; None where the recipe says "random".

        A folder with the module's own parameter names must do, whatever else it reads.

        Raises:
            WeightsError: the weights are missing or do not fit; the message names the tensors.
        """

    def published(self, names: Sequence[str]) -> Sequence[Renaming]:
        """How the module's parameters correspond to tensors as the sampler's publishers name them;
        every one of ``names`` (all parameters of the module) occurs once."""
        return same_names(names)

    @abstractmethod
    def tiny(self) -> Self:
        """The same component with small widths, for tests and rehearsals."""

    @abstractmethod
    def thin(self) -> Self:
        """The same component at its full widths and head shapes, but one layer deep, to rehearse
        what depends on sizes."""
