"""What a model answers to fixed inputs: token ids, and the logits behind each of two texts.

Letters: T packed tokens, N views, C/H/W channels, height, width, P patches of a view, K image
tokens, S sequences, V vocabulary.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any, cast

import attrs
import torch

from mmcore import assemble
from mmcore.exchange.model_folder import ModelFile
from mmcore.interfaces import LLM, ImagePart, ImageRef, ImageSlot, PackedBatch, TextPart, ViewFormat
from mmcore.kit.tensor_file import raw
from mmcore.model.vlm import VisionLanguageModel

QUESTION = "What does the picture show?"
DOCUMENT = "The quick brown fox jumps over the lazy dog."
PICTURE = -1
MOST = 8
"""How many of the likeliest tokens a receipt names."""


@attrs.frozen(eq=False)
class Answer:
    """What came out.

    Attributes:
        ids: of both texts; where the picture goes, ``PICTURE``.
        logits_SV: behind the last token of each, float32.
    """

    ids: tuple[tuple[int, ...], ...]
    logits_SV: torch.Tensor

    def facts(self) -> dict[str, Any]:
        """For a receipt: the ids, and what tells the logits apart."""
        top = self.logits_SV.topk(min(MOST, self.logits_SV.shape[1]))
        return {
            "ids": [list(one) for one in self.ids],
            "likeliest": [
                [[token, value] for token, value in zip(tokens, values, strict=True)]
                for tokens, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
            ],
            "vocabulary": self.logits_SV.shape[1],
            "sha256": hashlib.sha256(raw(self.logits_SV)).hexdigest(),
        }


@torch.no_grad()
def ask(
    file: ModelFile,
    fill: Callable[[VisionLanguageModel], object],
    *,
    as_asked: ModelFile | None = None,
) -> Answer:
    """Build the model on the CPU, fill it, and show it a picture with a question, and a sentence.

    Args:
        file: what the model is.
        fill: puts the weights in.
        as_asked: whose text format makes the ids that the model is shown, if not its own.
    """
    table = attrs.evolve(file.model, attention="sdpa")
    model = assemble.empty_model(table, 0, torch.device("cpu")).eval()
    fill(model)
    batch = _packed(*_inputs(as_asked or file), file.model.encoder.view)
    h_TE = model.hidden(batch)
    last_S = batch.cu_seqlens[1:].long() - 1
    logits_SV = cast(LLM, model.llm).head(h_TE[last_S]).float()
    return Answer(_inputs(file)[0], logits_SV)


def _inputs(file: ModelFile) -> tuple[tuple[tuple[int, ...], ...], int]:
    """Ids of the two texts, and the id that stands for ``PICTURE``."""
    text, view = file.model.llm.text(), file.model.encoder.view
    picture = ImagePart(ImageRef(path="pattern", root="."), "user")
    tokens = file.model.token_sampler.tokens_per_view(view.grid)
    pieces = [
        text.prompt([picture, TextPart(QUESTION, "user", loss=False)]),
        text.prompt([TextPart(DOCUMENT, "document")]),
    ]
    runs = [
        [[PICTURE] * tokens if isinstance(one, ImageSlot) else one.ids for one in row]
        for row in pieces
    ]
    return tuple(tuple(itertools.chain.from_iterable(row)) for row in runs), text.image_id


def _packed(rows: tuple[tuple[int, ...], ...], image_id: int, view: ViewFormat) -> PackedBatch:
    lengths = tuple(len(row) for row in rows)
    ids_T = torch.tensor([image_id if one == PICTURE else one for row in rows for one in row])
    return PackedBatch(
        input_ids_T=ids_T,
        position_ids_T=torch.cat([torch.arange(length) for length in lengths]),
        cu_seqlens=torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32),
        lengths=lengths,
        label_index_L=torch.zeros(1, dtype=torch.long),
        targets_L=torch.zeros(1, dtype=torch.long),
        label_weight_L=torch.zeros(1),
        pixels_NCHW=_pattern(view.size),
        patch_mask_NP=torch.ones(1, view.patches, dtype=torch.bool),
        image_token_index_K=torch.tensor(
            [n for n, one in enumerate(itertools.chain.from_iterable(rows)) if one == PICTURE]
        ),
        label_segment_L=torch.zeros(1, dtype=torch.int32),
    )


def _pattern(size: int) -> torch.Tensor:
    """Whole numbers only, so that it is the same picture everywhere."""
    y_H1, x_1W = torch.arange(size)[:, None], torch.arange(size)[None]
    channels = [(x_1W * (3 + c) + y_H1 * (5 + 2 * c) + 31 * c) % 256 for c in range(3)]
    return torch.stack(channels).to(torch.uint8)[None]
