"""The recipe table of conversations."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_registry import doc

ge, le = attrs.validators.ge, attrs.validators.le

_IMAGES = doc("folder below which the pictures lie; empty for the folder of each file of `path`")


@attrs.frozen(kw_only=True)
class LlavaJsonSpec(FilesSpec):
    """Conversations about pictures, or about none, in LLaVA's JSON format (.json and .jsonl)."""

    name: ClassVar[str] = "llava-json"
    origin: ClassVar[str] = "your own choice of instruction sets, converted to LLaVA's JSON"

    images: str = attrs.field(default="", metadata=_IMAGES)
    pictures: int = attrs.field(
        default=1,
        validator=[ge(0), le(4)],
        metadata=doc("pictures of a made-up row, 0 to 4; real rows have as many as they have"),
    )
    turns: int = attrs.field(
        default=4,
        validator=ge(1),
        metadata=doc("most questions of a made-up row; real rows have as many as they have"),
    )

    def open(self) -> Source:
        from mmcore_blip3.llava_json import LlavaJsonSource

        return LlavaJsonSource(path=self.path, images=self.images)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_blip3.made_up_llava import make_up_llava

        make_up_llava(folder, content, pictures=self.pictures, turns=self.turns)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.json"), images="")
