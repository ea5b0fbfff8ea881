"""DeepSpeed's own configuration, made from the keys of the engine's table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Table = dict[str, object]
Offload = Literal["none", "optimizer", "all"]


def deepspeed_config(
    *,
    zero: int,
    precision: Literal["fp32", "bf16"],
    clip_norm: float,
    overrides: Mapping[str, object],
    offload: Offload = "none",
    overlap: bool = True,
) -> Table:
    """The configuration that ``deepspeed.initialize`` is given.

    The step ends where ``step()`` is called and nowhere else (``managed_gradient_accumulation``),
    so the number of packs may differ from stage to stage. The micro-batch size is a formality:
    the loss is already divided by the counts of the whole step.
    """
    table: Table = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": 0.0 if clip_norm == float("inf") else clip_norm,
        "zero_optimization": _sharing(zero, offload, overlap),
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "communication_data_type": "fp32",
        "steps_per_print": None,
    }
    if precision == "bf16" and zero > 0:
        table["bf16"] = {"enabled": True}
        table["data_types"] = {"grad_accum_dtype": "fp32"}
    return _merged(table, overrides)


def _sharing(zero: int, offload: Offload, overlap: bool) -> Table:
    """The table of ZeRO. Below stage 2 nothing is sent before ``step()``: there is no overlap."""
    table: Table = {"stage": zero, "overlap_comm": overlap and zero >= 2}
    host = {"device": "cpu", "pin_memory": True}
    if offload != "none":
        table["offload_optimizer"] = dict(host)
    if offload == "all":
        table["offload_param"] = dict(host)
    return table


def _merged(table: Mapping[str, object], changes: Mapping[str, object]) -> Table:
    result = dict(table)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            result[key] = _merged(below, value)
        else:
            result[key] = value
    return result
