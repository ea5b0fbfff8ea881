"""What was found in a recipe's data, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from mmcore.cli.layout import columns, heading
from mmcore.data.audit import Spread
from mmcore.inspection.check import StageFindings
from mmcore.inspection.findings import SourceFindings
from mmcore.inspection.mixture import MixtureFindings, ShareFindings

SHOWN_FAULTS = 3
"""Of one source; there may be others to tell of."""

LONGEST = 300
"""Characters of a message; more of it is for --json."""

LEGEND = (
    "tokens, views: least/median/most of a sample; wanted, drawn: shares of the stage's samples"
)

ROWS = (
    "source",
    "rows",
    "read",
    "rejected",
    "shrunk",
    "split",
    "truncated",
    "dropped",
    "tokens",
    "views",
    "learned",
    "wanted",
    "drawn",
)


def check_lines(
    found: Sequence[StageFindings], notes: Sequence[str], *, paths: bool
) -> Iterator[str]:
    """The findings, stage by stage, and all faults at the end."""
    for note in notes:
        yield f"note: {note}"
    for stage in found:
        yield from stage_lines(stage, paths=paths)
    yield LEGEND
    count = sum(len(faults) for stage in found for faults in stage.violations)
    if not count:
        yield click.style("no faults", fg="green")
        return
    yield click.style("1 fault" if count == 1 else f"{count} faults", fg="red")
    for stage in found:
        for faults in stage.violations:
            yield from (f"  {stage.name}: {printable(fault)}" for fault in faults[:SHOWN_FAULTS])
            if len(faults) > SHOWN_FAULTS:
                yield f"    and {len(faults) - SHOWN_FAULTS} more of it, which --json lists"


def stage_lines(stage: StageFindings, *, paths: bool) -> Iterator[str]:
    """One stage: a line for every source, then what was rejected, then the packs."""
    yield heading(f"stage {stage.name}") + (
        f": packs of {stage.max_tokens:,} tokens and {stage.max_views} views, "
        f"{stage.tokens_per_view} tokens a view, tiler {stage.tiler}"
    )
    drawn = {one.label: one for one in stage.mixture.shares} if stage.mixture else {}
    rows = [ROWS, *(_source(one, drawn.get(one.label)) for one in stage.sources)]
    yield columns(rows, indent="  ", numbers=range(1, len(ROWS)))
    if paths:
        yield columns([_files(one) for one in stage.sources], indent="  ")
    for source in stage.sources:
        for one in source.rejected:
            first = printable(f"{one.key}: {one.detail}")
            yield f"  {source.label}: {one.rows} x {one.reason}, first {first}"
    yield from _held_out(stage)
    if stage.mixture is not None:
        silent = [one.label for one in stage.sources if one.label not in drawn]
        yield _packs(stage.mixture, silent)


def _held_out(stage: StageFindings) -> Iterator[str]:
    """What validation keeps for itself, where a recipe has one."""
    held = [f"{one.label} {one.held_out:,}" for one in stage.sources if one.held_out]
    if held:
        yield f"  held out for validation, of the rows read: {', '.join(held)}"


def printable(text: str) -> str:
    """A message that may quote a dataset: one line, nothing that steers a terminal."""
    shown = "".join(one if one.isprintable() else "\ufffd" for one in text)
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."


def _source(one: SourceFindings, share: ShareFindings | None) -> tuple[str, ...]:
    counts = (one.read, one.rejected_rows, one.shrunk, one.split, one.truncated, one.dropped)
    return (
        one.label,
        "not counted" if one.rows is None else f"{one.rows:,}",
        *map(str, counts),
        *((_spread(one.tokens), _spread(one.views)) if one.samples else ("-", "-")),
        f"{one.learned_share:.0%}" if one.samples else "-",
        f"{one.share:.2%}",
        "-" if share is None else f"{share.drawn:.2%}",
    )


def _files(one: SourceFindings) -> tuple[str, str, str]:
    return one.label, one.files or "not opened", one.path


def _packs(mixture: MixtureFindings, silent: Sequence[str]) -> str:
    without = f"; nothing of {', '.join(silent)}" if silent else ""
    return (
        f"  {mixture.samples:,} samples in {mixture.packs:,} packs: {mixture.token_fill:.1%} of "
        f"their tokens and {mixture.view_fill:.1%} of their views are filled{without}"
    )


def _spread(spread: Spread) -> str:
    return f"{spread.least:.0f}/{spread.middle:.0f}/{spread.most:.0f}"
