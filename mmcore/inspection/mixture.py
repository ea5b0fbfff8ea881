"""The first packs of a stage, planned as training plans them: how full they are, and from what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import attrs

from mmcore import assemble
from mmcore.data.audit import Spread
from mmcore.data.lanes import RejectedRow
from mmcore.data.planned import PlannedPacks, plan_packs
from mmcore.data.tokenized import TokenizedSample
from mmcore.inspection.stages import StageData
from mmcore.interfaces import SourceSpec
from mmcore.recipe import DataTable

Pack = Sequence[TokenizedSample]


@attrs.frozen
class ShareFindings:
    """How much of the mixture a source is.

    Attributes:
        label: of the source.
        wanted: by the recipe, of the samples drawn; 0 to 1.
        drawn: of the samples that were drawn here, pending ones included; 0 to 1.
        tokens: of all tokens in the packs; 0 to 1.
    """

    label: str
    wanted: float
    drawn: float
    tokens: float


@attrs.frozen(eq=False)
class Mixture:
    """The first packs of a stage.

    Attributes:
        packs: their samples, pictures not decoded.
        max_tokens, max_views: what a pack holds.
        shares: of every source, in the recipe's order.
        rejected: rows that were left out on the way.
    """

    packs: Sequence[Pack]
    max_tokens: int
    max_views: int
    shares: Sequence[ShareFindings]
    rejected: Sequence[RejectedRow]

    @property
    def samples(self) -> list[TokenizedSample]:
        return [sample for pack in self.packs for sample in pack]

    @property
    def token_fills(self) -> list[float]:
        """How full each pack is, 0 to 1."""
        return [sum(one.tokens for one in pack) / self.max_tokens for pack in self.packs]

    @property
    def view_fills(self) -> list[float]:
        return [sum(one.views for one in pack) / self.max_views for pack in self.packs]

    def findings(self) -> MixtureFindings:
        tokens, views = self.token_fills, self.view_fills
        return MixtureFindings(
            samples=len(self.samples),
            packs=len(self.packs),
            token_fill=sum(tokens) / max(1, len(tokens)),
            view_fill=sum(views) / max(1, len(views)),
            token_fills=Spread.of(tokens),
            view_fills=Spread.of(views),
            shares=tuple(self.shares),
        )


@attrs.frozen
class MixtureFindings:
    """A mixture in numbers.

    Attributes:
        samples, packs: how many were looked at; a split document counts for every piece.
        token_fill, view_fill: mean over the packs, 0 to 1.
        token_fills, view_fills: least, middle, most.
        shares: wanted and found.
    """

    samples: int
    packs: int
    token_fill: float
    view_fill: float
    token_fills: Spread
    view_fills: Spread
    shares: tuple[ShareFindings, ...]


def mix(
    data: StageData,
    table: DataTable,
    sources: Sequence[tuple[str, SourceSpec]],
    samples: int,
    on_samples: Callable[[int], None] = lambda count: None,
) -> Mixture:
    """Plan packs until they hold so many samples.

    Args:
        data: the stage.
        table: how its sources are read.
        sources: those of its sources that can be read.
        samples: at least so many; packs are not cut.
        on_samples: told how many samples every pack has.

    Raises:
        EmptySource, DataFault: as in training.
    """
    settings = assemble.lane_settings(table, data.preparer, data.seed, data.held_out)
    planned = plan_packs(sources, settings, samples, on_samples)
    return Mixture(
        packs=planned.packs,
        max_tokens=data.preparer.max_tokens,
        max_views=data.preparer.max_views,
        shares=list(_shares(sources, planned)),
        rejected=planned.rejected,
    )


def _shares(
    sources: Sequence[tuple[str, SourceSpec]], planned: PlannedPacks
) -> Iterator[ShareFindings]:
    lost = Counter(row.key.source for row in planned.rejected)
    accepted = {
        label: planned.counts.get(f"drawn/{label}", 0)
        - planned.counts.get(f"held_out/{label}", 0)
        - lost[label]
        for label, _ in sources
    }
    tokens: Counter[str] = Counter()
    for sample in (sample for pack in planned.packs for sample in pack):
        tokens[sample.key.source] += sample.tokens
    wanted = wanted_shares(sources)
    for label, _ in sources:
        yield ShareFindings(
            label,
            wanted[label],
            accepted[label] / max(1, sum(accepted.values())),
            tokens[label] / max(1, tokens.total()),
        )


def wanted_shares(sources: Sequence[tuple[str, SourceSpec]]) -> dict[str, float]:
    """What the recipe wants of every source, 0 to 1."""
    whole = sum(spec.share for _, spec in sources)
    return {label: spec.share / whole for label, spec in sources}
