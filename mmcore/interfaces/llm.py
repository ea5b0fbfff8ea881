"""An LLM reads embeddings and predicts tokens; it owns tokenizer and chat format.

Letters: T packed tokens, E LLM width, V vocabulary, L labelled positions, B prompts, J tokens so
far, I of them new.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, runtime_checkable

import attrs

from mmcore.interfaces.attention import Attention, PackedLayout
from mmcore.interfaces.text import TextFormat
from mmcore.interfaces.weights import FilledSpec, LoadReport, Renaming, same_names

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import Cache


@attrs.frozen(eq=False)
class Teacher:
    """What another model, or the same one with its adapters off, makes of some positions.

    Attributes:
        h_LE: its hidden states there, without a graph; its width may be another one.
        logits: its output layer, ``h_LE -> logits_LV`` for a few positions at once; None where
            that is the very head that is asked.
        temperature: by which both models' logits are divided.
    """

    h_LE: torch.Tensor
    logits: Callable[[torch.Tensor], torch.Tensor] | None = None
    temperature: float = 1.0


class Head(Protocol):
    """The output layer as a module that is entered once per pack.

    With targets: ``h_LE, targets_L -> nll_L`` (float32 negative log likelihoods), made in chunks
    so that the logits of all positions never exist at once. With a teacher:
    ``h_LE -> kl_L``, the divergence ``KL(teacher || this)`` over the vocabulary (float32), made in
    chunks as well, the teacher's logits too; an objective may ask for both. With neither:
    ``h_LE -> logits_LV``.
    """

    def __call__(
        self,
        h_LE: torch.Tensor,
        targets_L: torch.Tensor | None = None,
        *,
        teacher: Teacher | None = None,
    ) -> torch.Tensor: ...


class LLM(Protocol):
    """A torch module: ``x_TE, layout -> h_TE`` (after the final norm), plus embedding and head."""

    def __call__(self, x_TE: torch.Tensor, layout: PackedLayout) -> torch.Tensor: ...

    @property
    def head(self) -> Head: ...

    def embed(self, input_ids_T: torch.Tensor) -> torch.Tensor:
        """``input_ids_T -> x_TE``."""

    def generate(
        self,
        x_BTE: torch.Tensor,
        mask_BT: torch.Tensor,
        *,
        max_new_tokens: int,
        stop_ids: Collection[int],
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> list[Sequence[int]]:
        """Continue B left-padded prompts; new ids only, stop id left out. 0 means greedy."""


@runtime_checkable
class ExtendingLLM(Protocol):
    """What an LLM can do besides, so that transformers' own ``generate`` can drive it."""

    def extend(self, x_BIE: torch.Tensor, mask_BJ: torch.Tensor, cache: Cache) -> torch.Tensor:
        """Hidden states ``h_BIE`` of embeddings that follow those in the cache, which grows.

        Args:
            x_BIE: the new embeddings.
            mask_BJ: True where a left-padded prompt has a token, of old and new ones.
            cache: of transformers, with the J - I old ones.
        """


@attrs.frozen(kw_only=True)
class LLMSpec(FilledSpec):
    """Describes an LLM before it exists."""

    kind: ClassVar[str] = "llm"

    @property
    @abstractmethod
    def embedding_width(self) -> int:
        """E: width of the embeddings."""

    @property
    @abstractmethod
    def context(self) -> int:
        """Longest sequence that it was made for, in tokens."""

    @abstractmethod
    def text(self) -> TextFormat:
        """Tokenizer and chat format; needs no torch.

        Raises:
            WeightsError: the tokenizer's files are missing.
        """

    def tokenizer_files(self) -> Mapping[str, bytes]:
        """Content of the files that ``text`` (and what else the spec reads) is made of, by the
        names under which it looks for them beside its weights.

        Raises:
            WeightsError: they are missing.
        """
        return {}

    @abstractmethod
    def build(self, *, attention: Attention) -> nn.Module:
        """A new ``LLM`` module with initial values, on the default device."""

    @abstractmethod
    def load(self, module: nn.Module) -> LoadReport | None:
        """Fill the module from ``weights``; None where the recipe says "random".

        A folder with the module's own parameter names must do, whatever else it reads.

        Raises:
            WeightsError: the weights are missing or do not fit; the message names the tensors.
        """

    def published(self, names: Sequence[str]) -> Sequence[Renaming]:
        """How the module's parameters correspond to tensors as the LLM's publishers name them;
        every one of ``names`` (all parameters of the module) occurs once."""
        return same_names(names)

    @abstractmethod
    def tiny(self) -> Self:
        """The same component with small widths and random weights, for tests and rehearsals."""

    @abstractmethod
    def thin(self) -> Self:
        """The same component at its full widths and head shapes, but one layer deep and with
        random weights, to rehearse what depends on sizes."""
