"""The source ``blip3-grounding``: captions that say where the things are on a picture."""

from __future__ import annotations

import ast
from typing import Final

from mmcore.interfaces import Rejection
from mmcore.kit.row_values import text_of
from mmcore_blip3.annotated_pictures import AnnotatedPictures

CAPTIONS: Final = "captions"
PLAIN: Final = "cogvlm_caption"

MAX_LITERAL: Final = 256 * 1024
"""Longest literal that is parsed, in characters: the parser takes a hundred times its size."""


class Blip3GroundingSource(AnnotatedPictures):
    """Reads captions of one form from parquet files with the columns of BLIP3-GROUNDING-50M.

    Args:
        path: the files, as a path or a glob pattern.
        images: folder of the pictures; empty for the folder of the file.
        image_column: the column that names the picture's file.
        bytes_column: the column that holds the encoded picture; goes before ``image_column``.
        prepare: the command that adds this column to the published files.
        granularity: how places are written: 0 in words, 1 as corners, 2 as boxes in tags.
        with_alt_text: take the captions into which the web page's alt text is mixed.
        plain: take the caption without places instead.
    """

    def __init__(
        self,
        *,
        path: str,
        images: str = "",
        image_column: str = "image",
        bytes_column: str = "image_bytes",
        prepare: str = "mmcore data download blip3-grounding FILES -o OUT",
        granularity: int = 0,
        with_alt_text: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__(
            path=path,
            annotations=PLAIN if plain else CAPTIONS,
            images=images,
            image_column=image_column,
            bytes_column=bytes_column,
            prepare=prepare,
        )
        self.granularity = granularity
        self.with_alt_text = with_alt_text
        self.plain = plain

    def text(self, annotations: object) -> str:
        text = text_of(self.annotations, annotations)
        return text if self.plain else choose_form(text, self.granularity, self.with_alt_text)


def choose_form(captions: str, granularity: int, with_alt_text: bool) -> str:
    """The caption of a form, with or without the web page's alt text mixed in.

    Args:
        captions: a Python literal, a list of ``[caption, granularity, with alt text]``.

    Raises:
        Rejection: ``malformed-literal`` or ``caption-missing``.
    """
    offered = _parse(captions)
    try:
        return _chosen(offered, granularity, with_alt_text)
    except ValueError as error:  # a number too long to be written out in a message
        raise Rejection("malformed-literal", f"captions is {captions[:80]!r}: {error}") from error


def _chosen(offered: object, granularity: int, with_alt_text: bool) -> str:
    if not isinstance(offered, (list, tuple)):
        raise Rejection("malformed-literal", f"captions is {offered!r}, wanted a list")
    for number, one in enumerate(offered):
        if not isinstance(one, (list, tuple)) or len(one) != 3:
            wanted = "wanted [caption, granularity, whether alt text is mixed in]"
            raise Rejection("malformed-literal", f"captions[{number}] is {one!r}, {wanted}")
        caption, level, mixed = one
        if level == granularity and bool(mixed) == with_alt_text:
            return _check(f"captions[{number}]", caption)
    wanted = f"granularity {granularity}, alt text {'with' if with_alt_text else 'without'}"
    raise Rejection("caption-missing", f"none of {len(offered)} captions has {wanted}")


def _parse(captions: str) -> object:
    if len(captions) > MAX_LITERAL:
        found = f"captions has {len(captions)} characters, at most {MAX_LITERAL} are parsed"
        raise Rejection("malformed-literal", found)
    try:
        return ast.literal_eval(captions)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        # The parser says MemoryError of what is nested too deeply, whatever memory there is.
        found = str(error) or type(error).__name__
        raise Rejection("malformed-literal", f"captions is {captions[:80]!r}: {found}") from error


def _check(name: str, caption: object) -> str:
    if not isinstance(caption, str):
        raise Rejection("malformed-literal", f"{name} says {caption!r}, wanted a string")
    try:
        return text_of(name, caption.encode())
    except UnicodeEncodeError as error:
        raise Rejection("malformed-literal", f"{name} is {caption!r}: {error.reason}") from error
