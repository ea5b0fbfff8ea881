"""The recipe table of VLGuard: what to answer where harm is asked for or shown."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import doc

Kind = Literal["safe", "unsafe", "unsafe-picture"]


@attrs.frozen(kw_only=True)
class VlGuardSpec(FilesSpec):
    """Requests that are met or declined, as in VLGuard (JSON).

    An entry with a harmful picture has one instruction, which is declined; one with a harmless
    picture has a harmless instruction and a harmful one. Every instruction is a conversation.
    That BLIP-3's 2,000 unsafe examples are those of `["unsafe", "unsafe-picture"]` is assumed
    from their number; what else it drew from VLGuard was not found.
    """

    name: ClassVar[str] = "vlguard"
    origin: ClassVar[str] = "https://huggingface.co/datasets/ys-zong/VLGuard"

    instructions: tuple[Kind, ...] = attrs.field(
        default=("safe", "unsafe", "unsafe-picture"),
        validator=attrs.validators.min_len(1),
        metadata=doc(
            "which are read: safe ones and unsafe ones about a safe picture, those about an "
            "unsafe picture"
        ),
    )
    images: str = attrs.field(
        default="",
        metadata=doc(
            "folder below which the pictures lie, that of train.zip; empty for the folder of each "
            "file of `path`"
        ),
    )

    def open(self) -> Source:
        from mmcore_blip3.vlguard import VlGuard

        return VlGuard(path=self.path, images=self.images, instructions=self.instructions)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_vlguard import make_up_vlguard

        make_up_vlguard(folder, content, instructions=self.instructions)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.json"), images=str(folder / "train"))
