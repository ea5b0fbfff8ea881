"""A model on disk, whether a run's newest checkpoint or a model folder: tensors one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import attrs
import torch

from mmcore.exchange.model_folder import (
    ASIDE,
    DESCRIPTION,
    ModelFile,
    Origin,
    read_model_file,
    read_origin,
)
from mmcore.interfaces import PARTS, Tensors
from mmcore.kit.weights import check_names, fill_by_name, open_tensors
from mmcore.model.vlm import VisionLanguageModel
from mmcore.recipe import load_recipe
from mmcore.run_folder.folder import CHECKPOINTS, RECIPE
from mmcore.training.checkpoint import Checkpoint, latest, load
from mmcore.training.checkpoint_format import MANIFEST
from mmcore.training.checkpoint_tensors import stored_weights


@attrs.frozen(eq=False)
class Stored:
    """A model that lies in a folder, open for reading.

    Attributes:
        file: what it is.
        tensors: under their names within the whole model; what was kept aside is among them.
        aside: names of what was kept aside.
        origin: the foreign checkpoint that it was imported from, or None.
        tokenizer: content of the LLM's tokenizer files.
        checkpoint: of a run folder, the newest; its adapters, if it has any, are merged into the
            weights among ``tensors``.
    """

    file: ModelFile
    tensors: Tensors
    aside: frozenset[str]
    origin: Origin | None
    tokenizer: Mapping[str, bytes]
    checkpoint: Checkpoint | None = None


@contextmanager
def open_stored(folder: Path) -> Iterator[Stored]:
    """The model of a run folder, of one checkpoint in it, or of a model folder.

    Raises:
        ValueError: it is none of them, or is damaged.
    """
    if (folder / DESCRIPTION).is_file():
        with _open_model_folder(folder) as stored:
            yield stored
        return
    if (folder / MANIFEST).is_file() and (folder.absolute().parents[1] / RECIPE).is_file():
        with _open_checkpoint(load(folder), folder.absolute().parents[1]) as stored:
            yield stored
        return
    if not (folder / RECIPE).is_file():
        raise ValueError(
            f"{str(folder)!r} is no run folder and no model folder: it has neither {RECIPE} nor "
            f"{DESCRIPTION}"
        )
    newest = latest(folder / CHECKPOINTS)
    if newest is None:
        raise ValueError(f"{str(folder)!r} has no checkpoint yet: train it with `mmcore run`")
    with _open_checkpoint(load(newest), folder, last=True) as stored:
        yield stored


@contextmanager
def _open_checkpoint(checkpoint: Checkpoint, folder: Path, last: bool = False) -> Iterator[Stored]:
    """A checkpoint of a run folder, asked as its own stage is, or as the run's ``last`` one."""
    recipe = load_recipe(folder / RECIPE)
    stage = recipe.stages[-1 if last else checkpoint.progress.stage_index]
    file = ModelFile(
        name=recipe.name,
        model=recipe.model,
        tiler=stage.tiler,
        max_tokens=stage.batch.max_tokens,
        max_views=stage.batch.max_views,
        fit=stage.fit,
        precision=recipe.engine.precision,
    )
    tensors = stored_weights(checkpoint)
    yield Stored(file, tensors, frozenset(), None, tokenizer_of(file), checkpoint)


def fill_stored(model: VisionLanguageModel, stored: Stored) -> None:
    """Fill a model's parameters, in their own dtype and on their own device.

    Raises:
        WeightsError: names or shapes differ; names them all.
    """
    fill_by_name(model, stored.tensors, unused=stored.aside)


def values_of(model: VisionLanguageModel, stored: Stored) -> dict[str, Callable[[], torch.Tensor]]:
    """What ``fill_stored`` would fill every parameter with, read when it is asked for, as long as
    ``stored`` is open.

    Raises:
        WeightsError: as ``fill_stored``.
    """
    check_names(model, stored.tensors, unused=stored.aside)
    return {name: partial(stored.tensors.read, name) for name, _ in model.named_parameters()}


def tokenizer_of(file: ModelFile) -> dict[str, bytes]:
    """Content of the files that the LLM's text format is made of."""
    return dict(file.model.llm.tokenizer_files())


@contextmanager
def _open_model_folder(folder: Path) -> Iterator[Stored]:
    file = read_model_file(folder)
    with ExitStack() as stack:
        parts = {
            part: stack.enter_context(open_tensors(str(folder / part)))
            for part in (*PARTS, ASIDE)
            if part != ASIDE or (folder / ASIDE).is_dir()
        }
        aside = parts.pop(ASIDE, None)
        owner = {
            f"{part}.{name}": (tensors, name)
            for part, tensors in parts.items()
            for name in tensors.names()
        }
        kept = {} if aside is None else {name: (aside, name) for name in aside.names()}
        tensors = _Joined(str(folder), {**owner, **kept})
        yield Stored(file, tensors, frozenset(kept), read_origin(folder), tokenizer_of(file))


@attrs.frozen(eq=False)
class _Joined:
    """Tensors of several openings under names of their own."""

    origin: str
    owner: Mapping[str, tuple[Tensors, str]]

    def names(self) -> frozenset[str]:
        return frozenset(self.owner)

    def shape(self, name: str) -> tuple[int, ...]:
        tensors, own = self.owner[name]
        return tensors.shape(own)

    def dtype(self, name: str) -> torch.dtype:
        tensors, own = self.owner[name]
        return tensors.dtype(own)

    def read(self, name: str) -> torch.Tensor:
        tensors, own = self.owner[name]
        return tensors.read(own)
