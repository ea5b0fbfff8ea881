"""The captions column of BLIP3-OCR-200M: the same words at six levels of detail, as JSON."""

from __future__ import annotations

import json
import re
from typing import Final

from mmcore.interfaces import Rejection

_FILLER: Final = re.compile(
    r"""
    \b the \s image \s contains \s+ (?: the \s text \s+ )?   # opens the list
    | \b the \s text \s+ (?= ["“] )                          # before every quotation
    """,
    re.IGNORECASE | re.VERBOSE,
)


def choose_caption(captions: object, granularity: int, with_alt_text: bool) -> str:
    """The caption of a level, with or without the web page's alt text mixed in.

    Args:
        captions: encoded JSON, a list of objects with the keys ``text``, ``granularity`` and
            ``include_datacomp_raw_cap``.

    Raises:
        Rejection: ``caption-missing``, ``malformed-json``, or ``malformed-row`` for null bytes.
    """
    if captions is None:
        raise Rejection("caption-missing", "captions is null")
    if not isinstance(captions, bytes):
        raise Rejection("malformed-json", f"captions is {captions!r}, wanted a string")
    try:
        offered = json.loads(captions)
    except (ValueError, RecursionError) as error:
        raise Rejection("malformed-json", f"captions: {error}") from error
    if not isinstance(offered, list) or not all(isinstance(one, dict) for one in offered):
        raise Rejection("malformed-json", f"captions is {offered!r}, wanted a list of objects")
    for one in offered:
        level, mixed = one.get("granularity"), bool(one.get("include_datacomp_raw_cap"))
        if level == granularity and mixed == with_alt_text:
            return _check(one.get("text"))
    wanted = f"granularity {granularity}, alt text {'with' if with_alt_text else 'without'}"
    raise Rejection("caption-missing", f"none of {len(offered)} captions has {wanted}")


def strip_filler(caption: str) -> str:
    """The caption without the words that every caption shares (BLIP-3, section 4.1).

    >>> strip_filler('The image contains the text "OPEN", the text "24 h"')
    '"OPEN", "24 h"'
    """
    return _FILLER.sub("", caption).strip()


def _check(text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise Rejection("caption-missing", f"the caption's text is {text!r}")
    if "\0" in text:
        raise Rejection("malformed-row", f"the caption is {text!r}, wanted no null bytes")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Rejection("malformed-json", f"captions: {error.reason} in {text!r}") from error
    return text
