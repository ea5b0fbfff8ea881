"""A model in mmcore's own form: a folder with its description and the weights of every part.

``model.toml`` holds the recipe's ``[model]`` and the tiler; ``encoder/``, ``token_sampler/`` and
``llm/`` hold safetensors under the parts' own names, the last also the tokenizer, so that each of
them serves as ``weights`` in a recipe. Paths in ``model.toml`` that begin with ``./`` are beside
it: a folder can be moved.

What a foreign checkpoint had beyond that is kept, so that an export can give it back: tensors that
no part has a place for in ``aside/``, its small files and the layout of its shards in ``origin/``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import tomli_w

from mmcore.interfaces import PARTS, Tables, TilerSpec
from mmcore.recipe import Fault, ModelTable, RecipeError
from mmcore.recipe.inherit import read_toml
from mmcore.recipe.structure import structure
from mmcore.recipe.tree import Node, Place, grow
from mmcore.recipe.write import to_plain
from mmcore_registry import Spec, discover, doc

DESCRIPTION = "model.toml"
ASIDE, ORIGIN, LAYOUT = "aside", "origin", "layout.json"
RECEIPT = "receipt.json"
FORMAT = 1
"""The version of the folder that this mmcore reads and writes."""

BESIDE = "./"
VIEWS = 64
"""What a pack of questions holds, unless one picture takes more."""


@attrs.frozen(kw_only=True)
class ModelFile:
    """What ``model.toml`` says: a model, and how pictures and questions are shown to it."""

    format: int = attrs.field(default=FORMAT, metadata=doc("version of the folder"))
    name: str = attrs.field(metadata=doc("what the model is called"))
    model: ModelTable = attrs.field(metadata=doc("the parts of the model"))
    tiler: TilerSpec = attrs.field(metadata=doc("cuts pictures into views"))
    max_tokens: int = attrs.field(metadata=doc("what a pack of questions holds", unit="tokens"))
    max_views: int = attrs.field(metadata=doc("what a pack of questions holds", unit="views"))
    fit: Literal["shrink", "reject"] = attrs.field(
        default="shrink", metadata=doc("what happens to a sample with too many views")
    )
    precision: str = attrs.field(default="fp32", metadata=doc("number format of matrix products"))

    @format.validator
    def _known(self, _: object, value: int) -> None:
        if value != FORMAT:
            raise ValueError(f"format is {value}, this mmcore reads format {FORMAT} and no other")


def from_tables(name: str, tables: Tables, origin: str) -> ModelFile:
    """A model as a foreign checkpoint describes it, in a recipe's words.

    Args:
        name: what it is called.
        tables: parts and tiler.
        origin: for messages.

    Raises:
        RecipeError: the tables describe no model; says all that is wrong.
    """
    parts = {part: dict(tables[part]) for part in PARTS}
    text = {"name": name, "model": parts, "tiler": dict(tables["tiler"])}
    root = grow({**text, "max_tokens": 1, "max_views": 1}, Place(f"model of {origin}"), {})
    file = _structured(root)
    tokens = file.model.token_sampler.tokens_per_view(file.model.encoder.view.grid)
    return attrs.evolve(
        file,
        max_tokens=max(file.model.llm.context, tokens * file.tiler.max_groups + 1),
        max_views=max(VIEWS, file.tiler.max_views),
    )


def tables_of(model: ModelTable, tiler: TilerSpec) -> Tables:
    """A model and its tiler in a recipe's words, every default filled in."""
    specs: dict[str, Spec] = {part: getattr(model, part) for part in PARTS}
    return {name: to_plain(spec) for name, spec in {**specs, "tiler": tiler}.items()}


def at_home(file: ModelFile) -> ModelFile:
    """The model as its own folder describes it: weights and tokenizer lie beside."""
    parts = {}
    for part in PARTS:
        spec = getattr(file.model, part)
        keys = {field.name for field in attrs.fields(type(spec))}
        moved = {"weights": f"{BESIDE}{part}", "tokenizer": "", "config": "", "chat_template": ""}
        parts[part] = attrs.evolve(spec, **{k: v for k, v in moved.items() if k in keys})
    return attrs.evolve(file, model=attrs.evolve(file.model, **parts))


