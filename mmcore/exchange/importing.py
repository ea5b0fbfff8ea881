"""A foreign checkpoint becomes a model folder: checked whole, then copied a tensor at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import attrs
import torch
from torch import nn

from mmcore import assemble
from mmcore.exchange import model_folder as folders
from mmcore.exchange.accounting import (
    Pair,
    check_names,
    declared_ours,
    in_reading_order,
    pairs_of,
    shapes,
)
from mmcore.exchange.probe import Answer, ask
from mmcore.exchange.receipt import OnProgress, Receipt, move
from mmcore.exchange.stored import fill_stored, open_stored
from mmcore.exchange.whole import new_folder
from mmcore.interfaces import PARTS, ForeignCheckpoint, FormatSpec, Tables, WeightsError
from mmcore.kit.tensor_file import Declared, TensorFolder, shards, tensor_folder
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import Recipe
from mmcore_registry import discover


def import_checkpoint(
    format_name: str,
    path: Path,
    out: Path,
    *,
    recipe: Recipe | None = None,
    probe: bool = True,
    on_progress: OnProgress = lambda done, total: None,
) -> Receipt:
    """Make the model folder ``out`` of the foreign checkpoint at ``path``.

    One tensor (or the few that become one) is in memory at a time; for the fixed inputs of the
    receipt, the model is built twice, one after the other.

    Args:
        format_name: of a component of kind ``format``.
        path: the foreign folder or file.
        out: made; it must not be there yet.
        recipe: says the model where the checkpoint does not, and gives the weights of a part that
            the checkpoint leaves out.
        probe: whether the model is asked, before and after.
        on_progress: told how far the copying is.

    Raises:
        WeightsError: the checkpoint is none of this format, or does not fit; names all that is
            missing, misshapen or without a place.
        ValueError: ``out`` is there already, or the tables describe no model.
    """
    spec = discover().get("format", format_name)()
    assert isinstance(spec, FormatSpec)
    tables, tokenizer = _of_recipe(recipe)
    receipt = Receipt("import", format_name, str(path), str(out))
    with spec.open(path, tables, tokenizer) as foreign, new_folder(out) as writing:
        file = folders.from_tables(out.name, foreign.tables(), str(path))
        incoming = Incoming.of(file, foreign, recipe)
        _write(writing, incoming, receipt, on_progress)
        origin = folders.Origin(format_name, foreign.shards, foreign.files)
        folders.write_origin(writing, origin)
        folders.write_model_file(writing, file)
        for name, content in foreign.tokenizer.items():
            (writing / "llm" / name).write_bytes(content)
        if probe:
            receipt.after = _ask_folder(writing)
            # The folder describes the model; the numbers are the checkpoint's own.
            receipt.before = ask(folders.read_model_file(writing), incoming.fill)
        receipt.write(writing)
    return receipt


@attrs.frozen(eq=False)
class Incoming:
    """A foreign checkpoint held against the model that it describes.

    Attributes:
        foreign: the checkpoint.
        pairs: its tensors and ours.
        ours: our parameters.
        elsewhere: parts that it leaves out, as modules that hold their weights, and the place these
            came from.
    """

    foreign: ForeignCheckpoint
    pairs: list[Pair]
    ours: Mapping[str, Declared]
    elsewhere: Mapping[str, tuple[nn.Module, str]]

    @classmethod
    def of(
        cls, file: folders.ModelFile, foreign: ForeignCheckpoint, recipe: Recipe | None = None
    ) -> Incoming:
        """
        Raises:
            WeightsError: tensors are missing, misshapen or without a place; names them all.
        """
        table = attrs.evolve(file.model, attention="sdpa")
        empty = assemble.empty_model(table, 0, torch.device("meta"))
        pairs = pairs_of(table, empty, foreign)
        names = foreign.tensors.names()
        present = {pair.part for pair in pairs if names & set(pair.renaming.theirs)}
        elsewhere = _from_recipe(recipe, [part for part in PARTS if part not in present])
        pairs = [pair for pair in pairs if pair.part not in elsewhere]
        ours = shapes(empty)
        check_names(foreign.tensors, pairs, ours, foreign.unused)
        _check_shapes(elsewhere, ours)
        return cls(foreign, pairs, ours, elsewhere)

    @torch.no_grad()
    def fill(self, model: VisionLanguageModel) -> None:
        """Put the checkpoint's numbers into a model without a detour by files."""
        parameters = dict(model.named_parameters())
        for pair in self.pairs:
            tensors = pair.renaming.to_ours(
                [self.foreign.tensors.read(name) for name in pair.renaming.theirs]
            )
            for name, tensor in zip(pair.parameters, tensors, strict=False):
                parameters[name].copy_(tensor)
        for part, (module, _) in self.elsewhere.items():
            for name, tensor in module.named_parameters():
                parameters[f"{part}.{name}"].copy_(tensor)


