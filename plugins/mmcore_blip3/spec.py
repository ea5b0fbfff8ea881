"""The recipe tables of the sources."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Source, SourceSpec, SyntheticContent
from mmcore_blip3.files import folder_of
from mmcore_registry import doc

ge, le = attrs.validators.ge, attrs.validators.le

_IMAGES = doc("folder below which the pictures lie; empty for the folder of each file of `path`")


@attrs.frozen(kw_only=True)
class LlavaJsonSpec(SourceSpec):
    """Conversations about pictures, or about none, in LLaVA's JSON format (.json and .jsonl)."""

    name: ClassVar[str] = "llava-json"

    images: str = attrs.field(default="", metadata=_IMAGES)
    pictures: int = attrs.field(
        default=1,
        validator=[ge(1), le(4)],
        metadata=doc("pictures of a made-up row; real rows have as many as they have"),
    )
    turns: int = attrs.field(
        default=4,
        validator=ge(1),
        metadata=doc("most questions of a made-up row; real rows have as many as they have"),
    )

    @property
    def folder(self) -> Path:
        return folder_of(self.path)

    def open(self) -> Source:
        from mmcore_blip3.llava_json import LlavaJsonSource

        return LlavaJsonSource(path=self.path, images=self.images)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_llava import make_up_llava

        make_up_llava(folder, content, pictures=self.pictures, turns=self.turns)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.json"), images="")


@attrs.frozen(kw_only=True)
class Blip3OcrSpec(SourceSpec):
    """Pictures and the texts written on them, as in BLIP3-OCR-200M (parquet)."""

    name: ClassVar[str] = "blip3-ocr"

    images: str = attrs.field(default="", metadata=_IMAGES)
    image_column: str = attrs.field(
        default="image", metadata=doc("column that names the picture's file below `images`")
    )
    bytes_column: str = attrs.field(
        default="image_bytes",
        metadata=doc("column that holds the encoded picture; goes before `image_column`"),
    )
    granularity: int = attrs.field(
        default=0,
        validator=[ge(0), le(5)],
        metadata=doc("level of detail: 0 the texts alone, 1 with regions, ... 5 boxes in tags"),
    )
    with_alt_text: bool = attrs.field(
        default=False,
        metadata=doc("take the captions into which the web page's alt text is mixed"),
    )
    strip_filler: bool = attrs.field(
        default=True,
        metadata=doc("leave out the words that all captions share, such as `the text`"),
    )

    @property
    def folder(self) -> Path:
        return folder_of(self.path)

    def open(self) -> Source:
        from mmcore_blip3.blip3_ocr import Blip3OcrSource

        return Blip3OcrSource(
            path=self.path,
            images=self.images,
            image_column=self.image_column,
            bytes_column=self.bytes_column,
            granularity=self.granularity,
            with_alt_text=self.with_alt_text,
            strip=self.strip_filler,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_ocr import make_up_ocr

        make_up_ocr(folder, content, bytes_column=self.bytes_column)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.parquet"), images="")
