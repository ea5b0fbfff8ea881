"""Lay out a model as a folder of xGen-MM: names, configuration, tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import attrs

from mmcore.interfaces import OutgoingModel, Renaming, Tables, WeightsError
from mmcore_xgenmm import tokenizer as tokens
from mmcore_xgenmm.config import SAMPLER_HEADS, SYSTEM_PROMPT, written
from mmcore_xgenmm.reading import CONFIG
from mmcore_xgenmm.weights import HUB_PREFIX, SplitVocabulary, XGenMMNames

PARTS = {"encoder": "siglip", "token_sampler": "perceiver", "llm": "phi3"}
SAMPLER_DEPTH, SAMPLER_HEAD = 6, 96
STOPS = ("<|endoftext|>", "<|end|>")


@attrs.frozen(eq=False)
class XGenMMLayout:
    """See ``mmcore.interfaces.ForeignLayout``."""

    names: XGenMMNames
    files: Mapping[str, bytes]
    remarks: tuple[str, ...]

    def renamed(self, part: str, published: Sequence[Renaming]) -> Sequence[Renaming]:
        return self.names.renamed(part, published)


def layout(model: OutgoingModel) -> XGenMMLayout:
    """How this model is written.

    Raises:
        WeightsError: the official code could not hold it; says all that is in the way.
    """
    faults = list(_faults(model.tables))
    if faults:
        raise WeightsError("weights: no xGen-MM checkpoint: " + "; ".join(faults))
    llm = model.tables["llm"]
    content = model.tokenizer[tokens.FILE]
    first = tokens.first_added(content)
    ids = first + len(tokens.ADDED)
    rows = llm["vocabulary"]
    if rows < ids:
        raise WeightsError(
            f"weights: no xGen-MM checkpoint: the LLM's vocabulary has {rows} rows, wanted {ids}: "
            f"its tokenizer's and {len(tokens.ADDED)} more, for {', '.join(tokens.ADDED)}"
        )
    large = _large(model, first, rows if rows > ids else 0)
    return XGenMMLayout(
        XGenMMNames(SplitVocabulary(first, len(tokens.ADDED), large), HUB_PREFIX, model.keeps),
        model.files or _files(model.tables, content, first, large),
        () if model.files else tuple(_remarks(model.tables)),  # what came from there fits there
    )


OFFICIAL_ENCODER = {
    "width": 1152,
    "depth": 27,
    "heads": 16,
    "mlp_width": 4304,
    "patch_size": 14,
    "image_size": 384,
}
"""The only encoder that the official code can be told by name."""


def _large(model: OutgoingModel, first: int, rows: int) -> int:
    """Rows of the large table: as imported, our own, or as Phi-3 rounds them."""
    kept = model.aside.get("unread.model.embed_tokens.weight")
    if kept is not None:
        return first + kept[0]
    return rows or -(-first // 64) * 64


def _faults(tables: Tables) -> Iterator[str]:
    for part, wanted in PARTS.items():
        use = tables[part]["use"].rpartition(":")[2]
        if use != wanted:
            yield f"{part} is {use!r}, wanted {wanted!r}"
        elif part == "encoder" and tables[part]["positions"] != "learned":
            yield "the encoder's positions are fixed, wanted a learned table"
    tiler = tables["tiler"]["use"].rpartition(":")[2]
    if tiler not in ("single", "anyres"):
        yield f"tiler is {tiler!r}, wanted 'single' or 'anyres'"


def _remarks(tables: Tables) -> Iterator[str]:
    """Where the official code would compute something else with these weights."""
    sampler, tiler, llm = tables["token_sampler"], tables["tiler"], tables["llm"]
    encoder = tables["encoder"]
    sizes = tuple(encoder[key] for key in OFFICIAL_ENCODER)
    if sizes != tuple(OFFICIAL_ENCODER.values()):
        told = ", ".join(f"{key} {encoder[key]}" for key in OFFICIAL_ENCODER)
        yield f"the official code builds SigLIP so400m at 384 pixels; this encoder has {told}"
    has = (sampler["depth"], sampler["heads"], sampler["head_dim"])
    if has != (SAMPLER_DEPTH, SAMPLER_HEADS, SAMPLER_HEAD):
        yield (
            f"the official code builds a sampler of {SAMPLER_DEPTH} layers with {SAMPLER_HEADS} "
            f"heads of {SAMPLER_HEAD}; this one has {has[0]} with {has[1]} of {has[2]}"
        )
    if tiler.get("merge", "raster-bands") != "raster-bands":
        yield "the official code merges tiles into raster bands; this model was shown true tiles"
    if tiler.get("small_as_single"):
        yield "the official code cuts small pictures too; this model was shown them whole"
    if "grids" in tiler and llm["system_prompt"] != SYSTEM_PROMPT:
        yield "the official code puts its own system prompt first; this model has another, or none"


def _files(tables: Tables, content: bytes, first: int, large: int) -> dict[str, bytes]:
    completed = tokens.completed(content, first)
    stops = [one for token in STOPS if (one := tokens.special_id(completed, token)) is not None]
    generation = {
        "eos_token_id": stops,
        "pad_token_id": tokens.special_id(completed, tokens.PAD),
    }
    config = written(tables, first, large)
    return {
        CONFIG: json.dumps(config, indent=2).encode(),
        "generation_config.json": json.dumps(generation, indent=2).encode(),
        **tokens.files_for(completed, tables["llm"]["context"]),
    }
