"""A program of one rank: trains a toy with the engine of every plan, and writes what it saw.

Letters: T packed tokens, E width, L labelled positions.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from mmcore.interfaces import Engine, PackedBatch, ParameterGroup, ParameterState, World
from mmcore.training.ranks import distributed, gather_floats
from mmcore.training.step_module import TrainingStep
from mmcore_engines.spec import DeepSpeedSpec, TorchSpec
from mmcore_optim.spec import AdamWSpec

VOCABULARY, WIDTH, PACKS = 11, 6, 4
AS_LARGE = {
    "zero_optimization": {
        "reduce_bucket_size": 100_000,
        "stage3_param_persistence_threshold": 0,
        "sub_group_size": 40,
    }
}
"""DeepSpeed's own buckets of a gigabyte are made anew for every pack. At stage 3 it keeps small
parameters whole, and a group in one piece: neither holds for a real model."""


class Toy(nn.Module):
    """An embedding, a frozen layer, a learned layer with a buffer, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)  # 11 numbers: two ranks do not divide them
        self.register_buffer("scale", torch.tensor([1.001953125 + 2**-12]), persistent=False)

    def hidden(self, batch: PackedBatch) -> torch.Tensor:
        x_TE = self.frozen(self.embedding(batch.input_ids_T))
        return self.norm(x_TE + torch.tanh(self.layer(x_TE)) * self.scale.to(x_TE.dtype))

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.head(h_LE).float(), targets_L, reduction="none")


class NextToken:
    """The summed loss of the labelled positions, times a weight that may be poisoned."""

    poison = 1.0

    def count(self, batch: PackedBatch) -> float:
        return float(batch.label_weight_L.sum())

    def loss(self, forward: Toy, batch: PackedBatch) -> torch.Tensor:
        h_TE = forward.hidden(batch)
        nll_L = forward.nll(h_TE[batch.label_index_L], batch.targets_L)
        return (nll_L * batch.label_weight_L).sum() * self.poison


def pack(number: int) -> PackedBatch:
    """A pack of 3 to 9 tokens, labelled but for every fifth, which only carries a blank row."""
    draw = torch.Generator().manual_seed(number)
    length = int(torch.randint(3, 10, (), generator=draw))
    ids = torch.randint(0, VOCABULARY, (length,), generator=draw)
    labels = 1 if number % 5 == 4 else length - 1
    return PackedBatch(
        input_ids_T=ids,
        position_ids_T=torch.arange(length),
        cu_seqlens=torch.tensor([0, length], dtype=torch.int32),
        lengths=(length,),
        label_index_L=torch.arange(labels),
        targets_L=ids[1 : labels + 1],
        label_weight_L=torch.full((labels,), 0.0 if number % 5 == 4 else 1.0),
        pixels_NCHW=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        patch_mask_NP=torch.zeros(1, 1, dtype=torch.bool),
        image_token_index_K=torch.zeros(0, dtype=torch.int64),
        label_segment_L=torch.zeros(labels, dtype=torch.int32),
    )


def build(plan: dict[str, object], world: World, objective: NextToken) -> tuple[Engine, Toy]:
    torch.manual_seed(3)
    model = Toy()
    named = {name: one for name, one in model.named_parameters() if one.requires_grad}
    plain = {name: one for name, one in named.items() if one.ndim == 1}
    matrices = {name: one for name, one in named.items() if one.ndim > 1}
    groups = [
        ParameterGroup(name, tuple(part), tuple(part.values()), rate, decay)
        for name, part, rate, decay in (
            ("llm", matrices, 0.05, 0.1),
            ("token_sampler", plain, 0.02, 0.0),
        )
    ]
    optimizer = AdamWSpec(lr=0.05, clip_norm=float(str(plan.get("clip_norm", 0.5))))
    precision = plan.get("precision", "fp32")
    spec = (
        DeepSpeedSpec(zero=plan["zero"], precision=precision, overrides=AS_LARGE)
        if "zero" in plan
        else TorchSpec(precision=precision)
    )
    step = TrainingStep(model, [objective], [2.0])
    return spec.build(module=step, groups=groups, optimizer=optimizer, world=world), model


def written(states: Iterator[ParameterState], rank: int, path: Path) -> None:
    kept = [(one.name, one.weight, dict(one.moments), one.steps) for one in states]
    if rank == 0:
        torch.save(kept, path)


def train(plan: dict[str, object], world: World) -> dict[str, object]:
    """Steps ``first`` (included) to ``last`` (excluded) of the plan; per step loss and norm."""
    objective = NextToken()
    engine, model = build(plan, world, objective)
    if "restore" in plan:
        kept = torch.load(str(plan["restore"]), weights_only=True)
        engine.restore(ParameterState(*one) for one in kept)
    losses, norms, parts = [], [], []
    for number in range(int(str(plan["first"])), int(str(plan["last"]))):
        packs = [pack(number * PACKS + index) for index in range(PACKS)]
        divisor = sum(objective.count(one) for one in packs)
        objective.poison = float("nan") if number == plan.get("poisoned") else 1.0
        total = torch.zeros(1)
        for index, one in enumerate(packs):
            if index % world.size == world.rank:
                total += engine.backward(one, [divisor])
        norms.append(float(engine.step(1.0 / (1 + number))))
        parts.append({part: float(norm) for part, norm in engine.part_norms().items()})
        losses.append(sum(one for (one,) in gather_floats([float(total)])) / divisor)
    if "save" in plan:
        written(engine.parameter_states(), world.rank, Path(str(plan["save"])))
    sums = engine.evaluate(pack(7), [1.0])
    weights = {one.name: one.weight.tolist() for one in engine.parameter_states()}
    scale = model.scale.item()
    updated = sum(one.numel() for one in engine._shards.updated()) if "zero" in plan else None
    engine.close()
    held = sum(one.untyped_storage().nbytes() for one in model.parameters())
    return {
        "losses": losses,
        "norms": norms,
        "parts": parts,
        "evaluated": [float(sums), sums.requires_grad],
        "weights": weights,
        "scale": scale,
        "held": held,
        "updated": updated,
    }


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    plans = json.loads((folder / "plans.json").read_text())
    with distributed() as world:
        outcome = [train(plan, world) for plan in plans]
        if world.is_main:
            (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
