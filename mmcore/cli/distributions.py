"""Distributions as lines of text: spreads, and histograms of block characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmcore.cli.layout import columns, heading
from mmcore.data.audit import Spread
from mmcore.inspection.mixture import ShareFindings
from mmcore.inspection.stats import Measured, StageStats, histogram

BLOCKS = "·▁▂▃▄▅▆▇█"
BINS = 12

HEADS = (
    "source",
    "samples",
    "tokens",
    "",
    "views",
    "",
    "pictures",
    "learned",
    "wanted",
    "drawn",
    "of tokens",
)


def stats_lines(found: Sequence[StageStats], notes: Sequence[str]) -> Iterator[str]:
    """What was counted, stage by stage."""
    for note in notes:
        yield f"note: {note}"
    for stage in found:
        rejected = f", {stage.rejected} rows rejected" if stage.rejected else ""
        yield heading(f"stage {stage.name}") + (
            f": {stage.samples:,} samples in {len(stage.token_fills):,} packs of "
            f"{stage.max_tokens:,} tokens and {stage.max_views} views{rejected}"
        )
        lines = [_source(stage, *one) for one in zip(stage.sources, stage.shares, strict=True)]
        yield columns([HEADS, *lines], indent="  ", numbers=(1, 2, 4, 6, 7, 8, 9, 10))
        yield columns(
            [_fill("tokens", stage.token_fills), _fill("views", stage.view_fills)], indent="  "
        )
    yield "tokens, views, pictures of a sample: least/median/most; bars from 0 to the stage's most"


def bars(counts: Sequence[int]) -> str:
    """A histogram in one line; what is not empty is seen."""
    most = max(counts, default=0)
    return "".join(
        BLOCKS[-(-count * (len(BLOCKS) - 1) // most)] if most else BLOCKS[0] for count in counts
    )


def _source(stage: StageStats, one: Measured, share: ShareFindings) -> tuple[str, ...]:
    learned = sum(n * part for n, part in zip(one.tokens, one.learned, strict=True))
    return (
        one.label,
        str(one.samples),
        _spread(one.tokens),
        bars(histogram(one.tokens, stage.most("tokens"), BINS)),
        _spread(one.views),
        bars(histogram(one.views, stage.most("views"), BINS)),
        _spread(one.pictures),
        f"{learned / max(1, sum(one.tokens)):.0%}",
        f"{share.wanted:.2%}",
        f"{share.drawn:.2%}",
        f"{share.tokens:.2%}",
    )


def _fill(unit: str, fills: Sequence[float]) -> tuple[str, str, str]:
    mean = sum(fills) / max(1, len(fills))
    found = Spread.of(fills)
    spread = f"{found.least:.0%}/{found.middle:.0%}/{found.most:.0%}"
    return f"filled with {unit}", f"{mean:.1%} ({spread})", bars(histogram(fills, 1.0, BINS))


def _spread(values: Sequence[float]) -> str:
    found = Spread.of(values)
    return f"{found.least:.0f}/{found.middle:.0f}/{found.most:.0f}"
