"""A spec: the frozen description that a component is before it is a module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import attrs

from mmcore_registry.errors import nearest


@attrs.frozen
class Problem:
    """One thing that a spec knows to be wrong before anything is built.

    Attributes:
        key: the key of the spec's own table that holds the fault, dotted where it lies deeper;
            empty for the table as a whole.
        message: what it had and what is wanted.
        hint: what the reader can do about it, or empty.
        machine: this machine lacks something that the recipe needs (weights, a package, a
            compiler); a plan or a rehearsal can do without.
    """

    key: str
    message: str
    hint: str = ""
    machine: bool = False


@attrs.frozen(kw_only=True)
class Spec:
    """What every component starts as: a frozen attrs class whose fields are the keys of a table.

    A subclass is decorated with ``@attrs.frozen(kw_only=True)``, names its ``kind`` (by deriving
    from one of ``mmcore.interfaces``) and its ``name``, and has a docstring whose first line is
    what ``mmcore list`` prints. It imports no torch.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    api: ClassVar[int] = 1

    def problems(self) -> Iterator[Problem]:
        """Faults that are visible before building: a missing file, keys that contradict."""
        yield from ()


def doc(text: str, *, unit: str = "") -> dict[str, str]:
    """Metadata of a field: the sentence (and unit) that ``mmcore show`` prints beside the key."""
    return {"doc": text, "unit": unit}


@attrs.frozen
class VariantPreset:
    """Reads a key's default from the preset that the spec's ``variant`` names."""

    presets: Mapping[str, object]
    attribute: str

    def __call__(self, spec: Any) -> Any:
        preset = self.presets.get(spec.variant)
        return None if preset is None else getattr(preset, self.attribute)


def from_variant(presets: Mapping[str, object], attribute: str) -> Any:
    """Default of a key that a variant presets: ``presets[self.variant].attribute``.

    Declare ``variant`` before the keys that use this. An unknown variant is left to the
    validator of ``variant`` (``one_of``), which says it better.
    """
    return attrs.Factory(VariantPreset(presets, attribute), takes_self=True)


def one_of(options: Iterable[str]) -> Callable[[object, attrs.Attribute[str], str], None]:
    """Validator of a key with a closed set of words; names the nearest one."""
    return WordChoice(tuple(sorted(options)))


@attrs.frozen
class WordChoice:
    """A key with a closed set of words."""

    words: tuple[str, ...]

    def __call__(self, _: object, attribute: attrs.Attribute[str], value: str) -> None:
        if value not in self.words:
            close = nearest(value, self.words)
            hint = f"; did you mean {close!r}?" if close else ""
            wanted = ", ".join(repr(word) for word in self.words)
            raise ValueError(f"{attribute.name} is {value!r}, wanted one of {wanted}{hint}")
