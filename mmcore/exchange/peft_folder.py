"""The adapters of a run alone, in peft's own files: a folder for every part that has some.

A part's folder holds ``adapter_config.json`` and ``adapter_model.safetensors``. The names in them
are those within the part, so for an LLM of transformers' making they are transformers' own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import attrs
import torch
from torch import nn

from mmcore import assemble
from mmcore.exchange.probe import Answer, ask
from mmcore.exchange.receipt import OnProgress, Receipt, move
from mmcore.exchange.stored import Stored
from mmcore.interfaces import Lora
from mmcore.kit.tensor_file import Declared, tensor_folder
from mmcore.kit.weights import fill_by_name
from mmcore.model.lora import is_adapter, peft_config
from mmcore.model.vlm import VisionLanguageModel
from mmcore.training.checkpoint import Checkpoint
from mmcore.training.checkpoint_tensors import stored_weights

NAME = "peft"
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
"""Before every name: where peft's model holds the one that it adapts."""


def write_peft(
    folder: Path, stored: Stored, receipt: Receipt, on_progress: OnProgress
) -> Callable[[], Answer]:
    """Write the adapters; the weights beside which they learned, with what peft reads back, are
    asked by what is returned.

    Raises:
        ValueError: there are none.
    """
    checkpoint = stored.checkpoint
    if checkpoint is None or not checkpoint.manifest.loras:
        raise ValueError(
            f"{receipt.origin!r} has no adapters to write: a run has some while its newest "
            "checkpoint is of a stage with lora (the next stage merges them into the weights, "
            "unless it has the same); a model folder has none"
        )
    loras = checkpoint.manifest.loras
    table = attrs.evolve(stored.file.model, attention="sdpa")
    model = assemble.empty_model(table, 0, torch.device("meta"))
    _copy(folder, checkpoint, receipt, on_progress)
    for part, lora in loras.items():
        _write_configuration(folder / part, model, part, lora)
    receipt.remarks = tuple(
        f"{part}/ goes beside the weights that the {part} had when its adapters began"
        for part in loras
    )
    return lambda: ask(stored.file, lambda model: _fill(model, folder, checkpoint))


def _write_configuration(folder: Path, model: VisionLanguageModel, part: str, lora: Lora) -> None:
    found = targets(model.get_submodule(part), model.layers_for(part, lora))
    config = peft_config(lora, found)
    config.inference_mode = True
    config.target_modules = found  # peft made a set of it, which has no order
    config.save_pretrained(str(folder))


def _fill(model: VisionLanguageModel, folder: Path, checkpoint: Checkpoint) -> None:
    """The base as the checkpoint has it, and the adapters as peft reads them."""
    import peft

    fill_by_name(model, stored_weights(checkpoint, add=False))
    for part in checkpoint.manifest.loras:
        adapted = peft.PeftModel.from_pretrained(model.get_submodule(part), str(folder / part))
        model.set_submodule(part, adapted.merge_and_unload())


def targets(part: nn.Module, layers: list[str]) -> str | list[str]:
    """How peft finds these layers: by the last words of their names, as people write it, where no
    other module ends alike; else by an expression for whole names."""
    words = sorted({layer.rpartition(".")[2] for layer in layers})
    ending = [name for name, _ in part.named_modules() if name.rpartition(".")[2] in words]
    return words if ending == layers else "|".join(map(re.escape, layers))


def _copy(folder: Path, checkpoint: Checkpoint, receipt: Receipt, on_progress: OnProgress) -> None:
    names = {part: _names(part, checkpoint) for part in checkpoint.manifest.loras}
    tensors = stored_weights(checkpoint, merge=())
    declared = {
        part: {own: Declared(tensors.shape(one), tensors.dtype(one)) for own, one in all_.items()}
        for part, all_ in names.items()
    }
    total = sum(one.bytes for group in declared.values() for one in group.values())
    done = 0
    for part, group in declared.items():
        with tensor_folder(folder / part, group, dict.fromkeys(group, WEIGHTS)) as files:
            for own, full in names[part].items():
                tensor = tensors.read(full)
                files.write(own, tensor)
                receipt.moves.append(move(part, [(full, tensor)], [(own, tensor)]))
                done += tensor.nbytes
                on_progress(done, total)


def _names(part: str, checkpoint: Checkpoint) -> dict[str, str]:
    """peft's names of a part's adapters, which leave out what the adapter is called."""
    return {
        PREFIX + unnamed(full.removeprefix(f"{part}.")): full
        for full in checkpoint.manifest.tensors
        if full.startswith(f"{part}.") and is_adapter(full)
    }


def unnamed(parameter: str) -> str:
    """The name of an adapter's parameter without what the adapter is called."""
    layer, matrix, _, own = parameter.rsplit(".", 3)  # of "X.lora_A.default.weight"
    return f"{layer}.{matrix}.{own}"
