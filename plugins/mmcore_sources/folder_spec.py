"""The recipe table of a folder of captioned pictures."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FolderSpec
from mmcore_registry import doc, one_of

Captions = Literal["auto", "files", "metadata"]


@attrs.frozen(kw_only=True)
class CaptionedFolderSpec(FolderSpec):
    """Pictures with captions in a folder of your own: text files beside them, or a metadata file.

    `a.txt` is the caption of `a.jpg`; or the folder has a metadata.jsonl or metadata.csv with
    `file_name` and `text`, as Hugging Face's imagefolder. Folders may lie in folders.
    """

    name: ClassVar[str] = "captioned-folder"

    path: str = attrs.field(metadata=doc("the folder"))
    captions: Captions = attrs.field(
        default="auto",
        validator=one_of(["auto", "files", "metadata"]),
        metadata=doc(
            "`files`: a text file beside every picture; `metadata`: the rows of metadata files; "
            "`auto`: metadata files for the folders that have one, text files for the others"
        ),
    )
    caption_suffix: str = attrs.field(
        default="txt", metadata=doc("suffix of the text files, without a dot")
    )
    text_column: str = attrs.field(
        default="text", metadata=doc("column, or JSON key, of the caption in metadata files")
    )

    def open(self) -> Source:
        from mmcore_sources.folder_source import CaptionedFolderSource

        return CaptionedFolderSource(
            path=self.path,
            captions=self.captions,
            caption_suffix=self.caption_suffix,
            text_column=self.text_column,
        )

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_sources.made_up_folder import make_up_folder

        make_up_folder(
            folder,
            content,
            self.name,
            metadata=self.captions == "metadata",
            caption_suffix=self.caption_suffix,
            text_column=self.text_column,
        )

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder))
