"""What the recipe tables of all sources have in common: their rows lie in files under a folder."""

from __future__ import annotations

from pathlib import Path

import attrs

from mmcore.interfaces import SourceSpec
from mmcore.kit.files import folder_of


@attrs.frozen(kw_only=True)
class FilesSpec(SourceSpec):
    """Files that `path` names, by itself or by a pattern."""

    @property
    def folder(self) -> Path:
        return folder_of(self.path)
