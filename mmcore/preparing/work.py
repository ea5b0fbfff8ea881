"""The pairs of a stage in units of a few rows, and which of them are done in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from mmcore.data.reader import SourceReader
from mmcore.interfaces import Row, SampleKey, Shard, SourceSpec
from mmcore.recipe import Recipe, Stage, labels
from mmcore.run_folder.folder import write_whole
from mmcore_registry import nearest

DESCRIPTION, DONE = "prepared.json", "units"
"""What the folder was made of; and below here a receipt for every unit that is done."""


class PrepareError(ValueError):
    """The pairs cannot be prepared, or not in this folder."""


@attrs.frozen(eq=False)
class Unit:
    """Rows that are prepared together, and whose files appear together.

    Attributes:
        number: among all units of the stage.
        reader: of their source.
        shard: that they lie in.
        start, stop: the rows.
    """

    number: int
    reader: SourceReader
    shard: Shard
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start

    def read(self) -> Iterator[tuple[SampleKey, Row]]:
        """Its rows with their keys."""
        for number, row in self.reader.rows(self.shard, self.start, self.stop):
            yield SampleKey(self.reader.label, self.shard.name, number), row


@attrs.frozen(eq=False)
class Work:
    """What is to be prepared.

    Attributes:
        recipe, stage: whose pairs, and how they become tokens.
        units: all of them.
        rows_per_file: rows of a unit, at most.
    """

    recipe: Recipe
    stage: Stage
    units: Sequence[Unit]
    rows_per_file: int

    @property
    def rows(self) -> int:
        return sum(unit.rows for unit in self.units)


def work_of(recipe: Recipe, stage: Stage, rows_per_file: int) -> Work:
    """All pairs of a stage, but those that are prepared already.

    Raises:
        DataFault, EmptySource: a source cannot be read.
    """
    pairs = [(label, spec) for label, spec in labels(stage) if _unprepared(spec)]
    units = units_of([SourceReader(*one) for one in pairs], rows_per_file)
    return Work(recipe, stage, units, rows_per_file)


def stage_of(recipe: Recipe, name: str | None) -> Stage:
    """The stage whose pairs are meant.

    Raises:
        PrepareError: there is no such stage, or it has no pairs; or none is named, and there is
            not exactly one that has.
    """
    names = [stage.name for stage in recipe.stages]
    if name is not None and name not in names:
        close = nearest(name, names)
        hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(names)}"
        raise PrepareError(f"no stage is called {name!r}; {hint}")
    found = [one for one in recipe.stages if any(map(_unprepared, one.data))]
    if name is not None:
        found = [one for one in found if one.name == name]
    if not found:
        where = f"stage {name!r}" if name else "the recipe"
        raise PrepareError(f"no source of {where} gives pairs that are not prepared")
    if len(found) > 1:
        listing = ", ".join(one.name for one in found)
        raise PrepareError(
            f"several stages have preference pairs: {listing}; name one with --stage"
        )
    return found[0]


def _unprepared(spec: SourceSpec) -> bool:
    return spec.gives_pairs and not spec.gives_references


def units_of(readers: Sequence[SourceReader], rows: int) -> list[Unit]:
    """All rows of the sources, in units of at most so many; none reaches over a shard's end.

    Raises:
        DataFault, EmptySource: a source cannot be read.
    """
    units: list[Unit] = []
    for reader in readers:
        reader.check_not_empty()
        for shard in reader.shards:
            length = reader.length(shard)
            for start in range(0, length, rows):
                stop = min(start + rows, length)
                units.append(Unit(len(units), reader, shard, start, stop))
    return units


def begin(folder: Path, description: Mapping[str, Any]) -> None:
    """Write down what the folder is made of, or check that it was begun with the same.

    Raises:
        PrepareError: it was begun with something else, all of which is named; or it holds files
            of something else.
    """
    wanted = json.loads(json.dumps(description))
    path = folder / DESCRIPTION
    if not path.exists():
        foreign = sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))
        foreign = [name for name in foreign if name != f"{DESCRIPTION}.new"]
        if foreign:
            raise PrepareError(
                f"{folder} holds {foreign[0]!r} and no {DESCRIPTION}: it was not made by "
                "`mmcore data prepare-dpo`; name another folder"
            )
        write_whole(path, json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PrepareError(f"{path} is damaged ({error}); name another folder") from None
    differing = [
        f"{name} was {found.get(name)!r}, is {wanted.get(name)!r}"
        for name in dict.fromkeys((*found, *wanted))
        if found.get(name) != wanted.get(name)
    ]
    if differing:
        raise PrepareError(
            f"{folder} was begun with something else: {'; '.join(differing)}; name another folder, "
            "or delete this one"
        )


def receipt_path(folder: Path, unit: Unit) -> Path:
    """The file that says that a unit is done; it is written last of the unit's."""
    return folder / DONE / f"{unit.number:05}.json"


def receipt(folder: Path, unit: Unit) -> dict[str, Any] | None:
    """What became of a unit's rows; None where it is not done."""
    path = receipt_path(folder, unit)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise PrepareError(f"{path} is damaged ({error}); delete it to have it made anew") from None
    assert isinstance(found, dict)
    return found
