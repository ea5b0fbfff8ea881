"""What only the weights' config.json knows: the LongRoPE factors of the 128k models."""

from __future__ import annotations

import json

from mmcore.interfaces import WeightsError
from mmcore.kit.weights import locate_file


def longrope_factors(weights: str, key: str) -> tuple[float, ...]:
    """``short_factor`` or ``long_factor`` of a folder's (or a cached hub id's) config.json.

    Raises:
        WeightsError: the file is missing, or has no such list of numbers.
    """
    path = locate_file(weights, "config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
        return tuple(float(one) for one in scaling[key])
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise WeightsError(
            f"weights: {str(path)!r} has no list of numbers {key} in its rope_scaling, which a "
            f"stretched context needs ({type(error).__name__}: {error})"
        ) from None
