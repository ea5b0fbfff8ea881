"""A stranger's objective that goes wrong at some samples: what a failure costs is tested with it.

The variable PLANTED says what happens, and the sample in whose packs it does, as JSON:
``{"fault": "nan", "key": "llava-json:answers.json:7"}``; an empty key is every sample.
"""

import json
import os
import time
from typing import ClassVar

import attrs
import torch

from mmcore.interfaces import ObjectiveSpec
from mmcore_registry import hookimpl


@attrs.frozen(kw_only=True)
class PlantedSpec(ObjectiveSpec):
    """Predicts the next token, but for what PLANTED says."""

    name: ClassVar[str] = "planted"

    def build(self):
        return Planted(**json.loads(os.environ.get("PLANTED", "{}")))


class Planted:
    def __init__(self, fault="", key="", tokens=0):
        self._fault, self._key, self._tokens = fault, key, tokens

    def count(self, batch):
        return float(batch.labels)

    def loss(self, forward, batch):
        h_LE = forward.hidden(batch)[batch.label_index_L]
        hit_S = [self._key in ("", str(one.key)) for one in batch.segments]
        if self._fault and any(hit_S) and len(batch.input_ids_T) >= self._tokens:
            h_LE = self._go_wrong(h_LE, torch.tensor(hit_S)[batch.label_segment_L])
        nll_L = forward.nll(h_LE, batch.targets_L)
        return (nll_L * batch.label_weight_L).sum()

    def _go_wrong(self, h_LE, hit_L):
        if self._fault == "stall":
            while True:
                time.sleep(1)
        if self._fault == "oom":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        factor = {"nan": float("nan"), "spike": -1000.0}[self._fault]
        return torch.where(hit_L[:, None], h_LE * factor, h_LE)


@hookimpl
def mmcore_components():
    return [PlantedSpec]
