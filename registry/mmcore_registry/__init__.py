"""The ground floor: what a plugin author needs to announce a component, and how they are found."""

from mmcore_registry.discovery import BLOCK_VARIABLE, ENTRY_POINT_GROUP, discover
from mmcore_registry.errors import (
    AmbiguousComponent,
    ApiMismatch,
    RegistryError,
    UnknownComponent,
    nearest,
)
from mmcore_registry.hooks import PROJECT, hookimpl, hookspec
from mmcore_registry.registry import API, Component, Plugin, Registry
from mmcore_registry.spec import (
    Problem,
    Spec,
    VariantPreset,
    WordChoice,
    doc,
    from_variant,
    one_of,
)

__all__ = [
    "API",
    "BLOCK_VARIABLE",
    "ENTRY_POINT_GROUP",
    "PROJECT",
    "AmbiguousComponent",
    "ApiMismatch",
    "Component",
    "Plugin",
    "Problem",
    "Registry",
    "RegistryError",
    "Spec",
    "UnknownComponent",
    "VariantPreset",
    "WordChoice",
    "discover",
    "doc",
    "from_variant",
    "hookimpl",
    "hookspec",
    "nearest",
    "one_of",
]
