"""Which registered sources are published as links."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from mmcore.interfaces import Links, SourceSpec
from mmcore_registry import discover

if TYPE_CHECKING:
    from mmcore_registry import Spec


def links_of(source: str) -> Links:
    """How a source's published rows name their pictures.

    Args:
        source: what a recipe's ``use`` says.

    Raises:
        RegistryError: there is no such source.
        ValueError: it has no links.
    """
    registry = discover()
    links = _links(registry.get("source", source))
    if links is None:
        found = [one for one in registry.components("source") if _links(one.spec) is not None]
        raise ValueError(
            f"source {source!r} has no links to fetch: its published files hold the pictures, or "
            "name them by their files; sources with links: "
            f"{', '.join(registry.use(one.spec) for one in found)}"
        )
    return links


def _links(kind: type[Spec]) -> Links | None:
    """Of a spec with every key at its default, which ``path`` has not."""
    assert issubclass(kind, SourceSpec)
    needed = [
        one.name
        for one in attrs.fields(kind)
        if one.default is attrs.NOTHING and one.init and one.name != "path"
    ]
    return None if needed else kind(path="files").links