def _of_recipe(recipe: Recipe | None) -> tuple[Tables | None, Mapping[str, bytes]]:
    if recipe is None:
        return None, {}
    tables = folders.tables_of(recipe.model, recipe.stages[-1].tiler)
    return tables, recipe.model.llm.tokenizer_files()


def _from_recipe(recipe: Recipe | None, absent: list[str]) -> dict[str, tuple[nn.Module, str]]:
    """The parts that the checkpoint leaves out, where the recipe says whose weights they have.

    The training code leaves the frozen encoder out of its files.
    """
    found: dict[str, tuple[nn.Module, str]] = {}
    for part in absent if recipe is not None else []:
        assert recipe is not None
        table = recipe.model
        spec = getattr(table, part)
        sizes = {
            "dim_in": table.encoder.feature_width,
            "dim_out": table.llm.embedding_width,
            "grid": table.encoder.view.grid,
        }
        module = spec.build(attention="sdpa", **(sizes if part == "token_sampler" else {}))
        if (report := spec.load(module)) is not None:
            found[part] = (module, report.origin)
    return found


def _check_shapes(
    elsewhere: Mapping[str, tuple[nn.Module, str]], ours: Mapping[str, Declared]
) -> None:
    for part, (module, origin) in elsewhere.items():
        for name, parameter in module.named_parameters():
            wanted = ours[f"{part}.{name}"].shape
            if tuple(parameter.shape) != wanted:
                raise WeightsError(
                    f"weights: {origin} has {name} with shape {list(parameter.shape)}, the model "
                    f"wants {list(wanted)}"
                )


def _write(folder: Path, incoming: Incoming, receipt: Receipt, on_progress: OnProgress) -> None:
    """All parts and what is kept aside, each in files of its own."""
    declared = declared_ours(incoming.foreign.tensors, incoming.pairs)
    aside = {name for pair in incoming.pairs for name in pair.aside}
    total = sum(one.bytes for one in declared.values())
    done = 0
    with ExitStack() as stack:
        kept = {name: one for name, one in declared.items() if name in aside}
        beside = stack.enter_context(_open(folder / folders.ASIDE, kept)) if kept else None
        parts = {
            part: stack.enter_context(_open(folder / part, _below(part, declared, aside)))
            for part in PARTS
            if part not in incoming.elsewhere
        }
        for pair in in_reading_order(incoming.pairs):
            theirs = [incoming.foreign.tensors.read(name) for name in pair.renaming.theirs]
            tensors = dict(zip(pair.ours, pair.renaming.to_ours(theirs), strict=True))
            for name, tensor in tensors.items():
                if name in aside:
                    assert beside is not None
                    beside.write(name, tensor)
                else:
                    parts[pair.part].write(name.removeprefix(f"{pair.part}."), tensor)
                done += tensor.nbytes
            receipt.moves.append(
                move(pair.part, zip(pair.renaming.theirs, theirs, strict=True), tensors.items())
            )
            on_progress(done, total)
    _write_elsewhere(folder, incoming, receipt)
    receipt.unused = tuple(sorted(incoming.foreign.unused))
    receipt.aside = tuple(sorted(aside))


def _write_elsewhere(folder: Path, incoming: Incoming, receipt: Receipt) -> None:
    for part, (module, origin) in incoming.elsewhere.items():
        tensors = {name: one.detach() for name, one in module.named_parameters()}
        declared = {name: Declared(tuple(one.shape), one.dtype) for name, one in tensors.items()}
        with _open(folder / part, declared) as files:
            for name, tensor in tensors.items():
                files.write(name, tensor)
                receipt.moves.append(move(part, (), [(f"{part}.{name}", tensor)]))
        receipt.new[part] = origin


def _below(part: str, declared: Mapping[str, Declared], aside: set[str]) -> dict[str, Declared]:
    """A part's own parameters, under the part's own names."""
    return {
        name.removeprefix(f"{part}."): one
        for name, one in declared.items()
        if name.startswith(f"{part}.") and name not in aside
    }


def _open(folder: Path, declared: Mapping[str, Declared]) -> AbstractContextManager[TensorFolder]:
    return tensor_folder(folder, declared, shards(declared))


def _ask_folder(folder: Path) -> Answer:
    with open_stored(folder) as stored:
        return ask(stored.file, lambda model: fill_stored(model, stored))
