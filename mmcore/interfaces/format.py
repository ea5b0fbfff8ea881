"""A format is a foreign kind of checkpoint, read and written beside mmcore's own.

A format knows the foreign files and names, but no component: how a component's parameters are
called by its publishers, the component's own spec says (``published``), and the format puts its
prefixes and peculiarities around these names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias

import attrs

from mmcore.interfaces.weights import Renaming, Tensors
from mmcore_registry import Spec

Tables: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The parts of a model and its ``tiler``, each as the recipe's table of that name."""


class Correspondence(Protocol):
    """How one foreign checkpoint's tensors correspond to ours."""

    def renamed(self, part: str, published: Sequence[Renaming]) -> Sequence[Renaming]:
        """The part's correspondence with its publishers' names made into the checkpoint's."""


class ForeignCheckpoint(Correspondence, Protocol):
    """A foreign checkpoint, open for reading.

    Attributes:
        tensors: everything it holds, read one at a time.
        unused: names of tensors that have no place with us, by intention.
        tokenizer: content of the files that belong beside the LLM's weights, by name.
        files: content of its other small files, by name: an export gives them back.
        shards: in which of its files every tensor lies, where it has several or a name for one.
    """

    @property
    def tensors(self) -> Tensors: ...

    @property
    def unused(self) -> frozenset[str]: ...

    @property
    def tokenizer(self) -> Mapping[str, bytes]: ...

    @property
    def files(self) -> Mapping[str, bytes]: ...

    @property
    def shards(self) -> Mapping[str, str]: ...

    def tables(self) -> Tables:
        """The model and its tiler in a recipe's words."""


@attrs.frozen(kw_only=True)
class OutgoingModel:
    """What a format is told of a model that it is to write.

    Attributes:
        tables: the model and its tiler.
        tokenizer: content of the LLM's tokenizer files, by name.
        files: small files of the foreign checkpoint that the model was imported from, if it was,
            and from this format.
        aside: shapes of what was kept aside when it was imported, by name.
    """

    tables: Tables
    tokenizer: Mapping[str, bytes]
    files: Mapping[str, bytes]
    aside: Mapping[str, tuple[int, ...]]

    @property
    def keeps(self) -> bool:
        """Whether anything was kept aside."""
        return bool(self.aside)


class ForeignLayout(Correspondence, Protocol):
    """A foreign checkpoint that is to be written.

    Attributes:
        files: content of everything but the weights, by name.
        remarks: where those who read this format will compute something else with the model.
    """

    @property
    def files(self) -> Mapping[str, bytes]: ...

    @property
    def remarks(self) -> Sequence[str]: ...


@attrs.frozen(kw_only=True)
class FormatSpec(Spec):
    """Reads and writes one kind of foreign checkpoint."""

    kind: ClassVar[str] = "format"

    @abstractmethod
    def open(
        self, path: Path, recipe: Tables | None, tokenizer: Mapping[str, bytes]
    ) -> AbstractContextManager[ForeignCheckpoint]:
        """The checkpoint at ``path``.

        Args:
            path: a folder or a file.
            recipe: what a recipe says of the model, for checkpoints that do not say it themselves.
            tokenizer: files of the recipe's tokenizer, if it names one.

        Raises:
            WeightsError: it is no such checkpoint, or lacks what is needed to know its model.
        """

    @abstractmethod
    def layout(self, model: OutgoingModel) -> ForeignLayout:
        """How ``model`` is written.

        Raises:
            WeightsError: this format cannot hold such a model; says what is in the way.
        """
