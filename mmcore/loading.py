"""A trained or imported model, loaded to be asked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import torch

from mmcore import assemble
from mmcore.data.prepare import Preparer
from mmcore.evaluation.answering import Answerer
from mmcore.exchange import ModelFile, fill_stored, open_stored
from mmcore.interfaces import ImagePart, ImageRef, Part, Role, SampleKey, TextPart
from mmcore.training.ranks import this_device


class Message(TypedDict):
    """One turn: ``content`` is a text, or pieces in reading order, such as
    ``{"type": "image", "path": "a.png"}`` and ``{"type": "text", "text": "What is it?"}``."""

    role: Literal["system", "user", "assistant"]
    content: str | Sequence[Mapping[str, str]]


class TrainedModel:
    """A model with its tokenizer, chat format and tiler: messages in, text out."""

    def __init__(self, file: ModelFile, answerer: Answerer) -> None:
        self.file = file
        self._answerer = answerer

    def generate(
        self,
        messages: Sequence[Message],
        *,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
    ) -> str:
        """The model's answer to a conversation.

        Args:
            messages: the turns so far, the last one the user's.
            max_new_tokens: longest answer.
            temperature: 0 takes the likeliest token; above, the next token is drawn.
            top_p: where one is drawn, the share of probability from which.
            seed: of what is drawn.

        Raises:
            ValueError: a message is malformed, a picture cannot be read, or all of it is too long;
                temperature or top_p is out of range.
        """
        if not 0 <= temperature < math.inf:
            raise ValueError(f"temperature is {temperature}, wanted a finite number, 0 or above")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}, wanted above 0 and at most 1")
        torch.manual_seed(seed)
        [answer] = self._answerer.answer(
            [(SampleKey("messages", "", 0), parts_of(messages))],
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
        )
        return answer


def load(folder: str | Path, *, device: str = "auto") -> TrainedModel:
    """The model of a run folder, as its newest checkpoint has it, of one checkpoint such as
    ``checkpoints/best-STAGE``, or of a model folder.

    Raises:
        ValueError: the folder is none of them, or has no checkpoint yet.
    """
    where = device_of(device)
    with open_stored(Path(folder)) as stored:
        file = stored.file
        model = assemble.empty_model(file.model, 0, where)
        fill_stored(model, stored)
    return TrainedModel(file, Answerer(model, preparer_of(file), where, file.precision))


def preparer_of(file: ModelFile) -> Preparer:
    """How questions are shown to a model.

    Raises:
        WeightsError: its tokenizer is missing.
    """
    view = file.model.encoder.view
    return Preparer(
        text=file.model.llm.text(),
        tiler=file.tiler,
        view=view,
        tokens_per_view=file.model.token_sampler.tokens_per_view(view.grid),
        max_tokens=file.max_tokens,
        max_views=file.max_views,
        fit=file.fit,
        instruction_tokens=file.model.token_sampler.max_instruction,
    )


def device_of(name: str) -> torch.device:
    """The device of this name, with one byte put on it.

    Raises:
        ValueError: there is none here.
    """
    where = this_device() if name == "auto" else name
    try:
        return torch.empty(1, device=where).device
    except (RuntimeError, AssertionError) as error:  # torch names unknown and absent ones so
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {name!r} cannot be used here: {reason}") from None


def parts_of(messages: Sequence[Message]) -> tuple[Part, ...]:
    """Messages as the parts of a sample.

    Raises:
        ValueError: a piece is neither a picture nor a text, or the last turn is not the user's.
    """
    if not messages or messages[-1]["role"] != "user":
        raise ValueError("the last message must be the user's: it is what gets an answer")
    parts: list[Part] = []
    for number, message in enumerate(messages):
        role, content = message["role"], message["content"]
        pieces = [{"type": "text", "text": content}] if isinstance(content, str) else content
        parts += [_part(role, piece, f"messages[{number}]") for piece in pieces]
    return tuple(parts)


def _part(role: Role, piece: Mapping[str, str], where: str) -> Part:
    match piece:
        case {"type": "text", "text": text}:
            return TextPart(text, role, loss=False)
        case {"type": "image", "path": path}:
            file = Path(path).resolve()
            return ImagePart(ImageRef(path=file.name, root=str(file.parent)), role)
        case _:
            raise ValueError(
                f"{where} has a piece {dict(piece)!r}; wanted "
                '{"type": "text", "text": ...} or {"type": "image", "path": ...}'
            )
