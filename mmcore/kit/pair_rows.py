"""Prepared preference pairs as JSON rows: question, two answers, and how likely they were found.

    {"prompt": [{"role": "user", "content": [{"type": "image", "path": "pictures/0f.png"},
                                             {"type": "text", "text": "What is it?"}]}],
     "chosen": "A dog.", "rejected": "A cat.",
     "reference": {"chosen": -4.1, "rejected": -7.9, "tokens": "9c..."}}

Prompt, chosen and rejected are what TRL calls so. Further keys of a row say where it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, get_args

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    PairReference,
    Part,
    Rejection,
    Role,
    Sample,
    SampleKey,
    TextPart,
)
from mmcore.kit.row_values import check_text, picture_named

ROLES: Final = get_args(Role)


def pair_row(
    sample: Sample, reference: PairReference, name_of: Callable[[ImageRef], str]
) -> dict[str, Any]:
    """The row of a pair.

    Args:
        sample: the pair.
        reference: how likely its answers were found.
        name_of: under which name a picture lies below the folder of the row's file.
    """
    turns = groupby(sample.question, lambda part: part.role)
    return {
        "prompt": [
            {"role": role, "content": [_content(part, name_of) for part in parts]}
            for role, parts in turns
        ],
        "chosen": _pieces(sample.answer),
        "rejected": _pieces(sample.dispreferred),
        "reference": {
            "chosen": reference.preferred,
            "rejected": reference.dispreferred,
            "tokens": reference.tokens,
        },
    }


def pair_of(row: Mapping[str, object], key: SampleKey, root: str) -> Sample:
    """The pair of a row.

    Args:
        row: as ``pair_row`` makes it.
        key: of the sample.
        root: the folder of the row's file.

    Raises:
        Rejection: ``malformed-row``; ``missing-answer``, ``equal-answers`` or
            ``reference-missing``.
    """
    chosen, rejected = (_answer(name, row.get(name)) for name in ("chosen", "rejected"))
    if _said(chosen) == _said(rejected):
        raise Rejection("equal-answers", f"both answers are {_said(chosen)!r}")
    prompt = row.get("prompt")
    if not isinstance(prompt, list) or not prompt:
        raise Rejection("malformed-row", f"prompt is {prompt!r}, wanted a list of messages")
    question = [part for n, turn in enumerate(prompt) for part in _turn(f"prompt[{n}]", turn, root)]
    if not question or question[-1].role == "assistant":
        raise Rejection("malformed-row", "the prompt ends with the assistant, wanted a question")
    return Sample(
        key=key,
        parts=(*question, *chosen),
        dispreferred=rejected,
        reference=_reference(row.get("reference")),
    )


def _content(part: Part, name_of: Callable[[ImageRef], str]) -> dict[str, object]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    frame = {"frame": part.ref.frame} if part.ref.frame else {}
    return {"type": "image", "path": name_of(part.ref), **frame}


def _pieces(answer: Sequence[Part]) -> str | list[str]:
    """One text; or, where the source gave several, each by itself, for they may be spelt so."""
    texts = [part.text for part in answer if isinstance(part, TextPart)]
    return texts[0] if len(texts) == 1 else texts


def _said(answer: Sequence[TextPart]) -> str:
    return "".join(part.text for part in answer).strip()


def _answer(name: str, value: object) -> tuple[TextPart, ...]:
    texts = value if isinstance(value, list) else [] if value is None else [value]
    answer = tuple(TextPart(check_text(name, text), "assistant") for text in texts)
    if not _said(answer):
        raise Rejection("missing-answer", f"{name} is {value!r}, wanted an answer")
    return answer


def _turn(name: str, turn: object, root: str) -> list[Part]:
    if not isinstance(turn, Mapping) or turn.get("role") not in ROLES:
        wanted = ", ".join(ROLES)
        raise Rejection("malformed-row", f"{name} is {turn!r}, wanted role (of {wanted}), content")
    content = turn.get("content")
    if not isinstance(content, list):
        raise Rejection("malformed-row", f"{name}.content is {content!r}, wanted a list")
    return [_part(f"{name}.content[{n}]", one, turn["role"], root) for n, one in enumerate(content)]


def _part(name: str, item: object, role: Role, root: str) -> Part:
    kind = item.get("type") if isinstance(item, Mapping) else None
    if kind == "text":
        assert isinstance(item, Mapping)
        return TextPart(check_text(name, item.get("text")), role, loss=False)
    if kind == "image":
        assert isinstance(item, Mapping)
        ref, frame = picture_named(name, item.get("path"), root), item.get("frame", 0)
        if not isinstance(frame, int) or frame < 0:
            raise Rejection("malformed-row", f"{name}.frame is {frame!r}, wanted a number from 0")
        return ImagePart(ImageRef(path=ref.path, root=root, frame=frame), role)
    raise Rejection("malformed-row", f"{name} is {item!r}, wanted a text or an image")


def _reference(value: object) -> PairReference:
    if value is None:
        raise Rejection("reference-missing", "the row has no log-probabilities of a reference")
    known = value if isinstance(value, Mapping) else {}
    chosen, rejected = (_log_probability(known.get(name)) for name in ("chosen", "rejected"))
    tokens = known.get("tokens", "")
    if chosen is None or rejected is None or not isinstance(tokens, str):
        raise Rejection(
            "malformed-row",
            f"reference is {value!r}, wanted log-probabilities (0 or below) of chosen and rejected",
        )
    return PairReference(chosen, rejected, tokens)


def _log_probability(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -math.inf < value <= 0 else None
