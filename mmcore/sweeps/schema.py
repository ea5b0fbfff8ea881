"""The tables of a sweep's file, as frozen records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import attrs

from mmcore_registry import doc, one_of

FORMAT = 1
"""The format of a sweep's file that this mmcore reads and writes."""

Keep = Literal["all", "last", "nothing"]

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ge, min_len, optional = attrs.validators.ge, attrs.validators.min_len, attrs.validators.optional


def _named(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    """Names of sweeps and axes become parts of the names of folders."""
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(
            f"{attribute.name} is {value!r}, wanted a letter or digit, then letters, digits, "
            "'.', '_' and '-' only: folders are called by it"
        )


def _known_format(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value != FORMAT:
        raise ValueError(f"{attribute.name} is {value}, this mmcore reads format {FORMAT} only")


def _seeds(_: object, attribute: attrs.Attribute[tuple[int, ...]], value: tuple[int, ...]) -> None:
    twice = sorted({seed for seed in value if value.count(seed) > 1})
    if twice:
        raise ValueError(f"{attribute.name} has {', '.join(map(str, twice))} more than once")
    if any(seed < 0 for seed in value):
        raise ValueError(f"{attribute.name} has one below 0: {list(value)}")


@attrs.frozen(kw_only=True)
class PointTable:
    """A point of an axis that takes several changes of the recipe, under one label."""

    label: str = attrs.field(validator=min_len(1), metadata=doc("what the point is called"))
    set: tuple[str, ...] = attrs.field(
        metadata=doc("changes of the recipe, KEY=VALUE each, as --set takes them; may be none")
    )


@attrs.frozen(kw_only=True)
class AxisTable:
    """One thing that is varied: a key with its values, or points that are called by labels."""

    name: str = attrs.field(validator=_named, metadata=doc("name of the axis"))
    key: str | None = attrs.field(
        default=None, metadata=doc("key of the recipe that takes the values, as --set names it")
    )
    values: tuple[object, ...] = attrs.field(default=(), metadata=doc("values of the key, in TOML"))
    labels: tuple[str, ...] = attrs.field(
        default=(), metadata=doc("what the values are called; not written, what they are")
    )
    points: tuple[PointTable, ...] = attrs.field(
        default=(), metadata=doc("instead of a key: points of several changes each")
    )

    def __attrs_post_init__(self) -> None:
        axis = f"axis {self.name!r}"
        if (self.key is None) == (not self.points):
            raise ValueError(f"{axis} wants either key and values, or points")
        if self.key is None and (self.values or self.labels):
            raise ValueError(f"{axis} has points, which have their own labels: leave out values")
        if self.key is not None and not self.values:
            raise ValueError(f"{axis} has a key and no values for it")
        if self.labels and len(self.labels) != len(self.values):
            raise ValueError(
                f"{axis} has {len(self.labels)} labels for {len(self.values)} values: wanted as "
                "many, or none"
            )


@attrs.frozen(kw_only=True)
class MatchTable:
    """What must be equal across the cells, so that they can be compared."""

    what: Literal["tokens", "flops"] = attrs.field(
        validator=one_of(["tokens", "flops"]),
        metadata=doc("packed positions that are trained on, or the operations of all steps"),
    )
    within: float = attrs.field(
        default=0.01,
        validator=ge(0),
        metadata=doc("how far a cell may be from the first one, as a share of it"),
    )
    set: bool = attrs.field(
        default=False,
        metadata=doc("make the stages of every cell as long as it takes to match the first cell"),
    )


@attrs.frozen(kw_only=True)
class SweepTable:
    """A sweep: a recipe, what is varied in it, and how its cells are run and compared."""

    format: int = attrs.field(
        default=FORMAT, validator=_known_format, metadata=doc("version of the sweep's format")
    )
    name: str = attrs.field(
        validator=_named, metadata=doc("name of the sweep, and of its folder under sweeps/")
    )
    question: str = attrs.field(
        default="", metadata=doc("what the sweep asks, in a sentence; a report is headed by it")
    )
    recipe: str = attrs.field(
        validator=min_len(1), metadata=doc("path of the recipe, from the folder of this file")
    )
    seeds: tuple[int, ...] = attrs.field(
        default=(1, 2, 3),
        validator=[min_len(1), _seeds],
        metadata=doc("seeds of the recipe; every point of the axes is run with each"),
    )
    combine: Literal["grid", "list"] = attrs.field(
        default="grid",
        validator=one_of(["grid", "list"]),
        metadata=doc("every point of an axis with every one of the others, or the n-th of all"),
    )
    set: tuple[str, ...] = attrs.field(
        default=(), metadata=doc("changes of the recipe in all cells, below those of the axes")
    )
    axes: tuple[AxisTable, ...] = attrs.field(validator=min_len(1), metadata=doc("what is varied"))
    set_last: tuple[str, ...] = attrs.field(
        default=(), metadata=doc("changes in all cells, above those of the axes")
    )
    match: MatchTable | None = attrs.field(
        default=None, metadata=doc("what must be equal across cells; not written, nothing")
    )
    scores: tuple[str, ...] = attrs.field(
        default=(), metadata=doc("what a report compares first; not written, all evaluations")
    )
    keep: Keep = attrs.field(
        default="last",
        validator=one_of(["all", "last", "nothing"]),
        metadata=doc("checkpoints of a cell that stay when it has finished"),
    )
    scales: Mapping[str, tuple[str, ...]] = attrs.field(
        factory=dict,
        metadata=doc("changes of this file or the recipe, by the word that --scale asks by"),
    )

    def __attrs_post_init__(self) -> None:
        names = [axis.name for axis in self.axes]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"several axes are called {', '.join(map(repr, twice))}")
        if "seed" in names:
            raise ValueError("an axis is called 'seed', which every cell has already: seeds = ...")
        sizes = {axis.name: len(axis.points or axis.values) for axis in self.axes}
        if self.combine == "list" and len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ValueError(f'combine = "list" wants axes of one length, and these have: {told}')


def without_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """The file of a sweep without its empty lists and texts, which say no more than none.

    A point of an axis stays as it is: its list of changes may be empty, and must be there.
    """
    axes = [_filled(axis) for axis in table.get("axes", ())]
    return _filled({**table, "axes": axes})


def _filled(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value not in ("", [], (), {})}
