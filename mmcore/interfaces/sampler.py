"""A token sampler turns an encoder's features into tokens for the LLM: the connector.

Letters: N views, P patches of a view, D encoder width, I tokens of an instruction, Q tokens of a
view, E LLM width, B pairs of a picture and a text, W tokens of a text, X width in which both are
compared.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, Self

import attrs

from mmcore.interfaces.attention import Attention
from mmcore.interfaces.encoder import PatchGrid
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


class InstructedSampler(TokenSampler, Protocol):
    """A token sampler whose spec says ``max_instruction`` above 0: it also reads what a picture is
    looked at for.

    It is called without instructions where no picture of a pack has one, and then uses the same
    parameters: so ranks stay in step, whatever their pictures are. A view without an instruction
    becomes the same tokens, whether others have one or not.
    """

    def __call__(
        self,
        features_NPD: torch.Tensor,
        patch_mask_NP: torch.Tensor,
        instruction_NIE: torch.Tensor | None = None,
        instruction_mask_NI: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The LLM's embeddings of every view's instruction, filled up to the longest, and which of
        them are there. They are the user's words in the turn that shows the picture: no answer, and
        no token that is learned anywhere in the pack."""


TOKENS: Final = "tokens"
"""What every token sampler makes, for objectives that reach the LLM."""

CONTRAST: Final = "contrast"
"""Provided: how a picture and a text look to one another (for ITC)."""

MATCH: Final = "match"
"""Provided: whether a text is that of a picture (for ITM)."""

CAPTION: Final = "caption"
"""Provided: how likely a text is, given a picture (for ITG)."""


class PairedSampler(TokenSampler, Protocol):
    """A token sampler that also reads texts, for what its spec ``provides`` beyond tokens.

    Every parameter belongs to the submodule whose forward uses it, so that engines which gather
    weights as modules are entered see them all.
    """

    def provide(
        self,
        wanted: str,
        features_NPD: torch.Tensor,
        patch_mask_NP: torch.Tensor,
        view_B: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """What is ``wanted`` of B pairs: the picture of view ``view_B[b]`` with text b.

        Returns:
            for "contrast" ``picture_BQX`` of unit length and ``text_BX``, a unit vector divided by
            the temperature: likeness is the largest of the Q inner products; for "match"
            ``logits_B2`` of "not the text of this picture", "its text"; for "caption" ``nll_BW``,
            negative log likelihood of every token of the text but its first, and ``spread_BW``,
            the mean of that over all tokens of the vocabulary, were each of them the text's (what
            label smoothing asks for): both 0 at the first and where the mask is False.
        """


class PairText(Protocol):
    """Tokenises the text of a picture for the sampler's own text tower. Can be pickled."""

    def __call__(self, words: str) -> Sequence[int]:
        """Ids, with what the tower puts before and after a text; cut off at the tower's length."""


@attrs.frozen(kw_only=True)
class TokenSamplerSpec(FilledSpec):
    """Describes a token sampler before it exists."""

    kind: ClassVar[str] = "token_sampler"

    @property
    def provides(self) -> frozenset[str]:
        """What objectives may need of it beyond tokens, such as "contrast"; with any of them its
        module is a ``PairedSampler``."""
        return frozenset()

    @property
    def max_pair_text(self) -> int:
        """How many ids ``pair_text`` gives of a text at the most; 0: it reads none."""
        return 0

    def pair_text(self) -> PairText | None:
        """Tokenises the text of a picture for what it ``provides``; needs no torch.

        Raises:
            WeightsError: the tokenizer that the recipe names is missing or cannot be used.
        """
        return None

    def unused(self, names: Sequence[str], needs: frozenset[str]) -> frozenset[str]:
        """Parameters that nothing uses in a stage whose objectives need only so much of it; there
        they are frozen, and do not count as learning.

        Args:
            names: of its module's parameters, adapters included.
            needs: of all objectives together: "tokens" where one reaches the LLM, and some of what
                it ``provides``.
        """
        return frozenset()

    @property
    def needs_grid(self) -> bool:
        """Whether it matters where in the view a patch is, so that it must be given whole views.

        A tiler that regroups the patches of several views cannot be used with such a sampler.
        """
        return False

    @property
    def max_instruction(self) -> int:
        """How many tokens it reads of the instruction of a picture, at the most; 0: it reads none.
        Above, its module is an ``InstructedSampler``."""
        return 0

    @abstractmethod
    def tokens_per_view(self, grid: PatchGrid) -> int:
        """Q: how many tokens a view of these patches becomes.

        A sampler that does not need the grid is also asked about patches that a tiler put
        together from several views; they are in one row.

        Raises:
            ValueError: it cannot take such views; the message says what it wants.
        """

    def compression(self, grid: PatchGrid) -> float:
        """How many patches there are for every token.

        Raises:
            ValueError: it cannot take such views.
        """
        return grid.patches / self.tokens_per_view(grid)

    @abstractmethod
    def build(
        self, *, dim_in: int, dim_out: int, grid: PatchGrid, attention: Attention
    ) -> nn.Module:
        """A new ``TokenSampler``, initialised.

        Args:
            dim_in: D.
            dim_out: E.
            grid: of the views; ``tokens_per_view`` takes it.
            attention: which kernel is used.
        """

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
