"""Say which names of tensors do not fit: all of them, grouped by their numbers, nearest first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

from mmcore.interfaces import WeightsError
from mmcore_registry import nearest

Shape = tuple[int, ...]
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def grouped(names: Iterable[str]) -> list[str]:
    """The names, those that differ in their first number alone written as one.

    ``layers.0.norm, layers.1.norm, layers.3.norm`` becomes ``layers.{0-1,3}.norm``; no name is
    left out.
    """
    numbers: dict[tuple[str, str], list[int]] = {}
    plain: list[str] = []
    for name in sorted(set(names)):
        if found := _NUMBER.search(name):
            numbers.setdefault((name[: found.start()], name[found.end() :]), []).append(
                int(found[0])
            )
        else:
            plain.append(name)
    spelled = [f"{before}{_ranges(found)}{after}" for (before, after), found in numbers.items()]
    return sorted([*plain, *spelled])


def mismatch(
    origin: str,
    target: str,
    wanted: Mapping[str, Shape],
    found: Mapping[str, Shape],
    unused: Iterable[str] = (),
) -> WeightsError | None:
    """Everything by which the tensors of a file differ from what was wanted; None if nothing.

    Args:
        origin: the file or folder, for the message.
        target: what was to be filled from it.
        wanted: names and shapes that it should have.
        found: names and shapes that it has.
        unused: names that it may have besides.
    """
    missing = [name for name in wanted if name not in found]
    stray = sorted(found.keys() - wanted.keys() - set(unused))
    bent = [name for name in wanted if name in found and wanted[name] != found[name]]
    if not (missing or stray or bent):
        return None
    lines = [f"weights: {origin} does not fit {target}"]
    lines += [f"  missing: {name}" for name in grouped(missing)]
    lines += [f"  no place for: {line}" for line in _with_nearest(stray, missing or list(wanted))]
    lines += [
        f"  {name} has shape {list(found[name])}, wanted {list(wanted[name])}"
        for name in sorted(bent)
    ]
    return WeightsError("\n".join(lines))


def _with_nearest(names: Iterable[str], options: list[str]) -> list[str]:
    forms = grouped(options)
    lines = []
    for name in grouped(names):
        close = nearest(name, forms)
        lines.append(f"{name}; the nearest expected name is {close}" if close else name)
    return lines


def _ranges(numbers: list[int]) -> str:
    if len(numbers) == 1:
        return str(numbers[0])
    runs = []
    for _, run in groupby(enumerate(sorted(numbers)), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        runs.append(str(members[0]) if len(members) == 1 else f"{members[0]}-{members[-1]}")
    return "{" + ",".join(runs) + "}"
