"""What the engines hold on every device, item by item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import attrs

from mmcore.interfaces import EngineMemory, MemoryItem
from mmcore_engines.deepspeed_config import Offload

FP32, BF16 = 4, 2
"""Bytes of a number."""

BUCKET = 500_000_000
"""DeepSpeed's reduce_bucket_size where the recipe's overrides give none, in numbers."""
LIVE = 1_000_000_000
"""DeepSpeed's stage3_max_live_parameters: gathered weights beyond it are given back."""


def torch_memory(*, trainable: int, frozen: int, moments: int) -> EngineMemory:
    """Float32 weights, gradients and moments; nothing is shared out."""
    weights = FP32 * (trainable + frozen)
    return EngineMemory(
        weights="fp32",
        items=(
            MemoryItem("weights", weights),
            MemoryItem("gradients", FP32 * trainable),
            MemoryItem("moments", FP32 * moments * trainable),
        ),
        start=weights,  # torch's optimizers make their moments in the first step
    )


@attrs.frozen
class ZeroMemory:
    """DeepSpeed's share of one rank.

    Attributes:
        zero: the stage of ZeRO.
        copies: whether the forward works on bfloat16 copies of float32 weights.
        trainable, frozen, moments, ranks: see ``EngineSpec.memory``.
        sharding: the table ``zero_optimization`` of the recipe's overrides.
        sums: bytes of a number of the gradients' sums over the packs.
        offload, overlap: as the engine's keys.
    """

    zero: int
    copies: bool
    trainable: int
    frozen: int
    moments: int
    ranks: int
    sharding: Mapping[str, object]
    sums: int = FP32
    offload: Offload = "none"
    overlap: bool = True

    def total(self) -> EngineMemory:
        """All of it."""
        everything = self.trainable + self.frozen
        weights_held = self._width * self._shared(everything, sharded=self.zero == 3)
        optimizer = {
            "master weights": self._master(),
            "moments": FP32 * self.moments * self._shared(self.trainable, sharded=self.zero >= 1),
        }
        found = {
            "weights": 0 if self.offload == "all" else weights_held,
            "gathered weights": self._gathered(everything),
            "gradients": self._gradients(),
            "gradients of a pack": self._own_gradients(),
            **(optimizer if self.offload == "none" else {}),
            "reduction buffer": self._buffer(),
        }
        on_host = {
            "weights": weights_held if self.offload == "all" else 0,
            "gradients": self._host_gradients(),
            **(optimizer if self.offload != "none" else {}),
        }
        in_backward = {
            "reduction buffers": self._passing_buffers(),
            "gradients on their way": self._sent(),
        }
        weights: Literal["fp32", "bf16"] = "bf16" if self.copies else "fp32"
        return EngineMemory(
            weights=weights,
            items=_filled(found),
            start=self._start(found),
            backward=_filled(in_backward),
            host=_filled(on_host),
        )

    def _start(self, found: Mapping[str, int]) -> int:
        """What is kept before any step. Every parameter is put where it stays, one by one; ZeRO 1
        and 2 then copy those that learn into flat tensors, before there are moments."""
        flat = self._width * self.trainable if self.zero in (1, 2) else 0
        kept = found.get("weights", 0) + found.get("master weights", 0)
        return kept + max(flat, found.get("moments", 0))

    @property
    def _width(self) -> int:
        return BF16 if self.copies else FP32

    def _shared(self, numbers: int, *, sharded: bool) -> int:
        return -(-numbers // self.ranks) if sharded else numbers

    def _gathered(self, everything: int) -> int:
        """ZeRO 3 gathers whole weights around their use, and keeps so many of them."""
        if self.zero < 3 or (self.ranks == 1 and self.offload != "all"):
            return 0
        return self._width * min(everything, self._number("stage3_max_live_parameters", LIVE))

    @property
    def _sums_apart(self) -> bool:
        """Whether the sums over the packs have another format than a pack's own gradients."""
        return self.sums != self._width

    def _gradients(self) -> int:
        """Their sums over the packs. With an offloaded optimizer they are summed on the host,
        except by ZeRO 1 and 2 where their format is not the weights'."""
        if self.offload != "none" and (self.zero == 3 or not self._sums_apart):
            return 0
        sharded = self.zero >= 2 or self.offload != "none"
        return self.sums * self._shared(self.trainable, sharded=sharded)

    def _host_gradients(self) -> int:
        """What an offloaded optimizer updates with, in float32, and the sums if they are there."""
        if self.offload == "none":
            return 0
        there = self.zero == 3 or not self._sums_apart
        return (FP32 + self.sums * there) * self._shared(self.trainable, sharded=True)

    def _own_gradients(self) -> int:
        """Those in the weights' own format, which ZeRO 1 adds to the sums after a pack."""
        return self._width * self.trainable if self.zero == 1 and self._sums_apart else 0

    def _master(self) -> int:
        """Float32 weights beside the module's own. ZeRO 3 means to do without them where the
        module's are float32 too, but compares a device with its name and copies all the same."""
        if self.zero == 0:
            return 0
        return FP32 * self._shared(self.trainable, sharded=True)

    @property
    def _bucket(self) -> int:
        """Gradients that go to the ranks that own them in one message."""
        return self._number("reduce_bucket_size", BUCKET)

    def _buffer(self) -> int:
        """ZeRO 3 makes it once; so does ZeRO 1 on float32 weights. Else it is made in the update,
        when the activations are gone."""
        stays = self.zero == 3 or (self.zero == 1 and not self.copies)
        return FP32 * self._bucket if stays else 0

    def _passing_buffers(self) -> int:
        """ZeRO 2 makes them anew for every backward pass: two, to fill one while the other is
        sent, or one where nothing overlaps."""
        return (1 + self.overlap) * self._width * self._bucket if self.zero == 2 else 0

    def _sent(self) -> int:
        """Gradients travel in float32: ZeRO 2 makes a copy of others, ZeRO 3 always a second flat
        tensor, which is there until its message has arrived."""
        if self.zero < 2 or (self.zero == 2 and not self.copies):
            return 0
        return FP32 * min(self._bucket, self.trainable)

    def _number(self, key: str, default: int) -> int:
        value = self.sharding.get(key, default)
        return int(value) if isinstance(value, int | float) else default


def _filled(found: Mapping[str, int]) -> tuple[MemoryItem, ...]:
    return tuple(MemoryItem(name, size) for name, size in found.items() if size)
