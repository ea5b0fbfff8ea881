"""The recipe tables of the datasets of caption pairs: one form, five datasets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import attrs

from mmcore.interfaces import Links, Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import doc

_COLUMN = doc("column of the caption, in parquet")


@attrs.frozen(kw_only=True)
class CaptionPairsSpec(FilesSpec):
    """Pictures with one caption each, in prepared parquet files or in img2dataset's tars."""

    written: ClassVar[Literal["parquet", "tar"]] = "tar"
    """The form in which rows are made up: the one in which the dataset is most often met."""

    caption_column: str = attrs.field(default="caption", metadata=_COLUMN)
    bytes_column: str = attrs.field(
        default="image_bytes", metadata=doc("column of the encoded picture, in parquet")
    )
    caption_member: str = attrs.field(
        default="txt", metadata=doc("suffix of the caption's member, in tars")
    )
    image_members: tuple[str, ...] = attrs.field(
        default=("jpg", "jpeg", "png", "webp"),
        validator=attrs.validators.min_len(1),
        metadata=doc("suffixes of the picture's member, in tars; the first that is there counts"),
    )

    def open(self) -> Source:
        from mmcore_blip3.caption_pairs import CaptionPairs

        return CaptionPairs(
            path=self.path,
            caption_column=self.caption_column,
            bytes_column=self.bytes_column,
            caption_member=self.caption_member,
            image_members=self.image_members,
            prepare=self.prepare_command,
        )

    @property
    def links(self) -> Links:
        return Links(column="url", bytes_column=self.bytes_column)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_captions import make_up_parquet, make_up_tars

        if self.written == "tar":
            make_up_tars(folder, content, self.name, self.image_members[0], self.caption_member)
        else:
            make_up_parquet(folder, content, self.name, self.caption_column, self.bytes_column)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / f"*.{self.written}"))


@attrs.frozen(kw_only=True)
class Blip3KaleSpec(CaptionPairsSpec):
    """Pictures with long captions that name what is known of them, as in BLIP3-KALE."""

    name: ClassVar[str] = "blip3-kale"
    origin: ClassVar[str] = "https://huggingface.co/datasets/Salesforce/blip3-kale"
    written: ClassVar[Literal["parquet", "tar"]] = "parquet"


@attrs.frozen(kw_only=True)
class DatacompSpec(CaptionPairsSpec):
    """Pictures of the web with their raw alt texts, as in DataComp-1B."""

    name: ClassVar[str] = "datacomp"
    origin: ClassVar[str] = "https://huggingface.co/datasets/mlfoundations/datacomp_1b"

    caption_column: str = attrs.field(default="text", metadata=_COLUMN)


@attrs.frozen(kw_only=True)
class Cc12mSpec(CaptionPairsSpec):
    """Pictures of the web with alt texts, as in Conceptual 12M."""

    name: ClassVar[str] = "cc12m"
    origin: ClassVar[str] = "https://github.com/google-research-datasets/conceptual-12m"

    @property
    def links(self) -> Links:
        return attrs.evolve(super().links, tsv=("url", self.caption_column))


@attrs.frozen(kw_only=True)
class Cc3mSpec(CaptionPairsSpec):
    """Pictures of the web with cleaned alt texts, as in Conceptual Captions."""

    name: ClassVar[str] = "cc3m"
    origin: ClassVar[str] = "https://github.com/google-research-datasets/conceptual-captions"

    @property
    def links(self) -> Links:
        return attrs.evolve(super().links, tsv=(self.caption_column, "url"))


@attrs.frozen(kw_only=True)
class SbuSpec(CaptionPairsSpec):
    """Photographs with the captions of their owners, as in SBU Captions."""

    name: ClassVar[str] = "sbu"
    origin: ClassVar[str] = "https://www.cs.rice.edu/~vo9/sbucaptions/"

    @property
    def links(self) -> Links:
        lists = {"image_urls": "url", "captions": self.caption_column}
        return attrs.evolve(super().links, tsv=("url", self.caption_column), json=lists)
