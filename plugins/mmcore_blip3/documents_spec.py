"""The recipe tables of the datasets of interleaved documents."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Source, SourceSpec, SyntheticContent
from mmcore_blip3.files import folder_of
from mmcore_registry import doc

ge, min_len = attrs.validators.ge, attrs.validators.min_len

_BYTES = doc(
    "column of the encoded pictures, aligned with `images`: null for a text or a dead link"
)
_TEXTS, _IMAGES = doc("the JSON's key for its texts"), doc("the JSON's key for its pictures")
_JSON = doc("suffix of the JSON member")


@attrs.frozen(kw_only=True)
class DocumentsSpec(SourceSpec):
    """Documents of texts and pictures in reading order."""

    pattern: ClassVar[str] = "*.parquet"
    """What the files that ``synthesize`` writes are called."""

    min_images: int = attrs.field(
        default=1,
        validator=ge(0),
        metadata=doc("a document with fewer pictures that can be had is rejected"),
    )
    separator: str = attrs.field(
        default="\n\n", metadata=doc("what stands between two texts with no picture between them")
    )

    @property
    def folder(self) -> Path:
        return folder_of(self.path)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / self.pattern))


@attrs.frozen(kw_only=True)
class ObelicsSpec(DocumentsSpec):
    """Web pages in reading order, as in OBELICS (parquet)."""

    name: ClassVar[str] = "obelics"
    origin: ClassVar[str] = "https://huggingface.co/datasets/HuggingFaceM4/OBELICS"

    bytes_column: str = attrs.field(default="image_bytes", metadata=_BYTES)

    def open(self) -> Source:
        from mmcore_blip3.web_documents import WebDocuments

        return WebDocuments(
            path=self.path,
            bytes_column=self.bytes_column,
            min_images=self.min_images,
            separator=self.separator,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_obelics

        make_up_obelics(folder, content, bytes_column=self.bytes_column)


@attrs.frozen(kw_only=True)
class Mint1tHtmlSpec(ObelicsSpec):
    """Web pages in reading order, as in MINT-1T HTML (parquet)."""

    name: ClassVar[str] = "mint1t-html"
    origin: ClassVar[str] = "https://huggingface.co/datasets/mlfoundations/MINT-1T-HTML"

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_mint_html

        make_up_mint_html(folder, content, bytes_column=self.bytes_column)


@attrs.frozen(kw_only=True)
class Mint1tPdfSpec(DocumentsSpec):
    """PDF files with their pictures, as in MINT-1T PDF (tars of JSON and TIFF of many frames)."""

    name: ClassVar[str] = "mint1t-pdf"
    origin: ClassVar[str] = "https://huggingface.co/datasets/mlfoundations/MINT-1T-PDF-CC-2023-06"
    pattern: ClassVar[str] = "*.tar"

    image_members: tuple[str, ...] = attrs.field(
        default=("tiff", "tif"),
        validator=min_len(1),
        metadata=doc("suffixes of the pictures' member; the first that is there counts"),
    )

    def open(self) -> Source:
        from mmcore_blip3.mint_pdf import MintPdf

        return MintPdf(
            path=self.path,
            image_members=self.image_members,
            min_images=self.min_images,
            separator=self.separator,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_mint_pdf

        make_up_mint_pdf(folder, content, image_member=self.image_members[0])


@attrs.frozen(kw_only=True)
class Mint1tArxivSpec(DocumentsSpec):
    """Papers with their figures, as in MINT-1T ArXiv (tars of JSON and pictures).

    How the pictures' members are called is not published. It is assumed that they have the
    paper's key and that the JSON lists, aligned with the texts, what their names end in:
    ``a7.json`` with ``{"texts": ["Intro", null], "images": [null, "fig1.png"]}`` beside
    ``a7.fig1.png``. As in all webdataset tars, the key ends at the first dot.
    """

    name: ClassVar[str] = "mint1t-arxiv"
    origin: ClassVar[str] = "https://huggingface.co/datasets/mlfoundations/MINT-1T-ArXiv"
    pattern: ClassVar[str] = "*.tar"

    json_member: str = attrs.field(default="json", metadata=_JSON)
    texts_key: str = attrs.field(default="texts", metadata=_TEXTS)
    images_key: str = attrs.field(default="images", metadata=_IMAGES)

    def open(self) -> Source:
        from mmcore_blip3.mint_arxiv import MintArxiv

        return MintArxiv(
            path=self.path,
            json_member=self.json_member,
            texts_key=self.texts_key,
            images_key=self.images_key,
            min_images=self.min_images,
            separator=self.separator,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_documents import make_up_mint_arxiv

        make_up_mint_arxiv(
            folder,
            content,
            json_member=self.json_member,
            texts_key=self.texts_key,
            images_key=self.images_key,
        )
