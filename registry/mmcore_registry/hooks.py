"""The one hook by which a plugin announces what it provides."""

from __future__ import annotations

from collections.abc import Sequence

import pluggy

from mmcore_registry.spec import Spec

PROJECT = "mmcore"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class ComponentHooks:
    """What a plugin module may answer at discovery."""

    @hookspec
    def mmcore_components(self) -> Sequence[type[Spec]]:  # type: ignore[empty-body]
        """Return the spec classes of this plugin."""
