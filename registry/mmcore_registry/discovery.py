"""Find the installed plugins by their entry points, one by one, so that none can break another."""

from __future__ import annotations

import functools
import os
import time
from importlib.metadata import EntryPoint, entry_points

import pluggy

from mmcore_registry.errors import RegistryError
from mmcore_registry.hooks import PROJECT, ComponentHooks
from mmcore_registry.registry import Plugin, Registry

ENTRY_POINT_GROUP = "mmcore"
BLOCK_VARIABLE = "MMCORE_BLOCK_PLUGINS"


@functools.cache
def discover() -> Registry:
    """The registry of this process: every plugin of group ``mmcore``, loaded once.

    A plugin that cannot be imported, or whose components are malformed, is recorded as broken
    with its reason. ``MMCORE_BLOCK_PLUGINS=a,b`` leaves the entry points ``a`` and ``b`` alone.
    """
    blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")} - {""}
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)
    return load(found, blocked)


def load(found: list[EntryPoint], blocked: set[str]) -> Registry:
    """A registry of these entry points; ``blocked`` names are listed but not imported."""
    registry = Registry()
    for entry in found:
        registry.record(_load_one(entry, registry, entry.name in blocked))
    return registry


def _load_one(entry: EntryPoint, registry: Registry, is_blocked: bool) -> Plugin:
    distribution = entry.dist.name if entry.dist else "unknown"
    version = entry.dist.version if entry.dist else "unknown"

    def plugin(status: str, reason: str = "", seconds: float = 0.0) -> Plugin:
        return Plugin(entry.name, entry.value, distribution, version, status, reason, seconds)

    if is_blocked:
        return plugin("blocked", f"named in {BLOCK_VARIABLE}")
    started = time.perf_counter()
    try:
        module = entry.load()
        specs = _announced(module)
        registry.add(specs, plugin=entry.name, distribution=distribution)
    except (Exception, SystemExit) as error:  # a stranger's module must disturb nobody
        return plugin("broken", f"{type(error).__name__}: {error}")
    return plugin("loaded", seconds=time.perf_counter() - started)


def _announced(module: object) -> list[type]:
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(ComponentHooks)
    manager.register(module)
    manager.check_pending()
    answers = manager.hook.mmcore_components()
    specs = [spec for answer in answers for spec in answer]
    if not specs:
        raise RegistryError(
            "announces no components: define `@hookimpl def mmcore_components()` returning "
            "its spec classes"
        )
    return specs
