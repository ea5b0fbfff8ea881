"""The recipe table of parquet files of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import attrs

from mmcore.interfaces import Source, SyntheticContent
from mmcore.kit.files_spec import FilesSpec
from mmcore_sources.columns_spec import ColumnsSpec


@attrs.frozen(kw_only=True)
class ParquetSpec(FilesSpec, ColumnsSpec):
    """Captions, conversations or questions about pictures, in parquet files of your own."""

    name: ClassVar[str] = "parquet"

    def open(self) -> Source:
        from mmcore_sources.parquet_source import ParquetSource

        return ParquetSource(path=self.path, columns=self.columns, images=self.images)

    def synthesize(self, folder: Path, content: SyntheticContent) -> None:
        from mmcore_sources.made_up_columns import make_up_parquet

        make_up_parquet(folder, content, self.name, self.columns, turns=self.turns)

    def relocated(self, folder: Path) -> Self:
        return attrs.evolve(self, path=str(folder / "*.parquet"), images="")
