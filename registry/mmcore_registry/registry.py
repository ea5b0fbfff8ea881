"""Every component that the installed plugins announce, findable by kind and name."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

import attrs

from mmcore_registry.errors import AmbiguousComponent, ApiMismatch, RegistryError, UnknownComponent
from mmcore_registry.spec import Spec

API = 1
"""The version of the component interface that this registry speaks."""


@attrs.frozen
class Component:
    """A spec class and where it came from."""

    spec: type[Spec]
    plugin: str
    distribution: str

    @property
    def kind(self) -> str:
        return self.spec.kind

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def summary(self) -> str:
        """First line of the spec's docstring."""
        return (inspect.getdoc(self.spec) or "").partition("\n")[0]


@attrs.frozen
class Plugin:
    """One entry point of the group ``mmcore``: loaded, blocked, or broken with a reason."""

    name: str
    module: str
    distribution: str
    version: str
    status: str  # "loaded" | "blocked" | "broken"
    reason: str = ""
    seconds: float = 0.0


class Registry:
    """Components by (kind, name). Clashes are kept, and reported when the name is asked for."""

    def __init__(self) -> None:
        self._components: dict[tuple[str, str], list[Component]] = {}
        self._plugins: list[Plugin] = []

    def record(self, plugin: Plugin) -> None:
        """Remember how a plugin fared."""
        self._plugins.append(plugin)

    def add(self, specs: Iterable[type[Spec]], *, plugin: str, distribution: str) -> None:
        """Take all the components of a plugin, or, if one of them is malformed, none.

        Raises:
            RegistryError: a spec lacks kind, name or docstring, is no Spec, or its distribution
                has a component of that kind and name already.
            ApiMismatch: a spec was written for another component api.
        """
        components = [Component(_checked(spec), plugin, distribution) for spec in specs]
        known = self.components()
        for index, component in enumerate(components):
            for other in [*known, *components[:index]]:
                _refuse_twin(component, other)
        for component in components:
            key = (component.kind, component.name)
            self._components.setdefault(key, []).append(component)

    def get(self, kind: str, use: str) -> type[Spec]:
        """The spec class for ``use``, which is ``name`` or ``distribution:name``.

        Raises:
            UnknownComponent: nobody announces it; the nearest names are in the message.
            AmbiguousComponent: several distributions do, and ``use`` does not say whose.
        """
        distribution, _, name = use.rpartition(":")
        found = self._components.get((kind, name), [])
        if distribution:
            found = [one for one in found if one.distribution == distribution]
        if not found:
            raise UnknownComponent(kind, use, self.names(kind), self._remark())
        if len(found) > 1:
            raise AmbiguousComponent(kind, name, [one.distribution for one in found])
        return found[0].spec

    def use(self, spec: type[Spec]) -> str:
        """The word that a recipe writes for this spec class: the inverse of ``get``."""
        rivals = self._components.get((spec.kind, spec.name), [])
        owner = next((one for one in rivals if one.spec is spec), None)
        if owner is None or len(rivals) == 1:
            return spec.name
        return f"{owner.distribution}:{spec.name}"

    def kinds(self) -> list[str]:
        return sorted({kind for kind, _ in self._components})

    def names(self, kind: str) -> list[str]:
        return sorted(name for known, name in self._components if known == kind)

    def components(self, kind: str | None = None) -> list[Component]:
        """All components, ordered by kind and name."""
        keys = sorted(key for key in self._components if kind in (None, key[0]))
        return [component for key in keys for component in self._components[key]]

    def plugins(self) -> list[Plugin]:
        """All plugins found, also the blocked and the broken ones, in the order of discovery."""
        return list(self._plugins)

    def _remark(self) -> str:
        absent = [one for one in self._plugins if one.status != "loaded"]
        if not absent:
            return ""
        listing = ", ".join(f"{one.name} ({one.status})" for one in absent)
        return f"; plugins that are not loaded: {listing} - see `mmcore plugins`"


def _checked(spec: type[Spec]) -> type[Spec]:
    if not (isinstance(spec, type) and issubclass(spec, Spec)):
        raise RegistryError(f"{spec!r} is no subclass of mmcore_registry.Spec")
    label = f"{spec.__module__}.{spec.__qualname__}"
    if spec.api != API:  # first, since the other rules may be another api's
        raise ApiMismatch(label, spec.api, API)
    for attribute in ("kind", "name"):
        value = getattr(spec, attribute, None)
        if not isinstance(value, str) or not value:
            raise RegistryError(f"{label} has no {attribute}: set a class attribute of type str")
    if ":" in spec.name:
        raise RegistryError(f"{label} is named {spec.name!r}; ':' separates the distribution")
    if "__attrs_attrs__" not in vars(spec):
        raise RegistryError(f"{label} is not decorated with @attrs.frozen(kw_only=True)")
    if "__doc__" not in vars(spec) or not (inspect.getdoc(spec) or "").strip():
        raise RegistryError(f"{label} has no docstring; its first line is shown by `mmcore list`")
    if inspect.isabstract(spec):
        missing = ", ".join(sorted(getattr(spec, "__abstractmethods__", ())))
        raise RegistryError(f"{label} does not implement {missing}")
    return spec


def _refuse_twin(component: Component, other: Component) -> None:
    """Rivals of two distributions can be told apart in a recipe, those of one cannot."""
    same_name = (component.kind, component.name) == (other.kind, other.name)
    if same_name and component.distribution == other.distribution:
        raise RegistryError(
            f"{component.kind} {component.name!r} is announced twice by "
            f"{component.distribution}: by plugin {other.plugin} and by plugin {component.plugin}"
        )
