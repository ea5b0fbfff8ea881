"""Announces the sources for data of one's own."""

from __future__ import annotations

from mmcore_registry import Spec, hookimpl
from mmcore_sources.folder_spec import CaptionedFolderSpec
from mmcore_sources.hf_spec import HfSpec
from mmcore_sources.parquet_spec import ParquetSpec
from mmcore_sources.prepared_spec import PreparedPairsSpec
from mmcore_sources.webdataset_spec import WebdatasetSpec


@hookimpl
def mmcore_components() -> list[type[Spec]]:
    return [CaptionedFolderSpec, HfSpec, ParquetSpec, PreparedPairsSpec, WebdatasetSpec]
