"""A program of one rank: starts stages of recipes, and tells what the engines hold afterwards.

Arguments: a folder with ``plans.json``, a list of {"recipe": path, "set": overrides}. Rank 0 writes
``outcome.json``: for every plan the SHA-256 of every weight, of that weight rounded to bfloat16,
and of the copy that the forward pass uses; and what it took from the host.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from pathlib import Path

import torch
from deepspeed import zero

from mmcore import assemble, load_recipe
from mmcore.training.ranks import barrier, distributed, gather_objects
from mmcore_engines import deepspeed_engine


def held() -> dict[str, int]:
    """Bytes of this process's memory, by kind: its own, and pages of files that are mapped."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kinds = {"own": "RssAnon", "mapped": "RssFile"}
    return {kind: int(lines[key].split()[0]) * 1024 for kind, key in kinds.items()}


class Watch:
    """The most memory that was held at once, looked at every few milliseconds."""

    def __enter__(self):
        self.before, self.most = held(), held()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._ended.is_set():
            now = held()
            self.most = {kind: max(self.most[kind], now[kind]) for kind in now}
            time.sleep(0.003)

    @property
    def grown(self) -> dict[str, int]:
        return {kind: self.most[kind] - self.before[kind] for kind in self.most}


def watched(name: str, function, found: dict):
    def inside(*args, **kwargs):
        with Watch() as watch:
            result = function(*args, **kwargs)
        found[name] = watch.grown
        return result

    return inside


def start(plan: dict, world) -> dict:
    recipe = load_recipe(plan["recipe"], plan["set"])
    found: dict = {}
    place, fill = deepspeed_engine.place_shares, deepspeed_engine.DeepSpeedEngine.fill
    deepspeed_engine.place_shares = watched("shares", place, found)
    deepspeed_engine.DeepSpeedEngine.fill = watched("filling", fill, found)
    try:
        with Watch() as watch:
            initial = assemble.initial_model(recipe.model, recipe.seed, torch.device(world.device))
        found["building"] = watch.grown
        begun = assemble.started(recipe, recipe.stages[0], initial, world)
    finally:
        deepspeed_engine.place_shares = place
        deepspeed_engine.DeepSpeedEngine.fill = fill
    hashes: dict = {"weights": {}, "rounded": {}, "copies": {}}
    if plan.get("hashes", True):
        for state in begun.engine.parameter_states():
            hashes["weights"][state.name] = digest(state.weight)
            hashes["rounded"][state.name] = digest(state.weight.bfloat16())
        for name, parameter in initial.model.named_parameters():
            with zero.GatheredParameters([parameter], enabled=hasattr(parameter, "ds_id")):
                hashes["copies"][name] = digest(parameter.detach())
    begun.engine.close()
    barrier()
    return {**hashes, "memory": gather_objects(found)}


def digest(tensor: torch.Tensor) -> str:
    numbers = tensor.float().contiguous().view(-1).view(torch.uint8)
    return hashlib.sha256(numbers.numpy()).hexdigest()


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    with distributed() as world:
        outcome = [start(plan, world) for plan in json.loads((folder / "plans.json").read_text())]
        if world.is_main:
            (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
