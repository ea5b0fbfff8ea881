"""A run or a model folder goes out: as a foreign checkpoint, or as a model folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import torch

from mmcore import assemble
from mmcore.exchange import hf_folder, peft_folder
from mmcore.exchange import model_folder as folders
from mmcore.exchange.accounting import (
    Pair,
    declared_theirs,
    in_reading_order,
    pairs_of,
    present,
)
from mmcore.exchange.importing import Incoming
from mmcore.exchange.probe import Answer, ask
from mmcore.exchange.receipt import OnProgress, Receipt, move
from mmcore.exchange.stored import Stored, fill_stored, open_stored
from mmcore.exchange.whole import new_folder
from mmcore.interfaces import PARTS, FormatSpec, OutgoingModel
from mmcore.kit.tensor_file import Declared, shards, tensor_folder
from mmcore_registry import discover

OWN = "mmcore"
"""The format of model folders; every other but transformers' and peft's is a component."""


def export_model(
    source: Path,
    out: Path,
    format_name: str,
    *,
    probe: bool = True,
    on_progress: OnProgress = lambda done, total: None,
) -> Receipt:
    """Write the model of a run folder or a model folder to the new folder ``out``.

    Args:
        source: the run (its newest checkpoint) or the model folder.
        out: made; it must not be there yet.
        format_name: ``mmcore``, ``hf``, ``peft`` (the adapters alone), or the name of a component
            of kind ``format``.
        probe: whether the model is asked, before and after.
        on_progress: told the bytes copied, and the bytes of all.

    Raises:
        ValueError: ``source`` holds no model, ``out`` is there already, or the format cannot hold
            this model.
    """
    receipt = Receipt("export", format_name, str(source), str(out))
    write = OWN_WRITERS.get(format_name, _write_foreign)
    with open_stored(source) as stored, new_folder(out) as writing:
        ask_again = write(writing, stored, receipt, on_progress)
        if probe:
            receipt.before = ask(stored.file, lambda model: fill_stored(model, stored))
            receipt.after = ask_again()
        receipt.write(writing)
    return receipt


def _write_own(
    folder: Path, stored: Stored, receipt: Receipt, on_progress: OnProgress
) -> Callable[[], Answer]:
    """A model folder; the model as it is read back is asked by what is returned."""
    tensors = stored.tensors
    names = {part: _names(part, stored) for part in PARTS}
    if stored.aside:
        names[folders.ASIDE] = {name: name for name in sorted(stored.aside)}
    total = sum(
        Declared(tensors.shape(full), tensors.dtype(full)).bytes
        for group in names.values()
        for full in group.values()
    )
    done = 0
    for place, group in names.items():
        declared = {
            own: Declared(tensors.shape(full), tensors.dtype(full)) for own, full in group.items()
        }
        with tensor_folder(folder / place, declared, shards(declared)) as files:
            for own, full in group.items():
                tensor = tensors.read(full)
                files.write(own, tensor)
                part = full.partition(".")[0]
                receipt.moves.append(move(part, [(full, tensor)], [(full, tensor)]))
                done += tensor.nbytes
                on_progress(done, total)
    if stored.origin is not None:
        folders.write_origin(folder, stored.origin)
    folders.write_model_file(folder, stored.file)
    for name, content in stored.tokenizer.items():
        (folder / "llm" / name).write_bytes(content)
    receipt.aside = tuple(sorted(stored.aside))

    def ask_again() -> Answer:
        with open_stored(folder) as again:
            return ask(again.file, lambda model: fill_stored(model, again))

    return ask_again


def _names(part: str, stored: Stored) -> dict[str, str]:
    """A part's own names of its tensors, and those within the whole model."""
    prefix = f"{part}."
    found = sorted(stored.tensors.names() - stored.aside)
    return {one.removeprefix(prefix): one for one in found if one.startswith(prefix)}


def _write_foreign(
    folder: Path, stored: Stored, receipt: Receipt, on_progress: OnProgress
) -> Callable[[], Answer]:
    """A foreign checkpoint; the model as it would be imported again is asked by what is
    returned."""
    spec = discover().get("format", receipt.format)()
    assert isinstance(spec, FormatSpec)
    kept = stored.origin if _came_from(stored, receipt.format) else None
    outgoing = OutgoingModel(
        tables=folders.tables_of(stored.file.model, stored.file.tiler),
        tokenizer=stored.tokenizer,
        files=kept.files if kept else {},
        aside={
            name.removeprefix("llm."): stored.tensors.shape(name)
            for name in (stored.aside if kept else ())
        },
    )
    layout = spec.layout(outgoing)
    table = attrs.evolve(stored.file.model, attention="sdpa")
    pairs = pairs_of(table, assemble.empty_model(table, 0, torch.device("meta")), layout)
    _copy(folder, stored, pairs, kept.shards if kept else {}, receipt, on_progress)
    for name, content in layout.files.items():
        (folder / name).write_bytes(content)
    receipt.remarks = tuple(layout.remarks)

    def ask_again() -> Answer:
        with spec.open(folder, None, {}) as foreign:
            named = folders.from_tables(stored.file.name, foreign.tables(), str(folder))
            file = folders.with_tokenizer(named, folder)
            return ask(file, Incoming.of(file, foreign).fill, as_asked=stored.file)

    return ask_again


def _came_from(stored: Stored, format_name: str) -> bool:
    return stored.origin is not None and stored.origin.format == format_name


def _copy(
    folder: Path,
    stored: Stored,
    pairs: list[Pair],
    kept: Mapping[str, str],
    receipt: Receipt,
    on_progress: OnProgress,
) -> None:
    """Every foreign tensor, made of ours, into the file in which it lay when it was imported."""
    declared = declared_theirs(stored.tensors, pairs)
    owner = dict(kept) if kept.keys() == declared.keys() else shards(declared)
    total, done = sum(one.bytes for one in declared.values()), 0
    with tensor_folder(folder, declared, owner) as files:
        for pair in in_reading_order(pairs):
            names = present(pair, stored.tensors)
            ours = [stored.tensors.read(name) for name in names]
            theirs = dict(zip(pair.renaming.theirs, pair.renaming.to_theirs(ours), strict=True))
            for name, tensor in theirs.items():
                files.write(name, tensor)
                done += tensor.nbytes
            receipt.moves.append(move(pair.part, zip(names, ours, strict=True), theirs.items()))
            on_progress(done, total)


OWN_WRITERS = {
    OWN: _write_own,
    hf_folder.NAME: hf_folder.write_hf,
    peft_folder.NAME: peft_folder.write_peft,
}
"""Formats that are no components: what they hold is not a whole foreign model."""
