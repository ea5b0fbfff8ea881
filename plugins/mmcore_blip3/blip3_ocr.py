"""The source of BLIP-3's OCR sets: pictures and the texts that are written on them."""

from __future__ import annotations

from typing import Final

from mmcore.interfaces import Rejection
from mmcore_blip3.annotated_pictures import AnnotatedPictures
from mmcore_blip3.ocr_captions import choose_caption, strip_filler

CAPTIONS: Final = "captions"


class Blip3OcrSource(AnnotatedPictures):
    """Reads captions of one level from parquet files with the columns of BLIP3-OCR-200M.

    Args:
        path: the files, as a path or a glob pattern.
        images: folder of the pictures; empty for the folder of the file.
        image_column: the column that names the picture's file.
        bytes_column: the column that holds the encoded picture; goes before ``image_column``.
        prepare: the command that adds this column to the published files.
        granularity: level of detail of the caption, 0 to 5.
        with_alt_text: take the captions into which the web page's alt text is mixed.
        strip: leave out the words that every caption shares.
    """

    def __init__(
        self,
        *,
        path: str,
        images: str = "",
        image_column: str = "image",
        bytes_column: str = "image_bytes",
        prepare: str = "mmcore data download blip3-ocr FILES -o OUT",
        granularity: int = 0,
        with_alt_text: bool = False,
        strip: bool = True,
    ) -> None:
        super().__init__(
            path=path,
            annotations=CAPTIONS,
            images=images,
            image_column=image_column,
            bytes_column=bytes_column,
            prepare=prepare,
        )
        self.granularity = granularity
        self.with_alt_text = with_alt_text
        self.strip = strip

    def text(self, annotations: object) -> str:
        caption = choose_caption(annotations, self.granularity, self.with_alt_text)
        text = strip_filler(caption) if self.strip else caption
        if not text:
            raise Rejection("caption-missing", f"nothing is left of {caption!r}")
        return text
