"""A program of one of some ranks: a step whose objectives compare its pairs, dealt to the ranks.

Letters: N views, P patches, D width of a patch, B pairs, Q queries, X width of a comparison, W
tokens.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy, normalize

from mmcore.interfaces import (
    CAPTION,
    CONTRAST,
    MATCH,
    PAIR_IDS,
    PAIR_MASK,
    PAIR_VIEW,
    PAIR_WEIGHT,
    PackedBatch,
    ParameterGroup,
    SampleKey,
    Segment,
    World,
)
from mmcore.training.comparing import compared
from mmcore.training.progress import Budget
from mmcore.training.ranks import distributed, gather_floats
from mmcore.training.stage import StageRun
from mmcore.training.step_module import TrainingStep
from mmcore_engines.spec import TorchSpec
from mmcore_objectives.pair_specs import ItcSpec, ItgSpec, ItmSpec
from mmcore_optim.spec import AdamWSpec

VOCABULARY, WIDTH, QUERIES, COMPARED = 13, 5, 3, 4
SPECS = (ItcSpec(candidates=4), ItmSpec(weight=0.5), ItgSpec(weight=2.0))
ORDER = (4, 1, 0, 7, 2, 9, 5)
"""Pairs of the step, in the order of the data; 2 and 7 have the same text."""


class Towers(nn.Module):
    """Small towers for pictures and texts; the encoder counts how often it was entered."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = 0
        self.encoder = nn.Linear(3, WIDTH)
        self.queries = nn.Linear(4 * WIDTH, QUERIES * COMPARED)
        self.words = nn.Embedding(VOCABULARY, COMPARED)
        self.temperature = nn.Parameter(torch.tensor(0.3))
        self.match = nn.Linear(2 * COMPARED, 2)
        self.caption = nn.Linear(2 * COMPARED, VOCABULARY)

    def features(self, batch: PackedBatch) -> torch.Tensor:
        self.entered += 1
        return torch.tanh(self.encoder(batch.pixels_NCHW.float().flatten(2).transpose(1, 2) / 128))

    def provided(
        self, wanted, batch, view_B, ids_BW, mask_BW, features_NPD=None
    ) -> tuple[torch.Tensor, ...]:
        features_NPD = self.features(batch) if features_NPD is None else features_NPD
        seen_BQX = self.queries(features_NPD[view_B].flatten(1)).unflatten(1, (QUERIES, COMPARED))
        words_BWX = self.words(ids_BW) * mask_BW[..., None]
        places_W = torch.arange(1, ids_BW.shape[1] + 1)
        read_BX = (words_BWX * places_W[:, None]).sum(1)
        if wanted == CONTRAST:
            return normalize(seen_BQX, dim=-1), normalize(read_BX, dim=-1) / self.temperature
        if wanted == MATCH:
            return (self.match(torch.cat([seen_BQX.tanh().mean(1), read_BX.tanh()], 1)),)
        assert wanted == CAPTION
        seen_BWX = seen_BQX.mean(1, keepdim=True).expand(-1, ids_BW.shape[1] - 1, -1)
        scores_BWV = self.caption(torch.cat([seen_BWX, words_BWX[:, :-1]], 2))
        nll = cross_entropy(scores_BWV.transpose(1, 2), ids_BW[:, 1:], reduction="none")
        spread = -scores_BWV.log_softmax(2).mean(2)
        return tuple(nn.functional.pad(one, (1, 0)) * mask_BW for one in (nll, spread))


def text_of(number: int) -> list[int]:
    draw = torch.Generator().manual_seed(100 + (2 if number == 7 else number))
    length = int(torch.randint(2, 6, (), generator=draw))
    return torch.randint(0, VOCABULARY, (length,), generator=draw).tolist()


def picture_of(number: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (3, 2, 2), generator=draw, dtype=torch.uint8)


