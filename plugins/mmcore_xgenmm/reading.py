"""Open a checkpoint of xGen-MM: a Hugging Face folder, or a file of the training code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from mmcore.interfaces import Renaming, Tables, Tensors, WeightsError
from mmcore.kit.weights import INDEX, open_files, open_tensors, shard_of_tensors
from mmcore_xgenmm import tokenizer as tokens
from mmcore_xgenmm.config import SIZES, Shapes, llm_keys, tables
from mmcore_xgenmm.pickled import open_pickled
from mmcore_xgenmm.weights import (
    ADDED,
    COMPUTED,
    EMBEDDING,
    HUB_PREFIX,
    SplitVocabulary,
    XGenMMNames,
)

CONFIG = "config.json"
KEPT_FILES = (".json", ".model", ".txt", ".jinja")
"""Ends of the names of a folder's small files: configuration and tokenizer. Its README speaks of
its own model, and its programs are never run."""

MOST_UNREAD = 127
"""Tables are rounded up to a multiple of 64 rows, rarely of 128; more unread rows mean that the
tokenizer is another one."""


@attrs.frozen(eq=False)
class XGenMMCheckpoint:
    """See ``mmcore.interfaces.ForeignCheckpoint``."""

    tensors: Tensors
    names: XGenMMNames
    model: Tables
    tokenizer: Mapping[str, bytes]
    files: Mapping[str, bytes]
    shards: Mapping[str, str]

    @property
    def unused(self) -> frozenset[str]:
        return frozenset(name for name in self.tensors.names() if name.endswith(COMPUTED))

    def tables(self) -> Tables:
        return self.model

    def renamed(self, part: str, published: Sequence[Renaming]) -> Sequence[Renaming]:
        return self.names.renamed(part, published)


@contextmanager
def open_folder(
    path: Path, recipe: Tables | None, tokenizer: Mapping[str, bytes]
) -> Iterator[XGenMMCheckpoint]:
    """A folder as released: config.json, safetensors under ``vlm.``, tokenizer.json.

    Raises:
        WeightsError: it is none; says what it lacks.
    """
    config = _config(path)
    own = path / tokens.FILE
    content = tokenizer.get(tokens.FILE) or (own.read_bytes() if own.is_file() else None)
    if content is None:
        raise WeightsError(
            f"weights: {str(path)!r} has no {tokens.FILE}, and no recipe names another tokenizer: "
            "save a fast one there with transformers, or give --recipe with "
            "[model.llm] tokenizer = ..."
        )
    text = config.get("text_config") or {}
    first = text.get("initial_tokenizer_len") or tokens.first_added(content)
    with open_tensors(str(path)) as tensors:
        shapes = Shapes(tensors, HUB_PREFIX)
        if recipe is None:
            shapes.require(SIZES)
        vocabulary = _vocabulary(shapes, first)
        model = tables(config, shapes, vocabulary.ids) if recipe is None else recipe
        yield XGenMMCheckpoint(
            tensors,
            XGenMMNames(vocabulary, HUB_PREFIX, keeps=True),
            _with_llm_keys(model, shapes, vocabulary.ids),
            {tokens.FILE: tokens.completed(content, first)},
            _small_files(path),
            _shards(path),
        )


@contextmanager
def open_file(
    path: Path, recipe: Tables | None, tokenizer: Mapping[str, bytes]
) -> Iterator[XGenMMCheckpoint]:
    """A file of the training code, or a safetensors file of its state dict.

    Raises:
        WeightsError: it is none, or there is no recipe to say its sizes.
    """
    if not path.is_file():
        raise WeightsError(f"weights: no file or folder {str(path)!r}")
    content = tokenizer.get(tokens.FILE)
    if recipe is None or content is None:
        raise WeightsError(
            f"weights: {str(path)!r} says nothing of its model's heads, tiles and tokenizer; give "
            "a recipe that does, with --recipe"
        )
    is_plain = path.suffix == ".safetensors"
    with open_files([path], str(path)) if is_plain else open_pickled(path) as tensors:
        prefix = _prefix(tensors)
        shapes = Shapes(tensors, prefix)
        first = tokens.first_added(content)
        vocabulary = _vocabulary(shapes, first)
        yield XGenMMCheckpoint(
            tensors,
            XGenMMNames(vocabulary, prefix, keeps=True),
            _with_llm_keys(recipe, shapes, vocabulary.ids),
            {tokens.FILE: tokens.completed(content, first)},
            {},
            {},
        )


def _config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"weights: {str(path)!r} has no {CONFIG}") from None
    except ValueError as error:
        raise WeightsError(f"weights: {str(path / CONFIG)!r} is no JSON: {error}") from None
    if not isinstance(config, dict) or "vision_tokenizer_config" not in config:
        raise WeightsError(
            f"weights: {str(path / CONFIG)!r} is none of xGen-MM: it has no "
            "'vision_tokenizer_config'"
        )
    return config


def _vocabulary(shapes: Shapes, first: int) -> SplitVocabulary:
    large, added = shapes.of("llm", EMBEDDING)[0], shapes.of("llm", ADDED[EMBEDDING])[0]
    if not 0 <= large - first <= MOST_UNREAD:
        raise WeightsError(
            f"weights: {shapes.tensors.origin} has a table of {large} embeddings, but its first "
            f"added token would have id {first}: the tokenizer is another model's"
        )
    if added != len(tokens.ADDED):
        raise WeightsError(
            f"weights: {shapes.tensors.origin} has rows for {added} added tokens, wanted "
            f"{len(tokens.ADDED)}: {', '.join(tokens.ADDED)}"
        )
    return SplitVocabulary(first_added=first, added=added, large=large)


def _with_llm_keys(model: Tables, shapes: Shapes, ids: int) -> Tables:
    return {**model, "llm": {**model["llm"], **llm_keys(shapes, ids)}}


def _prefix(tensors: Tensors) -> str:
    """What data-parallel training or the Hugging Face class put before every name."""
    for prefix in ("module.", HUB_PREFIX):
        if all(name.startswith(prefix) for name in tensors.names()):
            return prefix
    return ""


def _small_files(path: Path) -> dict[str, bytes]:
    return {
        one.name: one.read_bytes()
        for one in sorted(path.iterdir())
        if one.is_file() and one.name.endswith(KEPT_FILES) and one.name != INDEX
    }


def _shards(path: Path) -> dict[str, str]:
    index = path / INDEX
    if not index.is_file():
        return {}
    return shard_of_tensors(index)
