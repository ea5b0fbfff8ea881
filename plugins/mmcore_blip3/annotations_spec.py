"""The recipe tables of datasets that say what is where on a picture."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Links, Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import doc

ge, le = attrs.validators.ge, attrs.validators.le


@attrs.frozen(kw_only=True)
class AnnotatedPicturesSpec(FilesSpec):
    """Pictures, by name or as bytes, beside the captions of parquet files."""

    images: str = attrs.field(
        default="",
        metadata=doc(
            "folder below which the pictures lie; empty for the folder of each file of `path`"
        ),
    )
    image_column: str = attrs.field(
        default="image", metadata=doc("column that names the picture's file below `images`")
    )
    bytes_column: str = attrs.field(
        default="image_bytes",
        metadata=doc("column that holds the encoded picture; goes before `image_column`"),
    )
    with_alt_text: bool = attrs.field(
        default=False,
        metadata=doc("take the captions into which the web page's alt text is mixed"),
    )

    @property
    def links(self) -> Links:
        return Links(column="url", bytes_column=self.bytes_column)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.parquet"), images="")


@attrs.frozen(kw_only=True)
class Blip3OcrSpec(AnnotatedPicturesSpec):
    """Pictures and the texts written on them, as in BLIP3-OCR-200M (parquet)."""

    name: ClassVar[str] = "blip3-ocr"
    origin: ClassVar[str] = "https://huggingface.co/datasets/Salesforce/blip3-ocr-200m"
    least_side: ClassVar[int] = 0
    """Fewest pixels of a side of a made-up picture."""

    granularity: int = attrs.field(
        default=0,
        validator=[ge(0), le(5)],
        metadata=doc("level of detail: 0 the texts alone, 1 with regions, ... 5 boxes in tags"),
    )
    strip_filler: bool = attrs.field(
        default=True,
        metadata=doc("leave out the words that all captions share, such as `the text`"),
    )

    def open(self) -> Source:
        from mmcore_blip3.blip3_ocr import Blip3OcrSource

        return Blip3OcrSource(
            path=self.path,
            images=self.images,
            image_column=self.image_column,
            bytes_column=self.bytes_column,
            prepare=self.prepare_command,
            granularity=self.granularity,
            with_alt_text=self.with_alt_text,
            strip=self.strip_filler,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_ocr import make_up_ocr

        make_up_ocr(
            folder,
            content,
            bytes_column=self.bytes_column,
            source=self.name,
            least_side=self.least_side,
        )


@attrs.frozen(kw_only=True)
class Blip3OcrHdSpec(Blip3OcrSpec):
    """Large pictures and the texts written on them, as in BLIP3-OCR-HD-30M (parquet).

    Where this dataset is published was not found. Assumed are the columns of BLIP3-OCR-200M,
    from which it differs in that both sides of a picture have more than 512 pixels.
    """

    name: ClassVar[str] = "blip3-ocr-hd"
    origin: ClassVar[str] = "no public page; blip3-ocr-200m's columns are expected"
    least_side: ClassVar[int] = 513


@attrs.frozen(kw_only=True)
class Blip3GroundingSpec(AnnotatedPicturesSpec):
    """Pictures with captions that say where the things are, as in BLIP3-GROUNDING-50M (parquet)."""

    name: ClassVar[str] = "blip3-grounding"
    origin: ClassVar[str] = "https://huggingface.co/datasets/Salesforce/blip3-grounding-50m"

    granularity: int = attrs.field(
        default=0,
        validator=[ge(0), le(2)],
        metadata=doc("how places are written: 0 in words, 1 as corners, 2 as boxes in tags"),
    )
    plain: bool = attrs.field(
        default=False, metadata=doc("take the column `cogvlm_caption` instead, without places")
    )

    def open(self) -> Source:
        from mmcore_blip3.blip3_grounding import Blip3GroundingSource

        return Blip3GroundingSource(
            path=self.path,
            images=self.images,
            image_column=self.image_column,
            bytes_column=self.bytes_column,
            prepare=self.prepare_command,
            granularity=self.granularity,
            with_alt_text=self.with_alt_text,
            plain=self.plain,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_grounding import make_up_grounding

        make_up_grounding(folder, content, bytes_column=self.bytes_column)


@attrs.frozen(kw_only=True)
class IdlSpec(FilesSpec):
    """Scanned documents with the lines that OCR found on their pages, as in OCR-IDL (tars).

    How BLIP-3 made training text of it was not found. Assumed are webdataset tars of documents:
    ``<key>.tif`` with one frame a page, and ``<key>.json`` with ``{"pages": [{"text": [lines],
    "bbox": ..., "score": ...}]}``, whose lines stand in reading order. A document is learned page
    by page, each picture before its lines.
    """

    name: ClassVar[str] = "idl"
    origin: ClassVar[str] = "https://huggingface.co/datasets/pixparse/idl-wds"

    image_members: tuple[str, ...] = attrs.field(
        default=("tif", "tiff", "png", "jpg", "jpeg"),
        validator=attrs.validators.min_len(1),
        metadata=doc("suffixes of the pages' picture; the first that is there counts"),
    )
    text_member: str = attrs.field(
        default="json", metadata=doc("suffix of the JSON of what was read")
    )
    pages_key: str = attrs.field(
        default="pages", metadata=doc("key of the JSON that holds the list of pages")
    )
    lines_key: str = attrs.field(
        default="text", metadata=doc("key of a page that holds its lines, in reading order")
    )

    def open(self) -> Source:
        from mmcore_blip3.idl import IdlSource

        return IdlSource(
            path=self.path,
            image_members=self.image_members,
            text_member=self.text_member,
            pages_key=self.pages_key,
            lines_key=self.lines_key,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_idl import make_up_idl

        make_up_idl(
            folder,
            content,
            text_member=self.text_member,
            pages_key=self.pages_key,
            lines_key=self.lines_key,
        )

    def relocated(self, folder: Path) -> Self:
        # Made-up rows have TIFF pictures, whatever the recipe's own rows have.
        return attrs.evolve(self, path=str(folder / "*.tar"), image_members=("tif",))


@attrs.frozen(kw_only=True)
class VisualGenomeSpec(FilesSpec):
    """Photographs and phrases about their regions, as in Visual Genome (JSON and folders).

    Which of its fields BLIP-3 used was not found. Assumed are the phrases of
    ``region_descriptions.json``, all those of a picture in one sample, without their boxes.
    """

    name: ClassVar[str] = "visual-genome"
    origin: ClassVar[str] = "https://homes.cs.washington.edu/~ranjay/visualgenome/"

    images: str = attrs.field(
        default="", metadata=doc("folder that holds `folders`; empty for that of each file")
    )
    folders: tuple[str, ...] = attrs.field(
        default=("VG_100K", "VG_100K_2"),
        validator=attrs.validators.min_len(1),
        metadata=doc("folders of pictures `<id>.jpg`; the first that has it counts"),
    )
    boxes: bool = attrs.field(
        default=False,
        metadata=doc("write each phrase in tags with its box, as shares of the sides"),
    )
    sizes: str = attrs.field(
        default="image_data.json",
        metadata=doc("file of the pictures' sizes, beside `path`; read for `boxes` only"),
    )
    separator: str = attrs.field(default="\n", metadata=doc("stands between phrases"))

    def open(self) -> Source:
        from mmcore_blip3.visual_genome import VisualGenomeSource

        return VisualGenomeSource(
            path=self.path,
            images=self.images,
            folders=self.folders,
            boxes=self.boxes,
            sizes=self.sizes,
            separator=self.separator,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_visual_genome import make_up_visual_genome

        make_up_visual_genome(folder, content, folders=self.folders, sizes=self.sizes)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "region_descriptions.json"), images="")