def pack(numbers: Sequence[int], lane: int = 0) -> PackedBatch:
    """A pack of these pairs, its views in the opposite order; without any, one of weight zero."""
    none = torch.zeros(0)
    texts = [text_of(number) for number in numbers] or [[0, 0]]
    longest = max(map(len, texts))
    views = [picture_of(number) for number in reversed(numbers)]
    key = SampleKey("pairs", "s", 0)
    return PackedBatch(
        *[none] * 3,
        lengths=(),
        label_index_L=none,
        targets_L=none,
        label_weight_L=none,
        pixels_NCHW=torch.stack(views or [torch.zeros(3, 2, 2, dtype=torch.uint8)]),
        patch_mask_NP=none,
        image_token_index_K=none,
        label_segment_L=none,
        segments=(Segment(key, "pairs", 0, 1, 0, 1),) if numbers else (),
        lane=lane,
        aux={
            PAIR_IDS: torch.tensor([text + [0] * (longest - len(text)) for text in texts]),
            PAIR_MASK: torch.tensor(
                [[place < len(text) for place in range(longest)] for text in texts]
            ),
            PAIR_VIEW: torch.arange(len(texts)).flip(0),
            PAIR_WEIGHT: torch.full((len(texts),), float(bool(numbers))),
        },
    )


def make_run(specs=SPECS, seed: int = 9, one_look: bool = True, **changes) -> StageRun:
    torch.manual_seed(5)
    model, objectives = Towers(), [spec.build() for spec in specs]
    module = TrainingStep(model, objectives, [spec.weight for spec in specs], one_look=one_look)
    optimizer = AdamWSpec(lr=0.05, warmup_steps=1)
    named = dict(model.named_parameters())
    group = ParameterGroup("token_sampler", tuple(named), tuple(named.values()), 0.05, 0.0)
    engine = TorchSpec(precision="fp32").build(
        module=module, groups=[group], optimizer=optimizer, world=World()
    )
    fields = {
        "name": "pairs",
        "engine": engine,
        "objectives": objectives,
        "objective_names": [spec.name for spec in specs],
        "weights": [spec.weight for spec in specs],
        "loader": None,
        "optimizer": optimizer,
        "budget": Budget(steps=1),
        "seed": seed,
        "module": module,
    }
    return StageRun(**fields | changes)


def step(run: StageRun, batches: Sequence[PackedBatch]) -> dict[str, list[float]]:
    """Losses (undivided) and gradients of a step over all ranks; the ranks' packs are these."""
    counts = [sum(one.count(batch) for batch in batches) for one in run.objectives]
    divisors = [sum(column) or 1.0 for column in zip(*gather_floats(counts), strict=True)]
    total = torch.zeros(len(run.objectives))
    run.told.clear()
    for batch in compared(run, batches, 3, nullcontext()):
        total += run.engine.backward(batch, divisors)
    numbers = {"divisors": counts, "losses": total.tolist()}
    numbers["told"] = run.told.totals(torch.device("cpu")).tolist()
    for name, parameter in run.module.named_parameters():
        gradient = parameter.grad
        numbers[name] = (
            (torch.zeros_like(parameter) if gradient is None else gradient).flatten().tolist()
        )
    return {
        name: [sum(column) for column in zip(*gather_floats(mine), strict=True)]
        for name, mine in numbers.items()
    }


DEALT = (
    [pack(ORDER[:2], lane=0), pack(ORDER[3:6], lane=0)],
    [pack(ORDER[2:3], lane=1), pack(ORDER[6:], lane=1)],
)
"""The packs of two lanes, each on a rank: in turn, they hold the pairs of ``ORDER``."""


def main(root: Path) -> None:
    with distributed() as world:
        run = make_run()
        outcome = {"step": step(run, DEALT[world.rank]), "entered": run.module.model.entered}
        blank = [*DEALT[world.rank], pack((), lane=-1) if world.rank else pack((8,), lane=2)]
        outcome["with_blank"] = step(make_run(), blank)
        (root / f"outcome-{world.rank}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
