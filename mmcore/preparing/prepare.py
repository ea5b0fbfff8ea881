"""Go through the pairs of a stage, ask a model about them, and write down what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import torch

from mmcore import assemble
from mmcore.exchange import open_stored
from mmcore.frozen import load_frozen
from mmcore.preparing.asking import Reference
from mmcore.preparing.maker import Counts, Maker, Noised
from mmcore.preparing.work import DONE, Work, begin, receipt, receipt_path
from mmcore.recipe.write import to_plain
from mmcore.run_folder.folder import locked, write_whole

FORMAT = 1
"""Of the folder's description."""

LOCK = ".lock"

PIECE = 64 * 1024 * 1024
"""Bytes that are hashed at once."""

ELSEWHERE = ("path", "share", "limit", "synthetic", "features")
"""Keys of a source that do not change what a row becomes; which rows there are is said beside."""


def prepare_dpo(
    work: Work,
    model: Path,
    folder: Path,
    *,
    noise: Noised | None = None,
    seed: int = 0,
    device: str = "cpu",
    on_rows: Callable[[str, int], None] = lambda what, rows: None,
) -> Counts:
    """Write the pairs of a stage with the model's log-probabilities of their answers into
    ``folder``; and, with ``noise``, further pairs whose worse answer the model gave to noised
    pictures. What is done there already is not done again.

    Args:
        work: which pairs, and how they become tokens.
        model: a run folder, a checkpoint or a model folder.
        noise: None for no further pairs.
        seed: of the noise.
        device: where the model computes.
        on_rows: told of what how many more rows are done.

    Raises:
        PrepareError: the folder was begun with something else.
        FrozenModelError, WeightsError: the model does not read what the recipe's reads.
        DataFault: a source cannot be read.
    """
    with locked(folder, LOCK, otherwise="name another folder with -o"):
        begin(folder, _described(work, model, noise, seed))
        (folder / DONE).mkdir(exist_ok=True)
        total, maker = Counts(), None
        for unit in work.units:
            table = receipt(folder, unit)
            if table is None:
                # Where all is done, no weights are read.
                maker = maker or Maker(_reference(work, model, device), folder, noise, seed)
                table = attrs.asdict(maker.make(unit))
                write_whole(receipt_path(folder, unit), json.dumps(table) + "\n")
            total += Counts.from_json(table)
            on_rows(f"{unit.reader.label}:{unit.shard.name}", unit.rows)
        return total


def _reference(work: Work, model: Path, device: str) -> Reference:
    where = torch.device(device)
    text = work.recipe.model.llm.text()
    return Reference(
        model=load_frozen(work.recipe, model, where),
        preparer=assemble.preparer(work.recipe.model, work.stage, text),
        device=where,
        precision=work.recipe.engine.precision,
        context=work.recipe.model.llm.context,
    )


def _described(work: Work, model: Path, noise: Noised | None, seed: int) -> dict[str, Any]:
    """All that the files depend on."""
    stage = work.stage
    rows: dict[str, dict[str, int]] = {}
    sources: dict[str, object] = {}
    for unit in work.units:
        shards = rows.setdefault(unit.reader.label, {})
        keys = to_plain(unit.reader.spec).items()
        sources[unit.reader.label] = {key: value for key, value in keys if key not in ELSEWHERE}
        shards[unit.shard.name] = shards.get(unit.shard.name, 0) + unit.rows
    return {
        "format": FORMAT,
        "stage": stage.name,
        **_identity(model),
        "precision": work.recipe.engine.precision,
        "tiler": to_plain(stage.tiler),
        "fit": stage.fit,
        "max_tokens": stage.batch.max_tokens,
        "max_views": stage.batch.max_views,
        "noise": None if noise is None else {**attrs.asdict(noise), "seed": seed},
        "rows_per_file": work.rows_per_file,
        "sources": sources,
        "rows": rows,
    }


def _identity(model: Path) -> dict[str, str]:
    """Which weights they are: a checkpoint's manifest, which holds the hash of every file, or all
    that is in a model folder."""
    digest = hashlib.blake2b(digest_size=16)
    with open_stored(model) as stored:
        if stored.checkpoint is not None:
            files = [one for one in stored.checkpoint.path.iterdir() if one.suffix == ".json"]
        else:
            files = [one for one in model.rglob("*") if one.is_file()]
        for one in sorted(files):
            digest.update(f"{one.name}/{one.stat().st_size}/".encode())
            with one.open("rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
        return {"model": stored.file.name, "weights": digest.hexdigest()}
