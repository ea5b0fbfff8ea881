"""Every source of every stage opened by itself and read a little: all that is wrong, at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from mmcore.data.faults import DataFault, EmptySource
from mmcore.data.reader import SourceReader
from mmcore.inspection.findings import SourceFindings, Tally
from mmcore.inspection.mixture import MixtureFindings, mix, wanted_shares
from mmcore.inspection.rows import look_at_rows
from mmcore.inspection.stages import Look, StageData
from mmcore.interfaces import Shard, SourceSpec

MIXED = 400
"""Samples of a stage's packs that are looked at."""

Step = Callable[[str, int], None]
"""Told what is being read, and how many more rows or samples of it were."""


@attrs.frozen
class StageFindings:
    """What a stage's data looks like.

    Attributes:
        name: of the stage.
        tiler: name of its tiler.
        max_tokens, max_views: what a pack holds.
        tokens_per_view: what a view takes of it.
        sources: in the recipe's order.
        mixture: of those sources that give samples; None where none does.
        faults: what is wrong with the mixture itself.
    """

    name: str
    tiler: str
    max_tokens: int
    max_views: int
    tokens_per_view: int
    sources: tuple[SourceFindings, ...]
    mixture: MixtureFindings | None
    faults: tuple[str, ...] = ()

    @property
    def violations(self) -> list[Sequence[str]]:
        """Faults of every source that has some, then those of the mixture; empty for sound data."""
        return [faults for faults in (*(one.faults for one in self.sources), self.faults) if faults]


def work(look: Look, rows: int) -> int:
    """Rows and samples that a check goes through at most."""
    return sum(rows * len(data.sources) + MIXED for data in look.stages)


def check(look: Look, rows: int, on_step: Step = lambda what, count: None) -> list[StageFindings]:
    """Read ``rows`` rows of every source, and plan some packs; nothing that is wrong is raised."""
    return [check_stage(look, data, rows, on_step) for data in look.stages]


def check_stage(look: Look, data: StageData, rows: int, on_step: Step) -> StageFindings:
    """The findings of one stage."""
    wanted = wanted_shares(data.sources)
    bound = look.recipe.data.max_rejected_share
    found = [
        check_source(data, label, spec, rows, wanted[label], bound, on_step)
        for label, spec in data.sources
    ]
    giving = {one.label for one in found if one.accepted}
    sound = [(label, spec) for label, spec in data.sources if label in giving]
    mixture, faults = _mixture(look, data, sound, on_step)
    preparer = data.preparer
    return StageFindings(
        name=data.stage.name,
        tiler=data.stage.tiler.name,
        max_tokens=preparer.max_tokens,
        max_views=preparer.max_views,
        tokens_per_view=preparer.tokens_per_view,
        sources=tuple(found),
        mixture=mixture,
        faults=tuple(faults),
    )


def check_source(
    data: StageData,
    label: str,
    spec: SourceSpec,
    rows: int,
    share: float,
    max_rejected_share: float,
    on_step: Step,
) -> SourceFindings:
    """One source, opened by itself; what is wrong with it is among the findings."""
    reader, tally = SourceReader(label, spec), Tally(data.held_out)
    what = f"{data.stage.name}: {label}"
    on_step(what, 0)
    shards, faults = opened(reader)
    tally.faults += faults
    for row in look_at_rows(reader, data.preparer, rows) if shards else ():
        tally.add(row)
        on_step(what, 1 if row.key else 0)
    on_step(what, rows - tally.read)
    return tally.findings(reader, shards, share=share, max_rejected_share=max_rejected_share)


def opened(reader: SourceReader) -> tuple[Sequence[Shard], list[str]]:
    """Make up the rows of a ``synthetic`` source, as a run does, and open it.

    Returns:
        its shards, and what went wrong.
    """
    spec = reader.spec
    try:
        if spec.synthetic is not None:
            spec.synthesize(spec.folder, spec.synthetic)
        return reader.shards, []
    except DataFault as fault:
        missing = isinstance(fault.__cause__, FileNotFoundError) and spec.origin
        hint = f"; {spec.name!r} comes from {spec.origin}" if missing else ""
        return (), [f"{fault}{hint}"]
    except (ValueError, OSError) as error:
        return (), [f"source {reader.label!r}, path {spec.path!r}: {error}"]


def _mixture(
    look: Look, data: StageData, sources: Sequence[tuple[str, SourceSpec]], on_step: Step
) -> tuple[MixtureFindings | None, list[str]]:
    if not sources:
        return None, []
    try:
        mixed = mix(
            data,
            look.recipe.data,
            sources,
            MIXED,
            lambda count: on_step(f"{data.stage.name}: packs", count),
        )
    except (DataFault, EmptySource) as fault:
        return None, [f"packs of stage {data.stage.name!r} cannot be made: {fault}"]
    return mixed.findings(), []
