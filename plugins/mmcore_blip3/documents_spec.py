"""The recipe tables of interleaved documents: web pages, PDF files, papers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mmcore.interfaces import Links, Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import doc

if TYPE_CHECKING:
    from mmcore_blip3.interleaved import Layout

ge = attrs.validators.ge


def _is_pattern(_spec: object, field: attrs.Attribute[str], value: str) -> None:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(
            f"{field.name} is {value!r}, wanted a regular expression: {error}"
        ) from error


@attrs.frozen(kw_only=True)
class DocumentsSpec(FilesSpec):
    """Text and pictures in reading order; all text is learned."""

    suffix: ClassVar[str]

    min_images: int = attrs.field(
        default=1,
        validator=ge(0),
        metadata=doc("documents with fewer pictures that can be used are rejected"),
    )
    max_images: int = attrs.field(
        default=0,
        validator=ge(0),
        metadata=doc("pictures after so many are left out, their text stays; 0: all are kept"),
    )
    text_separator: str = attrs.field(
        default="\n\n", metadata=doc("stands between paragraphs that no picture divides")
    )

    @property
    def layout(self) -> Layout:
        """How slots become parts."""
        from mmcore_blip3.interleaved import Layout

        return Layout(
            min_images=self.min_images,
            max_images=self.max_images,
            text_separator=self.text_separator,
        )

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / f"*.{self.suffix}"))


@attrs.frozen(kw_only=True)
class ParquetDocumentsSpec(DocumentsSpec):
    """Documents in parquet, with the pictures' bytes beside the published columns."""

    suffix: ClassVar[str] = "parquet"

    bytes_column: str = attrs.field(
        default="image_bytes",
        metadata=doc("column of the encoded pictures, a list with one slot for each of `images`"),
    )

    def open(self) -> Source:
        from mmcore_blip3.parquet_documents import ParquetDocuments

        return ParquetDocuments(
            path=self.path,
            bytes_column=self.bytes_column,
            layout=self.layout,
            prepare=self.prepare_command,
        )

    @property
    def links(self) -> Links:
        return Links(column="images", bytes_column=self.bytes_column)


@attrs.frozen(kw_only=True)
class ObelicsSpec(ParquetDocumentsSpec):
    """Web pages with their pictures, as in OBELICS (parquet)."""

    name: ClassVar[str] = "obelics"
    origin: ClassVar[str] = "https://huggingface.co/datasets/HuggingFaceM4/OBELICS"

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_obelics

        make_up_obelics(folder, content, bytes_column=self.bytes_column)


@attrs.frozen(kw_only=True)
class Mint1tHtmlSpec(ParquetDocumentsSpec):
    """Web pages with their pictures, as in MINT-1T-HTML (parquet).

    `image_hashes` names the pictures only, in order, and is not read: what is aligned with the
    texts is `images`, and `bytes_column` with both.
    """

    name: ClassVar[str] = "mint1t-html"
    origin: ClassVar[str] = "https://huggingface.co/datasets/mlfoundations/MINT-1T-HTML"

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_html

        make_up_html(folder, content, bytes_column=self.bytes_column)


@attrs.frozen(kw_only=True)
class Mint1tPdfSpec(DocumentsSpec):
    """PDF files with their pictures, as in MINT-1T-PDF (tar)."""

    name: ClassVar[str] = "mint1t-pdf"
    origin: ClassVar[str] = (
        "https://huggingface.co/datasets/mlfoundations/MINT-1T-PDF-CC-2023-06 "
        "(and -2023-14, -2023-23, -2023-40, -2023-50, -2024-10, -2024-18)"
    )
    suffix: ClassVar[str] = "tar"

    min_side: int = attrs.field(
        default=0,
        validator=ge(0),
        metadata=doc("pictures with a shorter side are left out, by their metadata", unit="pixels"),
    )

    def open(self) -> Source:
        from mmcore_blip3.mint1t_pdf import Mint1tPdfSource

        return Mint1tPdfSource(path=self.path, layout=self.layout, min_side=self.min_side)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_pdf

        make_up_pdf(folder, content)


@attrs.frozen(kw_only=True)
class Mint1tArxivSpec(DocumentsSpec):
    """Papers with their figures, as in MINT-1T-ArXiv (tar).

    How the pictures' members are called was not found. Assumed is that the JSON has `images`
    beside `texts`, slot by slot, and that a slot names a member `<key>.<slot>`, such as
    `<key>.0.png`. A key is the paper's number, with its dot, or else ends at the first dot.
    """

    name: ClassVar[str] = "mint1t-arxiv"
    origin: ClassVar[str] = "https://huggingface.co/datasets/mlfoundations/MINT-1T-ArXiv"
    suffix: ClassVar[str] = "tar"

    texts_key: str = attrs.field(
        default="texts", metadata=doc("the JSON's key for the paragraphs, null where a figure is")
    )
    images_key: str = attrs.field(
        default="images", metadata=doc("the JSON's key for the figures, null where text is")
    )
    image_member: str = attrs.field(
        default="{image}",
        metadata=doc(
            "what follows the paper's key in the name of a figure's member; {image} is what its "
            "slot says, {n} its number in the paper, from 0"
        ),
    )
    key_pattern: str = attrs.field(
        default=r"\d{4}\.\d{4,5}(v\d+)?|[^.]+",
        validator=_is_pattern,
        metadata=doc(
            "regular expression for the part of a member's name that is the paper's key; a dot "
            "and the member's suffix follow it"
        ),
    )

    def open(self) -> Source:
        from mmcore_blip3.mint1t_arxiv import Mint1tArxivSource

        return Mint1tArxivSource(
            path=self.path,
            layout=self.layout,
            texts_key=self.texts_key,
            images_key=self.images_key,
            image_member=self.image_member,
            key_pattern=self.key_pattern,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_arxiv

        make_up_arxiv(
            folder,
            content,
            texts_key=self.texts_key,
            images_key=self.images_key,
            image_member=self.image_member,
        )

    def relocated(self, folder: Path) -> Self:
        # Made-up papers are called by their numbers, whatever the recipe's own are called.
        pattern = attrs.fields(type(self)).key_pattern.default
        return attrs.evolve(super().relocated(folder), key_pattern=pattern)
