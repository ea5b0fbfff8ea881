"""What the recipe tables of all sources have in common: their rows lie in files under a folder."""

from __future__ import annotations

import glob
from pathlib import Path

import attrs

from mmcore.interfaces import SourceSpec
from mmcore.kit.files import folder_of
from mmcore.kit.store import is_url, local


@attrs.frozen(kw_only=True)
class FilesSpec(SourceSpec):
    """Files that `path` names, by itself or by a pattern, on a disk or as a URL."""

    def __attrs_post_init__(self) -> None:
        if self.synthetic is not None and is_url(self.path):
            raise ValueError(
                f"path is {self.path!r}, and rows are made up (`synthetic`) on a local disk only"
            )

    @property
    def folder(self) -> Path:
        """The folder of local files; of files in a store, the local folder that would be called
        like theirs."""
        return Path(folder_of(self.path).rpartition("://")[2])


@attrs.frozen(kw_only=True)
class FolderSpec(FilesSpec):
    """A folder that `path` names, on a disk or as a URL, and all that lies in it."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if glob.has_magic(self.path):
            raise ValueError(f"path is {self.path!r}, wanted one folder, without *, ? and [")

    @property
    def folder(self) -> Path:
        """The folder itself; of one in a store, the local folder that would be called like it."""
        return Path(local(self.path).rpartition("://")[2])
