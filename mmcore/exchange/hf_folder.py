"""A model as a folder that transformers loads after ``import mmcore.hf``: names, configuration.

The description is that of a model folder (``model.toml``), held by ``config.json``; the tokenizer
lies in ``llm/``, where our own reading looks for it, and at the top, where transformers' does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
import torch
from tokenizers import Tokenizer

from mmcore import assemble
from mmcore.exchange import model_folder as folders
from mmcore.exchange.probe import Answer, ask
from mmcore.exchange.receipt import OnProgress, Receipt, move
from mmcore.exchange.stored import Stored
from mmcore.interfaces import LLM, ExtendingLLM, TextFormat
from mmcore.kit.tensor_file import Declared, shards, tensor_folder
from mmcore.kit.weights import TOKENIZER, Source, fill, open_tensors
from mmcore.model.vlm import VisionLanguageModel

NAME = "hf"
MODEL_TYPE = "mmcore"
MODEL_CLASS, PROCESSOR_CLASS = "MMCoreForConditionalGeneration", "MMCoreProcessor"
CONFIG = "config.json"
TABLE = "mmcore"
"""The key of ``config.json`` that holds the description."""

PREFIX = "model."
"""Before every tensor's name: the attribute of the transformers class that holds our model."""


def write_hf(
    folder: Path, stored: Stored, receipt: Receipt, on_progress: OnProgress
) -> Callable[[], Answer]:
    """Write the model; as it is read back, it is asked by what is returned.

    Raises:
        ValueError: transformers' ``generate`` could not drive the LLM.
    """
    _write_configuration(folder, stored)
    _copy(folder, stored, receipt, on_progress)
    if stored.aside:
        receipt.remarks = (
            f"{len(stored.aside)} tensors that were kept aside when the model was imported are "
            f"left out: nothing reads them",
        )

    def ask_again() -> Answer:
        table = json.loads((folder / CONFIG).read_text(encoding="utf-8"))[TABLE]
        return ask(folders.from_table(table, folder), lambda model: _fill(model, folder))

    return ask_again


def _copy(folder: Path, stored: Stored, receipt: Receipt, on_progress: OnProgress) -> None:
    tensors = stored.tensors
    declared = {
        f"{PREFIX}{name}": Declared(tensors.shape(name), tensors.dtype(name))
        for name in sorted(tensors.names() - stored.aside)
    }
    total, done = sum(one.bytes for one in declared.values()), 0
    with tensor_folder(folder, declared, shards(declared)) as files:
        for full in declared:
            name = full.removeprefix(PREFIX)
            tensor = tensors.read(name)
            files.write(full, tensor)
            receipt.moves.append(move(name.partition(".")[0], [(name, tensor)], [(full, tensor)]))
            done += tensor.nbytes
            on_progress(done, total)


def _write_configuration(folder: Path, stored: Stored) -> None:
    text = stored.file.model.llm.text()
    (folder / "llm").mkdir()
    for name, content in stored.tokenizer.items():
        (folder / "llm" / name).write_bytes(content)
        if name != CONFIG:
            (folder / name).write_bytes(content)
    _write(folder / CONFIG, _config(stored.file, text))
    _write(folder / "processor_config.json", {"processor_class": PROCESSOR_CLASS})
    stops = {"eos_token_id": sorted(text.stop_ids), "pad_token_id": text.end_id}
    _write(folder / "generation_config.json", {**stops, "do_sample": False})
    if TOKENIZER in stored.tokenizer and not (folder / "tokenizer_config.json").exists():
        _write(folder / "tokenizer_config.json", _tokenizer_config(stored, text))


def _config(file: folders.ModelFile, text: TextFormat) -> dict[str, Any]:
    return {
        "architectures": [MODEL_CLASS],
        "model_type": MODEL_TYPE,
        "processor_class": PROCESSOR_CLASS,
        "image_token_id": text.image_id,
        "eos_token_id": sorted(text.stop_ids),
        "pad_token_id": text.end_id,
        "hidden_size": file.model.llm.embedding_width,
        "vocab_size": _rows(file),
        TABLE: folders.to_table(file),
    }


def _rows(file: folders.ModelFile) -> int:
    """How many logits the model makes; no spec has to say it.

    Raises:
        ValueError: transformers' ``generate`` could not drive this LLM.
    """
    table, meta = attrs.evolve(file.model, attention="sdpa"), torch.device("meta")
    llm = assemble.empty_model(table, 0, meta).llm
    if not isinstance(llm, ExtendingLLM):
        raise ValueError(
            f"the LLM {table.llm.name!r} cannot go on from a cache of transformers: it has no "
            "`extend`; export it with --format mmcore"
        )
    h_LE = torch.empty(1, table.llm.embedding_width, device=meta)
    return cast(LLM, llm).head(h_LE).shape[1]


def _tokenizer_config(stored: Stored, text: TextFormat) -> dict[str, Any]:
    end = Tokenizer.from_buffer(stored.tokenizer[TOKENIZER]).id_to_token(text.end_id)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": stored.file.model.llm.context,
        "padding_side": "left",
        "clean_up_tokenization_spaces": False,
        "eos_token": end,
        "pad_token": end,
    }


def _write(path: Path, table: dict[str, Any]) -> None:
    path.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")


def _fill(model: VisionLanguageModel, folder: Path) -> None:
    names = [name for name, _ in model.named_parameters()]
    with open_tensors(str(folder)) as tensors:
        fill(model, tensors, {name: Source((f"{PREFIX}{name}",)) for name in names})
