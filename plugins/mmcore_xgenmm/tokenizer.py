"""The tokens that xGen-MM adds to Phi-3's tokenizer, and where their ids are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mmcore.interfaces import WeightsError

FILE = "tokenizer.json"
PAD, IMAGE = "<pad>", "<image>"
ADDED = (IMAGE, "<image placeholder>", "<|endofchunk|>")
"""In the order of their ids. They have rows of their own, beside Phi-3's table; ``<pad>``, right
before them, has not."""


def first_added(content: bytes) -> int:
    """The id of ``<image>``: of the tokenizer, or the one that the official code would give it."""
    ids = _ids(_read(content))
    if IMAGE in ids:
        return ids[IMAGE]
    return 1 + max(ids.values()) + (PAD not in ids)


def completed(content: bytes, first: int) -> bytes:
    """The tokenizer with every token that xGen-MM adds, ``<image>`` having the id ``first``.

    Raises:
        WeightsError: it is no tokenizer, or has one of the tokens or ids otherwise.
    """
    tokenizer = _read(content)
    ids = _ids(tokenizer)
    taken = {number: token for token, number in ids.items()}
    faults = []
    for number, token in enumerate(ADDED, start=first):
        if ids.get(token, number) != number:
            faults.append(f"{token} has id {ids[token]}, wanted {number}")
        elif taken.get(number, token) != token:
            faults.append(f"id {number} is {taken[number]!r}, wanted {token}")
    if faults:
        raise WeightsError(f"weights: {FILE} is not xGen-MM's: {'; '.join(faults)}")
    pad = [(PAD, first - 1)] if PAD not in ids and first - 1 not in taken else []
    wanted = [*pad, *zip(ADDED, range(first, first + len(ADDED)), strict=True)]
    absent = [_added(token, number) for token, number in wanted if token not in ids]
    if not absent:
        return content
    tokenizer["added_tokens"] = [*tokenizer["added_tokens"], *absent]
    return json.dumps(tokenizer, ensure_ascii=False, indent=1).encode()


def special_id(content: bytes, token: str) -> int | None:
    """The id of a token, if there is one."""
    return _ids(_read(content)).get(token)


def files_for(content: bytes, context: int) -> Mapping[str, bytes]:
    """A tokenizer's files as transformers reads them."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "padding_side": "left",
        "add_bos_token": False,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|endoftext|>",
        "pad_token": PAD,
    }
    return {FILE: content, "tokenizer_config.json": json.dumps(config, indent=2).encode()}


def _read(content: bytes) -> dict[str, Any]:
    try:
        tokenizer: dict[str, Any] = json.loads(content)
        _ids(tokenizer)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"weights: {FILE} is no tokenizer: {error!r}") from None
    return tokenizer


def _ids(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    added = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    return {**tokenizer["model"]["vocab"], **added}


def _added(token: str, number: int) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, **flags, "special": True}