def with_tokenizer(file: ModelFile, folder: Path) -> ModelFile:
    """The model with the tokenizer that lies in ``folder``, where its LLM has a key for one."""
    llm = file.model.llm
    if "tokenizer" not in {field.name for field in attrs.fields(type(llm))}:
        return file
    moved = attrs.evolve(llm, **{"tokenizer": str(folder)})
    return attrs.evolve(file, model=attrs.evolve(file.model, llm=moved))


def write_model_file(folder: Path, file: ModelFile) -> None:
    """Put ``model.toml`` into a folder that holds, or will hold, the weights."""
    text = tomli_w.dumps(to_table(file))
    (folder / DESCRIPTION).write_text(text, encoding="utf-8")


def read_model_file(folder: Path) -> ModelFile:
    """What ``model.toml`` says, with the paths beside it made whole.

    Raises:
        RecipeError: it is missing, or malformed; says all that is wrong.
    """
    return _structured(_beside(read_toml(folder / DESCRIPTION), folder))


def to_table(file: ModelFile) -> dict[str, Any]:
    """What ``model.toml`` says, as plain values for another file in the same folder."""
    plain: dict[str, Any] = to_plain(at_home(file))
    return plain


def from_table(table: Mapping[str, Any], folder: Path) -> ModelFile:
    """The opposite of ``to_table``, for a folder that may have moved since.

    Raises:
        RecipeError: the table describes no model; says all that is wrong.
    """
    return _structured(_beside(grow(dict(table), Place(f"model of {folder}"), {}), folder))


def _beside(node: Node, folder: Path) -> Node:
    """The tree with the paths that begin with ``./`` made those of files in ``folder``."""
    if isinstance(node.value, dict):
        return attrs.evolve(node, value={k: _beside(one, folder) for k, one in node.value.items()})
    if isinstance(node.value, list):
        return attrs.evolve(node, value=[_beside(one, folder) for one in node.value])
    if isinstance(node.value, str) and node.value.startswith(BESIDE):
        return attrs.evolve(node, value=str(folder / node.value.removeprefix(BESIDE)))
    return node


@attrs.frozen
class Origin:
    """The foreign checkpoint that a model folder was imported from.

    Attributes:
        format: name of its format.
        shards: in which file each of its tensors lay.
        files: its small files.
    """

    format: str
    shards: Mapping[str, str]
    files: Mapping[str, bytes]


def write_origin(folder: Path, origin: Origin) -> None:
    """Keep what an export will give back."""
    home = folder / ORIGIN
    home.mkdir()
    layout = {"format": origin.format, "shards": dict(origin.shards)}
    (home / LAYOUT).write_text(json.dumps(layout, indent=1) + "\n", encoding="utf-8")
    for name, content in origin.files.items():
        (home / f"file.{name}").write_bytes(content)


def read_origin(folder: Path) -> Origin | None:
    """What was kept, or None if the model was never foreign."""
    home = folder / ORIGIN
    if not (home / LAYOUT).is_file():
        return None
    layout = json.loads((home / LAYOUT).read_text(encoding="utf-8"))
    files = {one.name.removeprefix("file."): one.read_bytes() for one in home.glob("file.*")}
    return Origin(layout["format"], layout["shards"], files)


def _structured(root: Node) -> ModelFile:
    read = structure(root, ModelFile, discover())
    faults = list(read.faults)
    file = read.values.get(())
    if isinstance(file, ModelFile):
        faults += [
            Fault(root.place.file, 0, f"model.{part}.{problem.key}", problem.message, problem.hint)
            for part in PARTS
            for problem in getattr(file.model, part).problems()
            if not problem.machine
        ]
    if faults:
        raise RecipeError(faults)
    assert isinstance(file, ModelFile)
    return file
