"""A model of a step on many GPUs, from what packs cost on one: a simulation, not a measurement.

A step ends when the slowest rank has done its packs. Each pack's time is drawn from measured ones,
so what uneven packs cost is in it. What ranks say to one another takes its bytes over the slowest
link and is hidden behind the computing up to a share that is given. Left out: reading, checkpoints,
evaluations, failures, and links that several jobs share.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

import attrs


@attrs.frozen(kw_only=True)
class StepCosts:
    """What one GPU was seen to need, or is planned to.

    Attributes:
        pack_seconds: forward and backward pass of several packs, one number each.
        update_seconds: of the whole update on one GPU.
        packs: of a step, over all GPUs.
        pack_bytes: what every rank exchanges for each of its packs (ZeRO-3: weights gathered twice
            and gradients reduced).
        step_bytes: what every rank exchanges once a step (ZeRO-1 and 2: gradients reduced, and
            weights gathered).
        update_is_shared: whether ranks share the update out (ZeRO-1 and above).
    """

    pack_seconds: Sequence[float]
    update_seconds: float
    packs: int
    pack_bytes: float = 0.0
    step_bytes: float = 0.0
    update_is_shared: bool = True

    def __attrs_post_init__(self) -> None:
        if not self.pack_seconds or min(self.pack_seconds) <= 0:
            raise ValueError("pack_seconds wants at least one number, all above 0")
        if self.packs < 1:
            raise ValueError(f"packs is {self.packs}, wanted at least 1")


@attrs.frozen(kw_only=True)
class Fabric:
    """What GPUs are joined by.

    Attributes:
        node: GPUs of a node.
        inside, between: bytes a second of a GPU to others of its node, and to other nodes.
        latency: seconds of one exchange's way through a node and between nodes, per doubling of
            the ranks.
        hidden: share of the computing behind which exchanges can hide, 0 to 1.
    """

    node: int = 8
    inside: float = 450e9
    between: float = 50e9
    latency: float = 20e-6
    hidden: float = 0.8

    def seconds(self, sent: float, ranks: int) -> float:
        """Time of an exchange in which every rank ends with, or gives, ``sent`` bytes in all."""
        if ranks == 1 or sent == 0:
            return 0.0
        rate = self.inside if ranks <= self.node else self.between
        return sent * (ranks - 1) / ranks / rate + self.latency * math.log2(ranks)


@attrs.frozen
class Scaling:
    """A simulated step on so many GPUs.

    Attributes:
        gpus: how many.
        step_seconds: mean over the simulated steps.
        waiting: share of the step in which the mean rank waits for the slowest.
        talking: share of the step in which ranks exchange and nothing is computed.
        efficiency: of one GPU's rate, how much every GPU keeps.
    """

    gpus: int
    step_seconds: float
    waiting: float
    talking: float
    efficiency: float


def simulate(
    costs: StepCosts, fabric: Fabric, gpus: int, *, steps: int = 200, seed: int = 0
) -> Scaling:
    """The mean of simulated steps; the same seed gives the same draws.

    Raises:
        ValueError: there are fewer packs than GPUs, or no GPU.
    """
    if not 1 <= gpus <= costs.packs:
        raise ValueError(f"gpus is {gpus}, wanted 1 to packs = {costs.packs}")
    draw = random.Random(seed)
    most = math.ceil(costs.packs / gpus)
    shares = [len(range(rank, costs.packs, gpus)) for rank in range(gpus)]
    # Ranks with fewer packs exchange as often as the others: they run blank ones.
    exchange = most * fabric.seconds(costs.pack_bytes, gpus)
    exchange += fabric.seconds(costs.step_bytes, gpus)
    update = costs.update_seconds / (gpus if costs.update_is_shared else 1)
    slowest, mean, exposed = [], [], []
    for _ in range(steps):
        busy = [sum(draw.choices(costs.pack_seconds, k=share)) for share in shares]
        slowest.append(max(busy))
        mean.append(statistics.fmean(busy))
        exposed.append(max(0.0, exchange - fabric.hidden * max(busy)))
    computing, talking = statistics.fmean(slowest), statistics.fmean(exposed)
    step = computing + talking + update
    alone = costs.packs * statistics.fmean(costs.pack_seconds) + costs.update_seconds
    return Scaling(
        gpus=gpus,
        step_seconds=step,
        waiting=(computing - statistics.fmean(mean)) / step,
        talking=talking / step,
        efficiency=alone / (gpus * step),
    )
