"""Hold every tensor of a foreign checkpoint against every parameter of a model, before any is read.

What corresponds to what is tried out on torch's meta device: tensors with shape and dtype, without
numbers. So all faults are known at once, and every file's size before the first byte is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs
import torch

from mmcore.interfaces import PARTS, Correspondence, Renaming, Tensors
from mmcore.kit.names import mismatch
from mmcore.kit.tensor_file import Declared
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import ModelTable


@attrs.frozen(eq=False)
class Pair:
    """A few of our tensors and the foreign ones that hold the same numbers.

    Attributes:
        part: that ours belong to.
        renaming: how they correspond; ours are called as the part calls them.
    """

    part: str
    renaming: Renaming

    @property
    def ours(self) -> tuple[str, ...]:
        """Names within the whole model, what is kept aside included."""
        return tuple(f"{self.part}.{name}" for name in self.renaming.ours)

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.ours[: len(self.renaming.parameters)]

    @property
    def aside(self) -> tuple[str, ...]:
        return self.ours[len(self.renaming.parameters) :]


def pairs_of(
    table: ModelTable, empty: VisionLanguageModel, correspondence: Correspondence
) -> list[Pair]:
    """Every tensor of the model, with its foreign counterpart."""
    found = []
    for part in PARTS:
        names = [name for name, _ in empty.get_submodule(part).named_parameters()]
        published = getattr(table, part).published(names)
        covered = sorted(name for one in published for name in one.parameters)
        assert covered == sorted(names), f"{part}: published() leaves out or repeats a name"
        found += [Pair(part, one) for one in correspondence.renamed(part, published)]
    return found


def shapes(empty: VisionLanguageModel) -> dict[str, Declared]:
    """Every parameter of a model."""
    return {name: Declared(tuple(one.shape), one.dtype) for name, one in empty.named_parameters()}


def check_names(
    tensors: Tensors, pairs: list[Pair], ours: Mapping[str, Declared], unused: frozenset[str]
) -> None:
    """
    Raises:
        WeightsError: foreign tensors are missing, misshapen or without a place; names them all.
    """
    wanted: dict[str, tuple[int, ...]] = {}
    for pair in pairs:
        given = [_blank(ours[name]) for name in pair.parameters]
        theirs = pair.renaming.to_theirs(given)
        wanted |= {
            name: tuple(one.shape) for name, one in zip(pair.renaming.theirs, theirs, strict=True)
        }
    found = {name: tensors.shape(name) for name in tensors.names()}
    if fault := mismatch(tensors.origin, "the model that it describes", wanted, found, unused):
        raise fault


def declared_ours(tensors: Tensors, pairs: list[Pair]) -> dict[str, Declared]:
    """Our tensors, those kept aside included, as the checkpoint's will become them."""
    declared: dict[str, Declared] = {}
    for pair in pairs:
        given = [_blank(Declared(tensors.shape(n), tensors.dtype(n))) for n in pair.renaming.theirs]
        declared |= _named(pair.ours, pair.renaming.to_ours(given))
    return declared


def declared_theirs(tensors: Tensors, pairs: list[Pair]) -> dict[str, Declared]:
    """The foreign tensors as ours will become them; what was kept aside counts where it is."""
    declared: dict[str, Declared] = {}
    for pair in pairs:
        given = [
            _blank(Declared(tensors.shape(name), tensors.dtype(name)))
            for name in present(pair, tensors)
        ]
        declared |= _named(pair.renaming.theirs, pair.renaming.to_theirs(given))
    return declared


def present(pair: Pair, tensors: Tensors) -> tuple[str, ...]:
    """Our names of a pair that are there: what would be kept aside may not be."""
    return (*pair.parameters, *(name for name in pair.aside if name in tensors.names()))


def in_reading_order(pairs: list[Pair]) -> Iterator[Pair]:
    """Part by part, so that a part's files are written one after another."""
    for part in PARTS:
        yield from (pair for pair in pairs if pair.part == part)


def _named(names: tuple[str, ...], tensors: list[torch.Tensor]) -> dict[str, Declared]:
    return {
        name: Declared(tuple(one.shape), one.dtype)
        for name, one in zip(names, tensors, strict=True)
    }


def _blank(one: Declared) -> torch.Tensor:
    return torch.empty(one.shape, dtype=one.dtype, device="meta")
