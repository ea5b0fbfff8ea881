"""Announces the encoder."""

from clsvit.spec import ClsVitSpec
from mmcore_registry import hookimpl


@hookimpl
def mmcore_components():
    return [ClsVitSpec]
