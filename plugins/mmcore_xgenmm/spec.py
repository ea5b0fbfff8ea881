"""The format of xGen-MM's checkpoints, as the core meets it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

import attrs

from mmcore.interfaces import (
    ForeignCheckpoint,
    ForeignLayout,
    FormatSpec,
    OutgoingModel,
    Tables,
)


@attrs.frozen(kw_only=True)
class XGenMMSpec(FormatSpec):
    """xGen-MM (BLIP-3): the released Hugging Face folders, and the training code's files."""

    name: ClassVar[str] = "xgen-mm"

    def open(
        self, path: Path, recipe: Tables | None, tokenizer: Mapping[str, bytes]
    ) -> AbstractContextManager[ForeignCheckpoint]:
        from mmcore_xgenmm.reading import open_file, open_folder

        opener = open_folder if path.is_dir() else open_file
        return opener(path, recipe, tokenizer)

    def layout(self, model: OutgoingModel) -> ForeignLayout:
        from mmcore_xgenmm.writing import layout

        return layout(model)
